//! From CBOR to whatever serde can make, borrowing from the body; and to the tree of values that JSON becomes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Number, Value};

use super::{BREAK, DOUBLE, FALSE, HALF, NULL, SINGLE, TRUE, UNDEFINED, major};
use crate::depth::DEPTH_MAX;

/// A time of fewer milliseconds than this would be before 1973, so it is in seconds.
const LEAST_MILLIS: i64 = 100_000_000_000;

/// What is wrong with the bytes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(Cow<'static, str>);

/// Reads one item after the other.
#[derive(Debug)]
struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
    depth: usize,
}

/// How many items or bytes follow; `None` is "until a break".
type Count = Option<u64>;

/// One item, or the head of a collection.
#[derive(Debug)]
enum Item<'de> {
    Integer(i128),
    Float(f64),
    Bytes(Cow<'de, [u8]>),
    Text(Cow<'de, str>),
    Array(Count),
    Map(Count),
    Tag(u64),
    Flag(bool),
    Null,
    Break,
}

/// The one item that `bytes` are.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Invalid> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// As JSON would have it: byte strings become base64, times become seconds.
pub(crate) fn value(bytes: &[u8]) -> Result<Value, Invalid> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let item = reader.item()?;
    let value = reader.tree(item)?;
    reader.end()?;
    Ok(value)
}

/// Costs no memory, so it may be done for anybody.
pub(crate) fn check_object(bytes: &[u8]) -> Result<(), Invalid> {
    let mut reader = Reader { bytes, at: 0, depth: 0 };
    let mut item = reader.item()?;
    while matches!(item, Item::Tag(_)) {
        reader.deeper()?;
        item = reader.item()?;
    }
    if !matches!(item, Item::Map(_)) {
        return Err(Invalid("the request must be a CBOR map".into()));
    }
    reader.skip(&item)?;
    reader.end()
}

impl<'de> Reader<'de> {
    fn wrong(&self, what: &str) -> Invalid {
        Invalid(format!("Invalid CBOR: {what} at byte {}", self.at).into())
    }

    fn take(&mut self, count: u64) -> Result<&'de [u8], Invalid> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.bytes.len() - self.at);
        let Some(count) = count else { return Err(self.wrong("a length beyond the end of the request")) };
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn number(&mut self, bytes: u64) -> Result<u64, Invalid> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The number in or behind an item's first byte.
    fn count(&mut self, first: u8) -> Result<Count, Invalid> {
        Ok(Some(match first & 0x1f {
            small @ 0..24 => u64::from(small),
            24 => self.number(1)?,
            25 => self.number(2)?,
            26 => self.number(4)?,
            27 => self.number(8)?,
            31 => return Ok(None),
            _ => return Err(self.wrong("a reserved length")),
        }))
    }

    fn definite(&mut self, first: u8) -> Result<u64, Invalid> {
        self.count(first)?.ok_or_else(|| self.wrong("a number without an end"))
    }

