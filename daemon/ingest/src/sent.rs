//! What a put's body holds, read in one pass that borrows from it; all decoded data, and keys beside it, goes into one buffer.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::ApiError;
use crate::shape::Violations;

/// Text that borrows from the body unless it holds escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Data: base64 in JSON, and bytes as they are in CBOR.
#[derive(Debug)]
pub(crate) enum Blob<'a> {
    Base64(Cow<'a, str>),
    Plain(Cow<'a, [u8]>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl<'de> Visitor<'de> for Base64 {
            type Value = Blob<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Blob<'de>, E> {
                Ok(Blob::Base64(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Blob<'de>, E> {
                Ok(Blob::Base64(Cow::Owned(text.to_owned())))
            }
        }
        struct Plain;
        impl<'de> Visitor<'de> for Plain {
            type Value = Blob<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Blob<'de>, E> {
                Ok(Blob::Plain(Cow::Borrowed(bytes)))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob<'de>, E> {
                Ok(Blob::Plain(Cow::Owned(bytes)))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64)
        } else {
            deserializer.deserialize_bytes(Plain)
        }
    }
}

/// The first members of a list, one more than `MAX` at most, and how many there are.
#[derive(Debug)]
pub(crate) struct Listed<T, const MAX: usize> {
    pub(crate) first: Vec<Option<T>>,
    pub(crate) count: usize,
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Listed<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = Listed<T, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed<T, MAX>, A::Error> {
                let mut first = Vec::new();
                while first.len() <= MAX {
                    let Some(record) = list.next_element()? else {
                        return Ok(Listed { count: first.len(), first });
                    };
                    first.push(record);
                }
                let mut count = first.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Listed { first, count })
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// Data of many records in one buffer; the records are slices of it.
#[derive(Debug)]
pub(crate) struct Blobs {
    buffer: Vec<u8>,
    ends: Vec<usize>,
}

impl Blobs {
    /// With room for this data, and for a text beside each.
    pub(crate) fn for_entries<'r>(
        entries: impl Iterator<Item = (Option<&'r Blob<'r>>, Option<&'r Text<'r>>)>,
    ) -> Blobs {
        let (mut bytes, mut count) = (0, 0);
        for (blob, text) in entries {
            bytes += match blob {
                Some(Blob::Base64(text)) => text.len() / 4 * 3 + 3,
                Some(Blob::Plain(data)) => data.len(),
                None => 0,
            };
            bytes += text.map_or(0, |text| text.0.len());
            count += 1 + usize::from(text.is_some());
        }
        Blobs { buffer: Vec::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// Decodes one; that it is missing or longer than `most` is a violation.
    pub(crate) fn push(
        &mut self,
        blob: Option<&Blob<'_>>,
        most: usize,
        at: impl Fn() -> String,
        to: &mut Violations,
    ) -> Result<(), ApiError> {
        match self.append(blob)? {
            None => to.missing(&at()),
            Some(length) if length > most => too_long(length, most, &at(), to),
            Some(_) => {}
        }
        Ok(())
    }

    pub(crate) fn push_text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.ends.push(self.buffer.len());
    }

    /// What was put in, in that order.
    pub(crate) fn finish(self) -> impl ExactSizeIterator<Item = Bytes> {
        let whole = Bytes::from(self.buffer);
        let mut start = 0;
        self.ends.into_iter().map(move |end| whole.slice(std::mem::replace(&mut start, end)..end))
    }

    /// The length of the data, `None` if there is none.
    fn append(&mut self, blob: Option<&Blob<'_>>) -> Result<Option<usize>, ApiError> {
        let Some(blob) = blob else { return Ok(None) };
        let start = self.buffer.len();
        match blob {
            Blob::Plain(data) => self.buffer.extend_from_slice(data),
            Blob::Base64(text) => {
                if base64_simd::STANDARD.decode_append(text.as_bytes(), &mut self.buffer).is_err() {
                    return Err(ApiError::serialization(not_base64(text)));
                }
            }
        }
        self.ends.push(self.buffer.len());
        Ok(Some(self.buffer.len() - start))
    }
}

/// More data than a record may have.
pub(crate) fn too_long(length: usize, most: usize, at: &str, to: &mut Violations) {
    let value = format!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]");
    to.push(&value, at, &format!("Member must have length less than or equal to {most}"));
}

fn not_base64(text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    let letter = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let why = if let Some(bad) = text.chars().find(|c| !letter(c)) {
        format!("Invalid Base64 character: '{bad}'")
    } else if !text.len().is_multiple_of(4) {
        format!("Base64 encoded length is expected a multiple of 4 bytes but found: {}", text.len())
    } else {
        "Invalid last non-pad Base64 character detected".to_owned()
    };
    format!("'{shown}' can not be converted to a Blob: {why}")
}
