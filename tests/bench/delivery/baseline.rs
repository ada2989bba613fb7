//! The same payload bytes by the plainest program: one growing file, one write and one fdatasync per batch.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::{Cost, Load};
use crate::daemon;

#[expect(clippy::disallowed_methods, reason = "this is what the product is compared with, and it stands outside of it")]
pub(crate) fn write_and_sync(path: &Path, load: &Load) -> Result<Cost> {
    let joined: Vec<Vec<u8>> = load.payloads.iter().map(|batch| batch.concat()).collect();
    let myself = std::process::id();
    let (before, began) = (daemon::cpu_of(myself)?, Instant::now());
    let mut file = File::create(path)?;
    for batch in 0..load.batches {
        file.write_all(&joined[batch % joined.len()])?;
        file.sync_data()?;
    }
    let (took, written_bytes) = (began.elapsed(), file.metadata()?.len());
    let cpu = daemon::cpu_of(myself)?.saturating_sub(before);
    fs::remove_file(path)?;
    Ok(Cost { name: "write + sync", cpu, acked: took, drained: took, rss_peak_bytes: 0, written_bytes })
}