    fn item(&mut self) -> Result<Item<'de>, Invalid> {
        let first = self.take(1)?[0];
        Ok(match first >> 5 {
            major::UNSIGNED => Item::Integer(i128::from(self.definite(first)?)),
            major::NEGATIVE => Item::Integer(-1 - i128::from(self.definite(first)?)),
            major::BYTES => Item::Bytes(self.string(first)?),
            major::TEXT => Item::Text(
                match self.string(first)? {
                    Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
                    Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
                }
                .ok_or_else(|| self.wrong("a text that is not UTF-8 ends"))?,
            ),
            major::ARRAY => Item::Array(self.count(first)?),
            major::MAP => Item::Map(self.count(first)?),
            major::TAG => Item::Tag(self.definite(first)?),
            _ => self.simple(first)?,
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "as many bits as bytes were read")]
    fn simple(&mut self, first: u8) -> Result<Item<'de>, Invalid> {
        Ok(match first {
            FALSE => Item::Flag(false),
            TRUE => Item::Flag(true),
            NULL | UNDEFINED => Item::Null,
            HALF => Item::Float(half(self.number(2)? as u16)),
            SINGLE => Item::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            DOUBLE => Item::Float(f64::from_bits(self.number(8)?)),
            BREAK => Item::Break,
            _ => return Err(self.wrong("an unknown simple value")),
        })
    }

    /// One piece, or pieces until a break, which are put together.
    fn string(&mut self, first: u8) -> Result<Cow<'de, [u8]>, Invalid> {
        if let Some(length) = self.count(first)? {
            return self.take(length).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        loop {
            let next = self.take(1)?[0];
            if next == BREAK {
                return Ok(Cow::Owned(whole));
            }
            if next >> 5 != first >> 5 {
                return Err(self.wrong("a string with a piece of another type"));
            }
            let length = self.definite(next)?;
            whole.extend_from_slice(self.take(length)?);
        }
    }

    fn deeper(&mut self) -> Result<(), Invalid> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.wrong("too deep a nesting")) } else { Ok(()) }
    }

    /// The next of the items of a collection; `None` behind the last.
    fn next_of(&mut self, left: &mut Count) -> Result<Option<Item<'de>>, Invalid> {
        match left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None => {}
        }
        match self.item()? {
            Item::Break if left.is_none() => Ok(None),
            Item::Break => Err(self.wrong("a break in a collection of known length")),
            item => Ok(Some(item)),
        }
    }

    fn name(&self, item: Item<'de>) -> Result<Cow<'de, str>, Invalid> {
        match item {
            Item::Text(name) => Ok(name),
            _ => Err(self.wrong("a key that is no text")),
        }
    }

    fn skip(&mut self, item: &Item<'de>) -> Result<(), Invalid> {
        match item {
            Item::Array(count) | Item::Map(count) => {
                self.deeper()?;
                let mut left = *count;
                while let Some(inner) = self.next_of(&mut left)? {
                    if matches!(item, Item::Map(_)) {
                        self.name(inner)?;
                        self.skip_one()?;
                    } else {
                        self.skip(&inner)?;
                    }
                }
                self.depth -= 1;
            }
            Item::Tag(_) => {
                self.deeper()?;
                self.skip_one()?;
                self.depth -= 1;
            }
            Item::Break => return Err(self.wrong("a break outside of a collection")),
            _ => {}
        }
        Ok(())
    }

    fn skip_one(&mut self) -> Result<(), Invalid> {
        let item = self.item()?;
        self.skip(&item)
    }

    fn tree(&mut self, item: Item<'de>) -> Result<Value, Invalid> {
        Ok(match item {
            Item::Integer(number) => match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ => return Err(self.wrong("a number out of range")),
            },
            Item::Float(number) => self.float(number)?,
            Item::Bytes(bytes) => base64_simd::STANDARD.encode_to_string(bytes.as_ref()).into(),
            Item::Text(text) => Value::String(text.into_owned()),
            Item::Flag(flag) => flag.into(),
            Item::Null => Value::Null,
            Item::Tag(tag) => {
                self.deeper()?;
                let item = self.item()?;
                let inner = self.tree(item)?;
                self.depth -= 1;
                if tag == 1 { self.seconds(inner)? } else { inner }
            }
            Item::Array(mut left) => {
                self.deeper()?;
                let mut list = Vec::new();
                while let Some(item) = self.next_of(&mut left)? {
                    list.push(self.tree(item)?);
                }
                self.depth -= 1;
                Value::Array(list)
            }
            Item::Map(mut left) => {
                self.deeper()?;
                let mut members = Map::new();
                while let Some(key) = self.next_of(&mut left)? {
                    let name = self.name(key)?.into_owned();
                    let item = self.item()?;
                    members.insert(name, self.tree(item)?);
                }
                self.depth -= 1;
                Value::Object(members)
            }
            Item::Break => return Err(self.wrong("a break outside of a collection")),
        })
    }

    fn float(&self, number: f64) -> Result<Value, Invalid> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| self.wrong("a number that is none"))
    }

    #[expect(clippy::cast_precision_loss, reason = "times have 53 bits until the year 287396")]
    fn seconds(&self, time: Value) -> Result<Value, Invalid> {
        match time.as_i64() {
            Some(millis) if millis >= LEAST_MILLIS => self.float(millis as f64 / 1000.0),
            _ => Ok(time),
        }
    }

    fn end(&self) -> Result<(), Invalid> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.wrong("more than one item")) }
    }

    fn visit<V: Visitor<'de>>(&mut self, item: Item<'de>, visitor: V) -> Result<V::Value, Invalid> {
        match item {
            Item::Integer(number) => match (u64::try_from(number), i64::try_from(number)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(self.wrong("a number out of range")),
            },
            Item::Float(number) => visitor.visit_f64(number),
            Item::Bytes(Cow::Borrowed(bytes)) => visitor.visit_borrowed_bytes(bytes),
            Item::Bytes(Cow::Owned(bytes)) => visitor.visit_byte_buf(bytes),
            Item::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Item::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Item::Flag(flag) => visitor.visit_bool(flag),
            Item::Null => visitor.visit_unit(),
            Item::Tag(_) => {
                self.deeper()?;
                let item = self.item()?;
                let inner = self.visit(item, visitor)?;
                self.depth -= 1;
                Ok(inner)
            }
            Item::Array(left) | Item::Map(left) => {
                let is_map = matches!(item, Item::Map(_));
                self.deeper()?;
                let mut members = Members { reader: self, left, next: None };
                let value = if is_map { visitor.visit_map(&mut members) } else { visitor.visit_seq(&mut members) }?;
                members.finish(is_map)?;
                self.depth -= 1;
                Ok(value)
            }
            Item::Break => Err(self.wrong("a break outside of a collection")),
        }
    }
}

