//! Records that the Kinesis Producer Library has put together: one record of a stream with many of its user in it.
//!
//! ```text
//!  4  F3 89 9A C2
//!  n  a protobuf message
//!       1  repeated string    partition keys
//!       2  repeated string    explicit hash keys
//!       3  repeated message   user records
//!            1  required uint64   which of the partition keys
//!            2  optional uint64   which of the explicit hash keys
//!            3  required bytes    data
//! 16  MD5 of the message
//! ```
//!
//! Invariant: the answer is all the user records or none, whatever the bytes are. Nothing is copied, and what is allocated is
//! bounded by the bytes given and by [`USER_RECORDS_MAX`].

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

/// More than fit into the 1 MiB that the library aggregates at most, six bytes each; a record with more is an ordinary one.
pub const USER_RECORDS_MAX: usize = 200_000;

/// What a producer gave to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRecord<'a> {
    pub partition_key: &'a str,
    /// As it was given: a decimal number, unless the producer made it itself.
    pub explicit_hash_key: Option<&'a str>,
    /// A part of the record.
    pub data: &'a [u8],
}

/// The user records of an aggregated record, in order; their sub-sequence numbers count from 0. At least one.
///
/// `None` is an ordinary record: it has no magic number, or it has and what follows is not what the library makes, down to
/// the digest. The library's own readers take such a record for an ordinary one, too.
#[must_use]
pub fn user_records(record: &[u8]) -> Option<Vec<UserRecord<'_>>> {
    let rest = record.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    if Md5::digest(message)[..] != *digest {
        return None;
    }
    let message = Message::read(message)?;
    if message.records.is_empty() {
        return None;
    }
    message.records.iter().map(|entry| message.resolve(entry)).collect()
}

#[derive(Default)]
struct Message<'a> {
    partition_keys: Vec<&'a str>,
    explicit_hash_keys: Vec<&'a str>,
    records: Vec<Entry<'a>>,
}

struct Entry<'a> {
    partition_key: u64,
    explicit_hash_key: Option<u64>,
    data: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(bytes: &'a [u8]) -> Option<Message<'a>> {
        let mut message = Message::default();
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(key)) => message.partition_keys.push(std::str::from_utf8(key).ok()?),
                (2, Value::Bytes(key)) => message.explicit_hash_keys.push(std::str::from_utf8(key).ok()?),
                (3, Value::Bytes(entry)) => message.records.push(Entry::read(entry)?),
                _ => {}
            }
            let counts = [message.partition_keys.len(), message.explicit_hash_keys.len(), message.records.len()];
            if counts.iter().any(|count| *count > USER_RECORDS_MAX) {
                return None;
            }
        }
        Some(message)
    }

    fn resolve(&self, entry: &Entry<'a>) -> Option<UserRecord<'a>> {
        let explicit_hash_key = match entry.explicit_hash_key {
            Some(index) => Some(at(&self.explicit_hash_keys, index)?),
            None => None,
        };
        Some(UserRecord {
            partition_key: at(&self.partition_keys, entry.partition_key)?,
            explicit_hash_key,
            data: entry.data,
        })
    }
}

fn at<'a>(keys: &[&'a str], index: u64) -> Option<&'a str> {
    keys.get(usize::try_from(index).ok()?).copied()
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Option<Entry<'a>> {
        let (mut partition_key, mut explicit_hash_key, mut data) = (None, None, None);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Number(index)) => partition_key = Some(index),
                (2, Value::Number(index)) => explicit_hash_key = Some(index),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        Some(Entry { partition_key: partition_key?, explicit_hash_key, data: data? })
    }
}

