//! Names of logs, shards and records. Identity comes from the log alone, never from a clock or a name.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Log sequence number: dense per log, the first record is 1. Never reused once it was visible.
///
/// Alone it names a record only inside one opening of one log; see [`Identity`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(NonZeroU64);

impl Lsn {
    pub const FIRST: Lsn = Lsn(NonZeroU64::MIN);

    /// `None` for 0, which is no LSN.
    #[must_use]
    pub fn new(value: u64) -> Option<Lsn> {
        NonZeroU64::new(value).map(Lsn)
    }

    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The LSN `count` records further on.
    ///
    /// # Panics
    /// After 2^64 records, which no log reaches.
    #[must_use]
    pub fn plus(self, count: u64) -> Lsn {
        Lsn(self.0.checked_add(count).expect("a log holds fewer than 2^64 records"))
    }

    #[must_use]
    pub fn next(self) -> Lsn {
        self.plus(1)
    }

    /// The one before, or `None` at the start of the log.
    #[must_use]
    pub fn previous(self) -> Option<Lsn> {
        Lsn::new(self.get() - 1)
    }

    /// The first LSN behind a cursor: what comes after `None` is the start of the log. Cursors come from users too, so
    /// there is an answer behind the last number of all: itself, which no log reaches either.
    #[must_use]
    pub fn after(cursor: Option<Lsn>) -> Lsn {
        cursor.map_or(Lsn::FIRST, |cursor| Lsn(cursor.0.saturating_add(1)))
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lsn {}", self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What accounting counts: one stored record may become several by de-aggregation, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    pub lsn: Lsn,
    pub sub: u32,
}

/// Which shard of its stream a record belongs to. Direct PUT streams have one, number 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIx(pub u32);

/// Drawn at every opening of a log. A restored snapshot may write an LSN again, but never under the same epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {:016x}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text was not 32 lower-case hexadecimal digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 lower-case hexadecimal digits, got `{0}`")]
pub struct IdError(String);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.as_bytes();
                let well_formed = digits.len() == 32
                    && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
                if !well_formed {
                    return Err(IdError(text.to_owned()));
                }
                u128::from_str_radix(text, 16)
                    .map(|value| $name(value.to_be_bytes()))
                    .map_err(|_| IdError(text.to_owned()))
            }
        }
    };
}

random_id! {
    /// One log: drawn when its directory is created, never derived from a name.
    LogId
}
random_id! {
    /// One stream or delivery stream: drawn at creation, so a re-created name is another stream. Also its directory name.
    StreamId
}

/// What a record is called for ever, across restarts, restored snapshots and re-created streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub log: LogId,
    pub epoch: Epoch,
    pub lsn: Lsn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_followed_by_the_next_lsn() {
        assert_eq!(Lsn::after(None), Lsn::FIRST);
        assert_eq!(Lsn::after(Lsn::new(7)), Lsn::FIRST.plus(7));
        assert_eq!(Lsn::after(Lsn::new(u64::MAX)).get(), u64::MAX);
        assert_eq!(Lsn::FIRST.previous(), None);
    }

    #[test]
    fn ids_read_back_as_written_and_nothing_else_reads() {
        let id = LogId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "../../etc/passwd", "AB", &"g".repeat(32), &"+".repeat(32), &"A".repeat(32)] {
            assert!(bad.parse::<LogId>().is_err(), "{bad}");
        }
    }
}
