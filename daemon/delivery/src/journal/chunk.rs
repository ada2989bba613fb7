//! A chunk as the journal has it, from when it is staged until it is done.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::accounting::Counts;
use crate::inline::Inline;
use crate::refuse::verdicts_path;
use crate::stage::staged_path;

/// A range of LSNs, from the first to the last, and what is staged for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StagedChunk {
    pub(crate) chunk: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) counts: Counts,
    /// Which destination the objects were named for, such as `s3:logs`.
    pub(crate) destination: String,
    /// Which store its objects for the backup were named for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backup: Option<String>,
    /// `None`: the chunk has no object at all (everything was dropped or lost) and no file.
    pub(crate) manifest: Option<ManifestAt>,
    /// Of a small chunk: what would else be its staged file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inline: Option<Inline>,
    /// All its requests ended, and some of their items were refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verdicts: Option<Verdicts>,
    /// What is only told to who asks where a record went.
    #[serde(default, skip_serializing_if = "About::is_nothing")]
    pub(crate) about: About,
}

/// Of a chunk, beside its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// Epochs of its records: each with the first record that has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) epochs: Vec<(u64, u64)>,
    /// Records that the log did not have any more: the first and the last, and whether they expired or were lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gone: Vec<(u64, u64, bool)>,
    /// Where an operator has written what was left to send of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) redirected: Option<String>,
}

impl About {
    fn is_nothing(&self) -> bool {
        *self == About::default()
    }
}

/// What a destination refused of a chunk, and the error objects for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verdicts {
    /// Units that are in the error objects.
    pub(crate) refused: u64,
    /// Units that were refused after the log had let go of them, as its policy says.
    pub(crate) expired: u64,
    pub(crate) manifest: ManifestAt,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inline: Option<Inline>,
}

impl StagedChunk {
    /// What it has in the directory of staged files.
    pub(crate) fn files(&self, dir: &Path) -> Vec<PathBuf> {
        let staged = self.manifest.is_some() && self.inline.is_none();
        let verdicts = self.verdicts.as_ref().is_some_and(|verdicts| verdicts.inline.is_none());
        let paths = [(staged, staged_path(dir, self.chunk)), (verdicts, verdicts_path(dir, self.chunk))];
        paths.into_iter().filter(|(is_there, _)| *is_there).map(|(_, path)| path).collect()
    }

    /// Nothing is left to be sent of it.
    pub(crate) fn decide(&mut self) {
        (self.manifest, self.inline, self.verdicts) = (None, None, None);
    }

    /// The same, told without the bytes that it has in the journal.
    pub(crate) fn without_inline(mut self) -> StagedChunk {
        self.inline = None;
        self.verdicts.iter_mut().for_each(|verdicts| verdicts.inline = None);
        self
    }

    pub(super) fn inline_bytes(&self) -> usize {
        let verdicts = self.verdicts.as_ref().and_then(|verdicts| verdicts.inline.as_ref());
        self.inline.iter().chain(verdicts).map(Inline::len).sum()
    }
}

/// Where in the staged bytes their manifest is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestAt {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) sha256: String,
}
