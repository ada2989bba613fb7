//! Lines of a combined web access log become JSON, with the client's address masked and `status_class` and `day` as
//! partition keys. Every record gets exactly one answer: JSON, dropped (a probe nobody made by hand), or failed.
//!
//! Config: `mask` is `ip` (default) or `none`; `health_paths` is a comma-separated list of paths to drop.

mod client;
mod json;
mod line;
mod settings;
mod time;

pub use line::{Line, parse};
pub use settings::{Mask, Settings};

wit_bindgen::generate!({ path: "../../../plugins/wit", world: "transform" });

use hydrant::transform::host;
use hydrant::transform::types::OutputRecord;

struct AccessLog;
export!(AccessLog);

impl Guest for AccessLog {
    fn process(records: Vec<InputRecord>) -> Result<Vec<Outcome>, BatchError> {
        let settings = Settings::read(host::config).map_err(BatchError::Fatal)?;
        let outcomes: Vec<Outcome> = records.iter().map(|record| answer(&record.data, &settings)).collect();
        let unparsable = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
        let probes = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Dropped)).count();
        host::count("unparsable", unparsable as u64);
        host::count("probes", probes as u64);
        Ok(outcomes)
    }
}

fn answer(data: &[u8], settings: &Settings) -> Outcome {
    match parse(data) {
        Err(problem) => Outcome::Failed(problem),
        Ok(line) if settings.is_probe(line.path) => Outcome::Dropped,
        Ok(line) => Outcome::Ok(OutputRecord {
            data: json::write(&line, settings.mask),
            partition_keys: vec![
                ("status_class".to_owned(), format!("{}xx", line.status / 100)),
                ("day".to_owned(), line.time[..10].to_owned()),
            ],
        }),
    }
}
