//! The host with real guests: `examples/plugins/access_log.wasm` and one that misbehaves on demand.

#![expect(clippy::unwrap_used, reason = "the whole program is a test, its shared functions too")]

mod access_log;
mod chain;
mod limits;
mod loading;
mod misbehaviour;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::{OnError, Plugin};
use hydrant_plugins::{FailureCode, Host, HostOptions, Input, LoadedPlugin, Outcome};
use hydrant_record::{Lsn, Timestamp, Unit};

/// Relative, so that messages are the same on every machine: tests run in the crate's directory.
const ACCESS_LOG: &str = "../examples/plugins/access_log.wasm";
const MISBEHAVE: &str = "tests/guests/misbehave.wasm";

fn host() -> Host {
    Host::new(HostOptions::default()).unwrap()
}

fn plugin(path: impl AsRef<Path>) -> Plugin {
    Plugin {
        path: PathBuf::from(path.as_ref()),
        sha256: None,
        config: [("greeting".to_owned(), "hello".to_owned())].into(),
        memory: 32 << 20,
        cpu_per_batch: Duration::from_secs(2),
        on_error: OnError::FailRecord,
        arn: None,
    }
}

fn load(plugin: &Plugin) -> LoadedPlugin {
    host().load(plugin, "access-logs").unwrap()
}

fn misbehave() -> LoadedPlugin {
    load(&plugin(MISBEHAVE))
}

/// Records 1, 2, 3, ... that arrived at 1001, 1002, 1003 ms.
fn inputs<T: AsRef<[u8]>>(texts: &[T]) -> Vec<Input> {
    let input = |(n, text): (u64, &T)| Input {
        unit: Unit { lsn: Lsn::new(n).unwrap(), sub: 0 },
        arrived_at: Timestamp::from_millis(1000 + n),
        source: None,
        data: Bytes::copy_from_slice(text.as_ref()),
    };
    (1..).zip(texts).map(input).collect()
}

fn run(loaded: &LoadedPlugin, texts: &[&str]) -> Vec<String> {
    loaded.transform().transform(&inputs(texts)).unwrap().iter().map(told).collect()
}

/// An outcome as one line.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok { data, partition_keys } => {
            let keys: String = partition_keys.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            format!("ok: {}{keys}", String::from_utf8_lossy(data))
        }
        Outcome::Dropped => "dropped".to_owned(),
        Outcome::ProcessingFailed { code: FailureCode::ProcessingFailedStatus, message, .. } => {
            format!("failed: {message}")
        }
        Outcome::ProcessingFailed { code: FailureCode::FunctionError, message, .. } => format!("error: {message}"),
    }
}
