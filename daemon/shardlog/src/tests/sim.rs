//! The log on a simulated disk: whatever is lost, torn, rotten or refused, what was acked is there or its loss is told.
//!
//! `truth` is what must hold; `world` does random things to one log; `scenarios` runs many worlds, each from its seed;
//! `rot` knows what opening must say about damaged bytes, `loss` what is left when that is accepted; `exhaustive` takes one short history apart call by call.

mod exhaustive;
mod loss;
mod rot;
mod scenarios;
mod truth;
mod world;

use hydrant_disk::sim::Dice;
use hydrant_disk::{FaultyDisk, SimDisk};
use hydrant_record::HashKey;

use super::*;

const DIR: &str = "/log";

/// An empty directory on a new disk.
fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn sim_options() -> LogOptions {
    LogOptions {
        segment_bytes_min: 8 << 10,
        segment_bytes_max: 32 << 10,
        clock: Arc::new(Stopped),
        committers: Committers::inline(),
        ..LogOptions::new()
    }
}

fn open_sim(disk: Arc<dyn Disk>, known_durable: Option<Lsn>) -> Result<(ShardLog, Recovery), OpenError> {
    open_with(disk, LogOptions { known_durable, ..sim_options() })
}

fn open_with(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(ShardLog, Recovery), OpenError> {
    ShardLog::open(disk, Path::new(DIR), options)
}

/// Time stands still: nothing here depends on it.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
}

/// A record that no other record equals.
fn unique(number: u64, len: usize) -> NewRecord {
    let mut data = format!("{number} ").into_bytes();
    let mut dice = Dice::new(number);
    if dice.chance(1, 2) {
        data.resize(data.len().max(len), b'.');
    }
    while data.len() < len {
        data.extend_from_slice(&dice.roll().to_le_bytes());
    }
    let partition_key = dice.chance(1, 2).then(|| Bytes::from(format!("key {}", number % 5)));
    let hash = HashKey(u128::from(dice.roll()) << 64);
    let placement = if dice.chance(1, 2) { Placement::Hash(hash) } else { Placement::Any };
    NewRecord { placement, partition_key, data: Bytes::from(data) }
}

fn same(given: &NewRecord, found: &Record) -> bool {
    (&given.partition_key, &given.data) == (&found.partition_key, &found.data)
}

fn value(lsn: Option<Lsn>) -> u64 {
    lsn.map_or(0, Lsn::get)
}
