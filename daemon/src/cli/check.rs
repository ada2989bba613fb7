//! `hydrant check`: everything that could fail later, found now. Changes nothing that stays.

use std::iter;
use std::path::Path;
use std::sync::Arc;

use hydrant_config::{Config, Partition, Prefix, PrefixValues};
use hydrant_disk::RealDisk;
use hydrant_plugins::{Chain, Host, HostOptions};
use hydrant_shardlog::{Clock as _, SystemClock};
use hydrant_sinks::{Sink, SinkError, StoreClass};

use crate::cli::{ConfigFile, say};
use crate::exit::{Exit, Failure, chain};
use crate::probed;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigFile,
    /// Ask no destination
    #[arg(long)]
    offline: bool,
}

impl Check {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        crate::run::load_tls(&config)?;
        samples(&config);
        let mut problems = plugins(&config)?;
        if !self.offline {
            problems.extend(destinations(&config).await);
        }
        if problems.is_empty() {
            say("ok");
            return Ok(());
        }
        let (count, noun) = (problems.len(), if problems.len() == 1 { "problem" } else { "problems" });
        let lines: String = problems.iter().map(|problem| format!("config error: {problem}\n")).collect();
        Err(Failure::new(Exit::Config, format!("{lines}{count} {noun}; nothing was started")))
    }
}

/// Compiles every plugin and has it answer a sample.
fn plugins(config: &Config) -> Result<Vec<String>, Failure> {
    let host = Host::new(HostOptions::default())?;
    let mut problems = Vec::new();
    for stream in &config.delivery_streams {
        let name = &stream.name;
        let chain = match Chain::load(&host, &stream.processing.plugins, name.as_str()) {
            Ok(chain) => chain,
            Err(error) => {
                problems.push(format!("delivery stream `{name}`: {}", crate::exit::chain(&error)));
                continue;
            }
        };
        for plugin in chain.iter().flat_map(Chain::plugins) {
            let path = plugin.info().path.display();
            match plugin.sample() {
                Ok(_) => say(format_args!("{name}: plugin {path} compiles and answers")),
                Err(error) => problems.push(format!("delivery stream `{name}`: {}", crate::exit::chain(&error))),
            }
        }
    }
    Ok(problems)
}

/// What object names will begin with, for a record that arrives now.
fn samples(config: &Config) {
    for stream in &config.delivery_streams {
        let naming = &stream.error_store().naming;
        let name = &stream.name;
        if stream.destination.objects().is_some() {
            say(format_args!("{name}: objects under {}", sample(&naming.prefix, naming.time_zone, None)));
        }
        let errors = sample(&naming.error_output_prefix, naming.time_zone, Some("processing-failed"));
        say(format_args!("{name}: error output under {errors}"));
    }
}

fn sample(prefix: &Prefix, time_zone: chrono_tz::Tz, error_output_type: Option<&str>) -> String {
    let partition: Result<Partition, String> = prefix.partition(&|_, _| Some("VALUE"));
    let Ok(partition) = partition else { return prefix.text().to_owned() };
    let mut random = || [0x5a; 16];
    let mut values = PrefixValues { time: SystemClock.now(), time_zone, error_output_type, random: &mut random };
    prefix.evaluate(&partition, &mut values)
}

/// What is told about a destination or a backup that could be delivered to now.
async fn reached(sink: &dyn Sink, data_dir: &Path) -> Result<String, SinkError> {
    sink.check().await?;
    let class = sink.probe().await?;
    let told = class.map(|class| format!(", and {class}")).unwrap_or_default();
    class.into_iter().for_each(|class| remember(data_dir, (&sink.to_string(), class)));
    Ok(format!("{sink} can be reached{told}"))
}

/// For `hydrant status`. Only a daemon makes a data directory, and only what may write there can tell it.
fn remember(data_dir: &Path, found: (&str, StoreClass)) {
    if !data_dir.join("STORE").exists() {
        return;
    }
    if let Err(error) = probed::remember(&RealDisk::new(), data_dir, found, SystemClock.now()) {
        tracing::warn!(
            "`hydrant status` will not tell what was found: cannot write in `{}`: {error}",
            data_dir.display()
        );
    }
}

async fn destinations(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for stream in &config.delivery_streams {
        let name = &stream.name;
        let disk = || Arc::new(RealDisk::new());
        let destination = ("", hydrant_sinks::sink(&stream.destination, disk()));
        let backup =
            stream.backup.as_ref().map(|backup| ("backup: ", hydrant_sinks::object_sink(&backup.store, disk())));
        for (what, sink) in iter::once(destination).chain(backup) {
            let checked = match sink {
                Ok(sink) => reached(&*sink, &config.data_dir).await,
                Err(error) => Err(error),
            };
            match checked {
                Ok(told) => say(format_args!("{name}: {what}{told}")),
                Err(error) => problems.push(format!("delivery stream `{name}`: {what}{}", chain(&error))),
            }
        }
    }
    problems
}
