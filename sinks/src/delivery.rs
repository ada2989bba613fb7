//! What a sink is given: one staged object, and the proof that it gives back.

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use hydrant_disk::{DiskFile, read_exact_at};

use crate::SinkError;

/// One object of a chunk, as it was staged. Every attempt sends these bytes under this name.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Object key, or path below the directory; exactly as evaluated.
    pub key: String,
    pub body: Body,
    pub content_type: &'static str,
    pub content_encoding: Option<String>,
    /// Object metadata, names without `x-amz-meta-`: `hydrant-range`, `hydrant-sha256`, …
    pub metadata: Vec<(String, String)>,
}

/// A range of a staged file.
#[derive(Clone)]
pub struct Body {
    pub file: Arc<dyn DiskFile>,
    pub offset: u64,
    pub length: u64,
    pub sha256: [u8; 32],
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("offset", &self.offset).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Proof that the destination holds exactly these bytes under exactly this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// It was there already: an earlier attempt whose answer was lost.
    pub was_there: bool,
}

/// Bytes read from a staged file at once.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;

/// Reads a [`Body`] from its beginning to its end and never hands out its last piece before the digest of the whole is
/// right: so bytes that are not what was staged never make a complete object anywhere.
pub(crate) struct BodyReader {
    body: Body,
    done: u64,
    digest: digest::Context,
}

impl BodyReader {
    /// An empty body has no last piece to withhold, so its digest is looked at here; then the error is of kind `Staged`.
    pub(crate) fn new(body: &Body) -> Result<BodyReader, SinkError> {
        let reader = BodyReader { body: body.clone(), done: 0, digest: digest::Context::new(&digest::SHA256) };
        reader.verify_at_end()?;
        Ok(reader)
    }

    /// Length of the next piece; 0 at the end.
    pub(crate) fn next_length(&self) -> usize {
        usize::try_from(self.body.length - self.done).map_or(PIECE_BYTES_MAX, |left| left.min(PIECE_BYTES_MAX))
    }

    /// Fills `piece`, which is exactly `next_length` long. Every error of it is of kind `Staged`.
    pub(crate) fn read(&mut self, piece: &mut [u8]) -> Result<(), SinkError> {
        read_exact_at(self.body.file.as_ref(), piece, self.body.offset + self.done)
            .map_err(|error| self.unreadable(error))?;
        self.digest.update(piece);
        self.done += piece.len() as u64;
        self.verify_at_end()
    }

    fn verify_at_end(&self) -> Result<(), SinkError> {
        let at_end = self.done == self.body.length;
        if at_end && self.digest.clone().finish().as_ref() != self.body.sha256 {
            return Err(self.different());
        }
        Ok(())
    }

    fn unreadable(&self, error: io::Error) -> SinkError {
        let at = self.body.offset + self.done;
        SinkError::staged(format!(
            "cannot read the staged bytes at offset {at}: {error}; nothing was delivered of them: check the disk of the data directory"
        ))
        .with_source(error)
    }

    fn different(&self) -> SinkError {
        SinkError::staged(format!(
            "the {} staged bytes at offset {} are not those that were staged (their SHA-256 is another); nothing was delivered of them: check the disk of the data directory",
            self.body.length, self.body.offset
        ))
    }
}
