//! What the staged bytes of a chunk hold, written at their end. Invariant: nothing about a chunk is decided after this was synced.

use hydrant_disk::{DiskFile, read_exact_at};
use serde::{Deserialize, Serialize};

use crate::journal::ManifestAt;
use crate::rows::Rows;
use crate::units::Units;

/// The objects of a chunk, in the order in which their bytes stand in the staged file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) chunk: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Of the chunk's first record; names are derived from it.
    #[serde(default)]
    pub(crate) epoch: Option<u64>,
    /// Whether aggregated records were taken apart; whoever looks for a unit's record later must do the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deaggregated: bool,
    pub(crate) objects: Vec<StagedObject>,
}

/// Where a staged object goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Route {
    #[default]
    Destination,
    Backup,
}

/// What a staged object has of the records that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holds {
    /// Those that are delivered by it.
    Records,
    /// Error lines.
    Errors,
    /// Records as they were put, which are counted elsewhere.
    Sources,
}

/// One object or request: its bytes' place in the staged file and its name where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StagedObject {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) to: Route,
    /// Manifests of before it was counted do not have it.
    #[serde(default)]
    pub(crate) holds: Option<Holds>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) sha256: String,
    /// CRC-64/NVME, by which the bytes are looked at once more when they leave. Manifests of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc64: Option<u64>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) records: u64,
    /// The first and last record in it; others between them may be in other objects.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Of a request: what its items are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Units>,
    /// Of an object: what its records are. Left out where it would be too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<Rows>,
    /// Each record is one line or one row of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) row_each: bool,
}

/// The manifest cannot be used; the delivery stream stops, for guessing what was staged could deliver twice.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read the manifest of a staged file")]
    Io(#[from] std::io::Error),
    #[error("the manifest of a staged file is damaged: {0}; the chunk's records are still in the log")]
    Damaged(String),
}

impl Manifest {
    pub(crate) fn encode(&self) -> (Vec<u8>, String) {
        let bytes = serde_json::to_vec(self).expect("a manifest has string keys and no floats");
        let digest = sha256(&bytes);
        (bytes, digest)
    }

    pub(crate) fn read(file: &dyn DiskFile, at: &ManifestAt) -> Result<Manifest, ManifestError> {
        let length = file.len()?;
        if at.offset.checked_add(at.length).is_none_or(|end| end > length) {
            return Err(ManifestError::Damaged("it ends behind the end of the file".to_owned()));
        }
        let length = usize::try_from(at.length).map_err(|e| ManifestError::Damaged(e.to_string()))?;
        let mut bytes = vec![0; length];
        read_exact_at(file, &mut bytes, at.offset)?;
        let digest = sha256(&bytes);
        if digest != at.sha256 {
            return Err(ManifestError::Damaged(format!("its digest is {digest}, staged was {}", at.sha256)));
        }
        serde_json::from_slice(&bytes).map_err(|e| ManifestError::Damaged(e.to_string()))
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
