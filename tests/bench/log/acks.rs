//! How long a producer waits beyond what the disk makes anybody wait.
//!
//! At a steady pace the log and a plain file take turns, half a beat apart, so that both meet the same disk.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use hydrant_record::NewRecord;
use hydrant_shardlog::{LogOptions, ShardLog};

use super::plain::Plain;
use super::{BATCH, RECORD_BYTES, WARM_UP_BYTES, batch, fill, noise, while_trimmed};
use crate::meter::{self, heading, millis, percentile, row};

const BEAT: Duration = Duration::from_millis(25);
const LASTS: Duration = Duration::from_secs(45);

pub(crate) fn run() -> Result<()> {
    let scratch = meter::scratch()?;
    let log = super::open(&scratch.path().join("log"), LogOptions::new())?;
    let mut pace = Pace::new(&scratch.path().join("plain"))?;
    while_trimmed(&log, || {
        fill(&log, WARM_UP_BYTES)?;
        pace.keep(&log, LASTS)
    })?;
    heading(&format!(
        "acks at {} batches/s, {} s, in turns with a plain file",
        1000 / BEAT.as_millis(),
        LASTS.as_secs()
    ));
    for percent in [50, 90, 99] {
        let (log, plain) = (percentile(&mut pace.log, percent), percentile(&mut pace.plain, percent));
        row(&format!("ack p{percent}"), &format!("{log:.2} ms"), "");
        row(&format!("plain write + fdatasync p{percent}"), &format!("{plain:.2} ms"), "");
        row(
            &format!("p{percent} of the two"),
            &format!("{:.2} x", log / plain),
            if percent == 99 { "<= 2.5 x" } else { "" },
        );
    }
    Ok(())
}

/// One producer and one plain file at a steady pace, with all waits in milliseconds.
pub(super) struct Pace {
    records: Vec<NewRecord>,
    bytes: Vec<u8>,
    file: Plain,
    pub(super) log: Vec<f64>,
    pub(super) plain: Vec<f64>,
}

impl Pace {
    pub(super) fn new(path: &std::path::Path) -> Result<Pace> {
        Ok(Pace {
            records: batch(BATCH, RECORD_BYTES),
            bytes: noise(BATCH * RECORD_BYTES),
            file: Plain::zeroed(path, 64 << 20)?,
            log: Vec::new(),
            plain: Vec::new(),
        })
    }

    pub(super) fn keep(&mut self, log: &ShardLog, lasts: Duration) -> Result<()> {
        let began = Instant::now();
        let mut beat = began;
        while beat < began + lasts {
            wait_until(beat);
            let records = self.records.clone();
            let asked = Instant::now();
            log.append(records)?;
            self.log.push(millis(asked.elapsed()));
            wait_until(beat + BEAT / 2);
            let asked = Instant::now();
            self.file.write_and_sync(&self.bytes)?;
            self.plain.push(millis(asked.elapsed()));
            beat += BEAT;
        }
        Ok(())
    }
}

fn wait_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}
