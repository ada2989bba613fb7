//! Where a record falls among the shards of its stream: a point on a line of 2^128 points.
//!
//! The rules are Kinesis': the key of a record is the MD5 of its partition key, and every shard holds one range of keys.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};

/// A point that some shard of the stream holds. Read and shown in decimal, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(pub u128);

impl HashKey {
    pub const MIN: HashKey = HashKey(0);
    pub const MAX: HashKey = HashKey(u128::MAX);

    /// The MD5 of the partition key, taken as a big-endian number.
    #[must_use]
    pub fn of_partition_key(key: &[u8]) -> HashKey {
        HashKey(u128::from_be_bytes(Md5::digest(key).into()))
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.0)
    }
}

/// The text is not a hash key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash key is a decimal number from 0 to 2^128-1 without leading zeros, got `{0}`")]
pub struct HashKeyError(String);

impl FromStr for HashKey {
    type Err = HashKeyError;

    fn from_str(text: &str) -> Result<HashKey, HashKeyError> {
        let refused = || HashKeyError(text.to_owned());
        if !is_plain_decimal(text) {
            return Err(refused());
        }
        text.parse().map(HashKey).map_err(|_| refused())
    }
}

/// The keys from `start` to `end`, both included. One that ends before it starts holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashRange {
    pub start: HashKey,
    pub end: HashKey,
}

impl HashRange {
    pub const ALL: HashRange = HashRange { start: HashKey::MIN, end: HashKey::MAX };

    #[must_use]
    pub fn contains(&self, key: HashKey) -> bool {
        self.start <= key && key <= self.end
    }

    /// `next` starts at the very key after the last one of this range.
    #[must_use]
    pub fn is_followed_by(&self, next: &HashRange) -> bool {
        self.end.0.checked_add(1) == Some(next.start.0)
    }
}

/// Decimal digits as AWS writes them: no sign, no leading zero, `0` for zero.
pub(crate) fn is_plain_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_key_has_the_hash_that_kinesis_gives_it() {
        let hashed = |key: &str| HashKey::of_partition_key(key.as_bytes()).to_string();
        assert_eq!(hashed("a"), "16955237001963240173058271559858726497");
        assert_eq!(hashed("user-42"), "157107139746365290205026809710278036035");
        assert_eq!(HashKey::of_partition_key(b""), HashKey(0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e));
    }

    #[test]
    fn keys_read_back_as_written_and_nothing_else_reads() {
        for key in [HashKey::MIN, HashKey(10), HashKey::MAX] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert_eq!(HashKey::MAX.to_string(), "340282366920938463463374607431768211455");
        let too_large = "340282366920938463463374607431768211456";
        for bad in ["", "00", "01", "+1", "-1", "1.0", " 1", "0x1", "1e3", "\u{661}", too_large, &"9".repeat(40)] {
            assert!(bad.parse::<HashKey>().is_err(), "{bad}");
        }
        assert_eq!(
            "-1".parse::<HashKey>().unwrap_err().to_string(),
            "a hash key is a decimal number from 0 to 2^128-1 without leading zeros, got `-1`"
        );
    }

    #[test]
    fn a_range_holds_both_its_ends() {
        let range = HashRange { start: HashKey(10), end: HashKey(20) };
        let held: Vec<u128> = (0..30).filter(|key| range.contains(HashKey(*key))).collect();
        assert_eq!(held, (10..=20).collect::<Vec<_>>());
        assert!(HashRange::ALL.contains(HashKey::MIN) && HashRange::ALL.contains(HashKey::MAX));
    }

    #[test]
    fn ranges_follow_each_other_without_gap_or_overlap() {
        let range = |start, end| HashRange { start: HashKey(start), end: HashKey(end) };
        assert!(range(0, 9).is_followed_by(&range(10, 20)));
        assert!(!range(10, 20).is_followed_by(&range(0, 9)));
        assert!(!range(0, 9).is_followed_by(&range(11, 20)));
        assert!(!range(0, 9).is_followed_by(&range(9, 20)));
        assert!(!HashRange::ALL.is_followed_by(&HashRange::ALL));
    }
}
