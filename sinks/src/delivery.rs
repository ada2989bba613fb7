//! What a sink is given: one staged object or request, and the proof that it gives back.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use crc_fast::{CrcAlgorithm, Digest};
use hydrant_disk::{DiskFile, read_exact_at};

use crate::SinkError;

/// One object or request of a chunk, as it was staged. Every attempt sends these bytes under this name.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Object key, or path below the directory, exactly as evaluated; of a request what its encoder called it.
    pub key: String,
    pub body: Body,
    pub content_type: &'static str,
    pub content_encoding: Option<String>,
    /// Object metadata, names without `x-amz-meta-`: `hydrant-range`, `hydrant-sha256`, …
    pub metadata: Vec<(String, String)>,
    /// `None` for an object.
    pub items: Option<Items>,
}

/// For destinations that take records, not objects: how many the body holds, and which of them have a verdict already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    pub count: u32,
    /// Left out of the attempt.
    pub settled: ItemSet,
}

/// Items of one request, by their place in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemSet(Vec<u32>);

impl ItemSet {
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, item: u32) -> bool {
        self.0.binary_search(&item).is_ok()
    }

    /// Whether it was new.
    pub fn insert(&mut self, item: u32) -> bool {
        match self.0.binary_search(&item) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, item);
                true
            }
        }
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u32> for ItemSet {
    fn from_iter<I: IntoIterator<Item = u32>>(items: I) -> ItemSet {
        let mut items: Vec<u32> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        ItemSet(items)
    }
}

/// A range of a staged file.
#[derive(Clone)]
pub struct Body {
    pub file: Arc<dyn DiskFile>,
    pub offset: u64,
    pub length: u64,
    pub sha256: [u8; 32],
    /// CRC-64/NVME of the same bytes: what is staged is looked at by it before it is sent, where there is one. The digest says the
    /// same and costs ten times as much.
    pub crc64: Option<u64>,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("offset", &self.offset).field("length", &self.length).finish_non_exhaustive()
    }
}

/// Proof that the destination holds an object, or the verdict on each item of a request: those that are neither in `refused`
/// nor in `again` were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// It was there already: an earlier attempt whose answer was lost.
    pub was_there: bool,
    /// Will never be taken: to the backup.
    pub refused: Vec<Refusal>,
    /// Not taken now, in ascending order; the next attempt may be luckier.
    pub again: Vec<u32>,
    /// What the destination asked for before the items of `again` are sent again.
    pub retry_after: Option<Duration>,
    /// Code and message for the items of `again`, should they never be taken.
    pub why_again: Option<(String, String)>,
}

impl Receipt {
    /// The whole object or request was taken.
    #[must_use]
    pub fn taken(was_there: bool) -> Receipt {
        Receipt { was_there, ..Receipt::default() }
    }
}

/// An item that will never be taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub item: u32,
    pub code: String,
    pub message: String,
}

/// Bytes read from a staged file at once.
pub(crate) const PIECE_BYTES_MAX: usize = 256 << 10;

/// Reads a [`Body`] from its beginning to its end and never hands out its last piece before the checksum of the whole is
/// right: so bytes that are not what was staged never make a complete object anywhere.
pub(crate) struct BodyReader {
    body: Body,
    done: u64,
    seen: Seen,
}

/// The checksum of what was read.
enum Seen {
    Crc64(Box<Digest>, u64),
    Sha256(digest::Context),
}

impl Seen {
    fn update(&mut self, piece: &[u8]) {
        match self {
            Seen::Crc64(crc, _) => crc.update(piece),
            Seen::Sha256(digest) => digest.update(piece),
        }
    }
}

impl BodyReader {
    /// An empty body has no last piece to withhold, so its digest is looked at here; then the error is of kind `Staged`.
    pub(crate) fn new(body: &Body) -> Result<BodyReader, SinkError> {
        let seen = match body.crc64 {
            Some(staged) => Seen::Crc64(Box::new(Digest::new(CrcAlgorithm::Crc64Nvme)), staged),
            None => Seen::Sha256(digest::Context::new(&digest::SHA256)),
        };
        let reader = BodyReader { body: body.clone(), done: 0, seen };
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
        self.seen.update(piece);
        self.done += piece.len() as u64;
        self.verify_at_end()
    }

    fn verify_at_end(&self) -> Result<(), SinkError> {
        if self.done < self.body.length {
            return Ok(());
        }
        let right = match &self.seen {
            Seen::Crc64(crc, staged) => crc.finalize() == *staged,
            Seen::Sha256(digest) => digest.clone().finish().as_ref() == self.body.sha256,
        };
        if right { Ok(()) } else { Err(self.different()) }
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
            "the {} staged bytes at offset {} are not those that were staged (their checksum is another); nothing was delivered of them: check the disk of the data directory",
            self.body.length, self.body.offset
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_items_holds_each_once_and_in_order() {
        let mut set: ItemSet = [7, 1, 7, 3].into_iter().collect();
        assert!(set.insert(2) && !set.insert(3) && set.contains(7) && !set.contains(0));
        assert_eq!((set.iter().collect::<Vec<_>>(), set.len(), set.is_empty()), (vec![1, 2, 3, 7], 4, false));
    }
}
