//! `hydrant check`: everything that could fail later, found now. Changes nothing.

use std::sync::Arc;

use hydrant_config::{Config, Partition, Prefix, PrefixValues};
use hydrant_disk::RealDisk;
use hydrant_plugins::{Chain, Host, HostOptions};
use hydrant_shardlog::{Clock as _, SystemClock};

use crate::cli::{ConfigFile, say};
use crate::exit::{Exit, Failure, chain};

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
        let mut problems = plugins(&config)?;
        samples(&config);
        if !self.offline {
            problems += destinations(&config).await;
        }
        match problems {
            0 => {
                say("ok");
                Ok(())
            }
            1 => Err(Failure::new(Exit::Config, "1 problem; nothing was started")),
            n => Err(Failure::new(Exit::Config, format!("{n} problems; nothing was started"))),
        }
    }
}

/// Compiles every plugin and has it answer a sample.
fn plugins(config: &Config) -> Result<usize, Failure> {
    let host = Host::new(HostOptions::default())?;
    let mut problems = 0;
    for stream in &config.delivery_streams {
        match Chain::load(&host, &stream.processing.plugins, stream.name.as_str()) {
            Ok(None) => {}
            Ok(Some(_)) => {
                for plugin in &stream.processing.plugins {
                    say(format_args!("{}: plugin {} compiles", stream.name, plugin.path.display()));
                }
            }
            Err(error) => {
                problems += 1;
                say(format_args!("{}: {}", stream.name, chain(&error)));
            }
        }
    }
    Ok(problems)
}

/// What object names will begin with, for a record that arrives now.
fn samples(config: &Config) {
    for stream in &config.delivery_streams {
        let naming = stream.destination.naming();
        let name = &stream.name;
        say(format_args!("{name}: objects under {}", sample(&naming.prefix, naming.time_zone, None)));
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

async fn destinations(config: &Config) -> usize {
    let mut problems = 0;
    for stream in &config.delivery_streams {
        let checked = match hydrant_sinks::sink(&stream.destination, Arc::new(RealDisk::new())) {
            Ok(sink) => sink.check().await.map(|()| sink.to_string()),
            Err(error) => Err(error),
        };
        match checked {
            Ok(sink) => say(format_args!("{}: {sink} can be reached", stream.name)),
            Err(error) => {
                problems += 1;
                say(format_args!("{}: {}", stream.name, chain(&error)));
            }
        }
    }
    problems
}
