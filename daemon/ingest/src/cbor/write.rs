//! From the JSON text of an answer to CBOR, in one pass. Collections have no length in front and a break behind, as AWS's have.
//!
//! Which members are blobs and times, only their names tell: `Data`, and those that end with `Timestamp`. Kinesis has no text
//! and no other number by such a name.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{BREAK, DOUBLE, FALSE, NULL, TIME, TRUE, major};

/// `json` is what this program wrote; empty stays empty.
pub(crate) fn from_json(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    if !json.is_empty() {
        let writer = Writer { out: &mut out, member: "" };
        writer.deserialize(&mut serde_json::Deserializer::from_str(json)).expect("answers are JSON");
    }
    out
}

pub(crate) fn open_map(out: &mut Vec<u8>) {
    out.push(major::MAP << 5 | 31);
}

pub(crate) fn open_list(out: &mut Vec<u8>) {
    out.push(major::ARRAY << 5 | 31);
}

pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    head(out, major::TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn blob(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, major::BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    head(out, major::UNSIGNED, number);
}

pub(crate) fn time(out: &mut Vec<u8>, millis: u64) {
    out.push(TIME);
    head(out, major::UNSIGNED, millis);
}

/// An item's first bytes, with the shortest number.
#[expect(clippy::cast_possible_truncation, reason = "each arm's number fits")]
fn head(out: &mut Vec<u8>, major: u8, number: u64) {
    let first = major << 5;
    match number {
        0..24 => out.push(first | number as u8),
        24..0x100 => out.extend([first | 24, number as u8]),
        0x100..0x1_0000 => wide(out, first | 25, &(number as u16).to_be_bytes()),
        0x1_0000..0x1_0000_0000 => wide(out, first | 26, &(number as u32).to_be_bytes()),
        _ => wide(out, first | 27, &number.to_be_bytes()),
    }
}

fn wide(out: &mut Vec<u8>, first: u8, number: &[u8]) {
    out.push(first);
    out.extend_from_slice(number);
}

/// Appends one value, of the member of this name.
struct Writer<'w> {
    out: &'w mut Vec<u8>,
    member: &'w str,
}

impl Writer<'_> {
    fn is_time(&self) -> bool {
        self.member.ends_with("Timestamp")
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.out.push(NULL);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<(), E> {
        self.out.push(if flag { TRUE } else { FALSE });
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<(), E> {
        if self.is_time() {
            time(self.out, whole.saturating_mul(1000));
        } else {
            number(self.out, whole);
        }
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => {
                head(self.out, major::NEGATIVE, number.unsigned_abs() - 1);
                Ok(())
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and below 1970 is 1970"
    )]
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        if self.is_time() {
            time(self.out, (number * 1000.0).round() as u64);
        } else {
            wide(self.out, DOUBLE, &number.to_bits().to_be_bytes());
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, string: &str) -> Result<(), E> {
        let bytes = if self.member == "Data" { base64_simd::STANDARD.decode_to_vec(string).ok() } else { None };
        match bytes {
            Some(bytes) => blob(self.out, &bytes),
            None => text(self.out, string),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        open_list(self.out);
        while list.next_element_seed(Writer { out: &mut *self.out, member: self.member })?.is_some() {}
        self.out.push(BREAK);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        open_map(self.out);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            text(self.out, &name);
            map.next_value_seed(Writer { out: &mut *self.out, member: &name })?;
        }
        self.out.push(BREAK);
        Ok(())
    }
}