/// The fields of a protobuf message: each a number and a value, or `None` once and at the end if the bytes are no message.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a field that the library has none of.
    Fixed,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        let number = tag >> 3;
        (number > 0).then_some((number, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            value |= bits << shift;
            if value >> shift != bits {
                return None;
            }
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the reference implementation: keys `pk1` and `pk2`, records (0, "hello") and (1, "world").
    const REFERENCE: &str =
        "f3899ac20a03706b310a03706b321a0908001a0568656c6c6f1a0908011a05776f726c6487c22af1ed18e292eb55b018413a3cff";

    fn reference() -> Vec<u8> {
        let digits: Vec<u8> = REFERENCE.chars().map(|c| u8::try_from(c.to_digit(16).unwrap()).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
    }

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        assert!(bytes.len() < 128);
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    /// `pk` is the only partition key, `7` the only hash key.
    fn with_records(records: &[&[u8]]) -> Vec<u8> {
        let records = records.iter().map(|record| field(3, record)).collect::<Vec<_>>().concat();
        sealed(&[field(1, b"pk"), field(2, b"7"), records].concat())
    }

    #[test]
    fn the_reference_implementation_is_read() {
        let aggregate = reference();
        let expected = [("pk1", "hello"), ("pk2", "world")];
        let expected = expected.map(|(partition_key, data)| UserRecord {
            partition_key,
            explicit_hash_key: None,
            data: data.as_bytes(),
        });
        assert_eq!(user_records(&aggregate).unwrap(), expected);
    }

    #[test]
    fn a_record_that_was_changed_anywhere_is_an_ordinary_one() {
        let aggregate = reference();
        for at in 0..aggregate.len() {
            let mut changed = aggregate.clone();
            changed[at] ^= 1;
            assert_eq!(user_records(&changed), None, "byte {at}");
            assert_eq!(user_records(&aggregate[..at]), None, "{at} bytes of it");
        }
        assert_eq!(user_records(&[aggregate.as_slice(), b"\n"].concat()), None);
    }

    #[test]
    fn fields_may_be_in_any_order_unknown_or_absent() {
        let known = [8, 0, 16, 0, 26, 1, b'x'];
        let expected = [UserRecord { partition_key: "pk", explicit_hash_key: Some("7"), data: b"x" }];
        assert_eq!(user_records(&with_records(&[&known])).unwrap(), expected);
        // Records before the keys; tags and fields of later versions; a value that comes twice.
        let unknown =
            [&known[..], &[34, 3, 10, 1, b't'], &[0x29; 9], &[0x2d; 5], &[0x30, 0xff, 1], &[26, 1, b'x']].concat();
        let aggregate = sealed(&[field(3, &unknown), field(2, b"7"), field(9, b"later"), field(1, b"pk")].concat());
        assert_eq!(user_records(&aggregate).unwrap(), expected);
        let without = with_records(&[&[8, 0, 26, 0]]);
        let without = user_records(&without).map(|records| records[0]);
        assert_eq!(without, Some(UserRecord { partition_key: "pk", explicit_hash_key: None, data: b"" }));
    }

    #[test]
    fn what_the_library_does_not_make_is_an_ordinary_record() {
        let cases: [(&str, &[u8]); 10] = [
            ("no data", &[8, 0]),
            ("no partition key", &[26, 0]),
            ("no such partition key", &[8, 1, 26, 0]),
            ("no such partition key at all", &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 26, 0]),
            ("no such hash key", &[8, 0, 16, 1, 26, 0]),
            ("data longer than the record", &[8, 0, 26, 1]),
            ("data longer than memory", &[8, 0, 26, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            ("a number of 65 bits", &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 26, 0]),
            ("a group", &[8, 0, 26, 0, 35]),
            ("field 0", &[8, 0, 26, 0, 0, 0]),
        ];
        for (what, record) in cases {
            assert_eq!(user_records(&with_records(&[record])), None, "{what}");
        }
        assert_eq!(user_records(&with_records(&[&[8, 0, 26, 0], &[8, 0]])), None, "all or none");
        assert_eq!(user_records(&sealed(&[field(1, b"\xff"), field(3, &[8, 0, 26, 0])].concat())), None, "no text");
        assert_eq!(user_records(&with_records(&[])), None, "there would be nothing left of it");
        assert_eq!(user_records(&sealed(b"")), None);
        for no_aggregate in [&b""[..], &MAGIC, b"{}", &[0xf3]] {
            assert_eq!(user_records(no_aggregate), None);
        }
    }

    #[test]
    fn all_that_fits_into_the_librarys_largest_record_is_taken_apart_and_not_without_end() {
        let of = |count: usize| {
            let records = field(3, &[8, 0, 26, 0]).repeat(count);
            user_records(&sealed(&[field(1, b""), records].concat())).map(|records| records.len())
        };
        let largest = (1 << 20) / 6;
        assert_eq!(of(largest), Some(largest));
        assert_eq!((of(USER_RECORDS_MAX), of(USER_RECORDS_MAX + 1)), (Some(USER_RECORDS_MAX), None));
    }
}