/// What is inside of a collection.
struct Members<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: Count,
    /// `Some(None)`: the end was reached.
    next: Option<Option<Item<'de>>>,
}

impl<'de> Members<'_, 'de> {
    fn advance(&mut self) -> Result<Option<Item<'de>>, Invalid> {
        if self.next.is_some() {
            return Ok(None);
        }
        let item = self.reader.next_of(&mut self.left)?;
        if item.is_none() {
            self.next = Some(None);
        }
        Ok(item)
    }

    /// A visitor may stop before the end.
    fn finish(&mut self, is_map: bool) -> Result<(), Invalid> {
        while let Some(item) = self.advance()? {
            self.reader.skip(&item)?;
            if is_map {
                self.reader.skip_one()?;
            }
        }
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for &mut Members<'_, 'de> {
    type Error = Invalid;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Invalid> {
        let Some(item) = self.advance()? else { return Ok(None) };
        seed.deserialize(Held { reader: self.reader, item }).map(Some)
    }
}

impl<'de> MapAccess<'de> for &mut Members<'_, 'de> {
    type Error = Invalid;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Invalid> {
        let Some(item) = self.advance()? else { return Ok(None) };
        let name = self.reader.name(item)?;
        seed.deserialize(Held { reader: self.reader, item: Item::Text(name) }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Invalid> {
        seed.deserialize(&mut *self.reader)
    }
}

/// An item whose head was read already.
struct Held<'r, 'de> {
    reader: &'r mut Reader<'de>,
    item: Item<'de>,
}

impl<'de> Deserializer<'de> for Held<'_, 'de> {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.reader.visit(self.item, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        match self.item {
            Item::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.reader.skip(&self.item)?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let item = self.item()?;
        self.visit(item, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let item = self.item()?;
        Held { reader: self, item }.deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        self.skip_one()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

impl de::Error for Invalid {
    fn custom<T: fmt::Display>(message: T) -> Invalid {
        Invalid(message.to_string().into())
    }
}

/// A number of 16 bits: one for the sign, five for the exponent, ten for the fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * f64::exp2(-24.0),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::exp2(f64::from(exponent - 25)),
    };
    if bits >> 15 == 1 { -size } else { size }
}
