//! CBOR (RFC 8949) as AWS's SDKs for Java speak it to Kinesis: the members of JSON 1.1, but blobs are byte strings and times are
//! tag 1 with whole milliseconds. (RFC 8949 has seconds there; AWS deviates.)
//!
//! Nothing is allocated by a length that a client announces: texts and byte strings are slices of the body, and items are
//! counted as they are read. Nesting is bounded by [`crate::depth::DEPTH_MAX`].

mod read;
mod write;

pub(crate) use read::{check_object, from_slice, value};
pub(crate) use write::{blob, from_json, number, open_list, open_map, text, time};

/// The end of what was opened.
pub(crate) const CLOSE: u8 = BREAK;

#[cfg(test)]
mod tests;

/// Major types, in the upper three bits of an item's first byte.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
}

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const UNDEFINED: u8 = 0xf7;
const HALF: u8 = 0xf9;
const SINGLE: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;
const BREAK: u8 = 0xff;
/// "Milliseconds since 1970 follow."
const TIME: u8 = 0xc1;
