//! The configuration of a delivery stream: what it has for all its lives, and what an operator changes between two of them.

use std::path::Path;

use hydrant_config::{DeliveryStream, Environment};
use hydrant_delivery::Bounds;
use hydrant_disk::sim::Dice;

/// Where objects of records begin, and error objects, at the destination or its backup.
pub(crate) const RECORDS: [&str; 3] = ["r1/", "r2/", "r3/"];
pub(crate) const ERRORS: &str = "errors/";
pub(crate) const SOURCES: &str = "sources/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Objects,
    Http,
    Search,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) destination: Destination,
    /// Every record as it was put, too.
    pub(crate) backs_up_all: bool,
    /// Records of several are taken apart.
    pub(crate) splits: bool,
    /// It reads what the Kinesis Producer Library has put together, and that is taken apart.
    pub(crate) aggregates: bool,
    pub(crate) retained: bool,
    pub(crate) expires: bool,
    pub(crate) shards: u32,
    pub(crate) bounds: Bounds,
    /// From here on it changes.
    pub(crate) plugin: Option<u64>,
    partitioned: bool,
    gzip: bool,
    interval: u64,
    prefix: &'static str,
}

impl Settings {
    /// Records are sent in requests, and their errors to the backup.
    pub(crate) fn requests(&self) -> bool {
        self.destination != Destination::Objects
    }

    pub(crate) fn roll(dice: &mut Dice) -> Settings {
        let retained = dice.chance(1, 3);
        let destination = [Destination::Objects, Destination::Objects, Destination::Http, Destination::Search];
        let destination = destination[pick(dice, 4)];
        let splits = destination == Destination::Objects && dice.chance(1, 3);
        let mut settings = Settings {
            destination,
            splits,
            aggregates: !splits && !retained && dice.chance(1, 2),
            backs_up_all: dice.chance(1, 4),
            retained,
            expires: retained && dice.chance(2, 3),
            shards: if dice.chance(1, 4) { 3 } else { 1 },
            bounds: Bounds {
                chunk_bytes: [2_000, 10_000, 60_000, 1 << 30][pick(dice, 4)],
                inline_bytes: [0, 0, 1_500, 6_000, 256 << 10][pick(dice, 5)],
                entries_per_snapshot: [3, 10, 2_000][pick(dice, 3)],
                full_patience: std::time::Duration::ZERO,
            },
            plugin: None,
            partitioned: false,
            gzip: false,
            interval: 0,
            prefix: RECORDS[0],
        };
        settings.change(dice);
        settings
    }

    /// What an operator edits while the daemon is down.
    pub(crate) fn change(&mut self, dice: &mut Dice) {
        self.plugin = dice.chance(1, 2).then(|| dice.below(20));
        self.partitioned = !self.requests() && (dice.chance(1, 2) || self.splits);
        self.gzip = dice.chance(1, 3);
        self.interval = [0, 0, 1, 10, 60][pick(dice, 5)];
        self.prefix = RECORDS[pick(dice, RECORDS.len())];
    }

    pub(crate) fn stream(&self) -> DeliveryStream {
        let text = self.yaml();
        let loaded = hydrant_config::load_text(&text, Path::new("sim.yaml"), &Environment::of([]));
        loaded.unwrap_or_else(|problems| panic!("{problems}\n{text}")).config.delivery_streams[0].clone()
    }

    fn yaml(&self) -> String {
        let compression = if self.gzip { "gzip" } else { "none" };
        let mut text = format!(
            "delivery_streams:\n  - name: s\n    buffering: {{ interval: {} s }}\n    format: {{ lines: {{ compression: {compression} }} }}\n",
            self.interval
        );
        if self.retained {
            text += &format!("    log: {{ retention: 60 s, expire_undelivered: {} }}\n", self.expires);
        }
        if self.aggregates {
            text += "    from_stream: { name: clicks }\n";
        }
        if self.splits {
            text += "    processing: { deaggregate: { json: {} } }\n";
        }
        if self.partitioned {
            text += "    partitioning: { jq: { p: .p }, partitions_max: 2 }\n";
        }
        let keys = if self.partitioned { "p=!{partitionKeyFromQuery:p}/" } else { "" };
        let error_prefix = format!("error_output_prefix: \"{ERRORS}!{{firehose:error-output-type}}/\"");
        let url = "\"http://127.0.0.1:9/\", retry: 120 s";
        let destination = match self.destination {
            Destination::Http => format!("http_endpoint: {{ url: {url} }}"),
            Destination::Search => format!("opensearch: {{ endpoint: {url}, index: i, request_size: 100 KiB }}"),
            Destination::Objects => {
                format!("file: {{ directory: /lake, prefix: \"{}{keys}\", {error_prefix} }}", self.prefix)
            }
        };
        text += &format!("    destination: {{ {destination} }}\n");
        if self.requests() || self.backs_up_all {
            let records = if self.backs_up_all { "all" } else { "failed" };
            let file = format!("directory: /backup, prefix: {SOURCES}, {error_prefix}");
            text += &format!("    backup: {{ records: {records}, file: {{ {file} }} }}\n");
        }
        text
    }
}

pub(crate) fn pick(dice: &mut Dice, limit: usize) -> usize {
    usize::try_from(dice.below(limit as u64)).unwrap()
}
