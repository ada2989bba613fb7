//! The frames of `application/vnd.amazon.eventstream`, as SubscribeToShard answers with them.
//!
//! ```text
//! total length u32 | headers' length u32 | CRC-32 of those 8 bytes | headers | payload | CRC-32 of all before it
//! header: name's length u8 | name | 7, a text | value's length u16 | value          (all numbers big-endian)
//! ```

use bytes::{BufMut, Bytes};
use crc_fast::{CrcAlgorithm, checksum};

use crate::document::Document;
use crate::wire::Wire;

/// Lengths and the two checksums.
const AROUND: usize = 16;
/// Of these, in front of the headers.
const PRELUDE: usize = 12;
const TEXT: u8 = 7;

/// The first frame of every stream: clients of this protocol wait for it.
pub(super) fn initial_response(wire: Wire) -> Bytes {
    event("initial-response", wire, AROUND, |frame| Document::open(wire, frame).finish())
}

/// `write` puts the payload, of about `room` bytes, behind what it is given.
pub(super) fn event(kind: &str, wire: Wire, room: usize, write: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
    frame(&[(":event-type", kind), (":content-type", wire.media_type()), (":message-type", "event")], room, write)
}

/// An error after which nothing comes.
pub(super) fn exception(code: &str, message: &str, wire: Wire) -> Bytes {
    let payload = serde_json::json!({ "message": message }).to_string();
    let headers = [(":exception-type", code), (":content-type", wire.media_type()), (":message-type", "exception")];
    let payload = wire.encode(payload);
    frame(&headers, payload.len(), |frame| [&frame, &payload[..]].concat())
}

fn frame(headers: &[(&str, &str)], room: usize, write: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Bytes {
    let headers_length: usize = headers.iter().map(|(name, value)| 1 + name.len() + 3 + value.len()).sum();
    let length = |bytes: usize| u32::try_from(bytes).expect("an event has few megabytes").to_be_bytes();
    let mut frame = Vec::with_capacity(headers_length + room + AROUND);
    // The first length and its checksum are known at the end.
    frame.put_bytes(0, PRELUDE);
    for (name, value) in headers {
        frame.put_u8(u8::try_from(name.len()).expect("names of headers are short"));
        frame.put_slice(name.as_bytes());
        frame.put_u8(TEXT);
        frame.put_u16(u16::try_from(value.len()).expect("values of headers are short"));
        frame.put_slice(value.as_bytes());
    }
    let mut frame = write(frame);
    let total = frame.len() + size_of::<u32>();
    frame[..4].copy_from_slice(&length(total));
    frame[4..8].copy_from_slice(&length(headers_length));
    let checksum = crc(&frame[..8]);
    frame[8..PRELUDE].copy_from_slice(&checksum.to_be_bytes());
    frame.put_u32(crc(&frame));
    frame.into()
}

fn crc(bytes: &[u8]) -> u32 {
    u32::try_from(checksum(CrcAlgorithm::Crc32IsoHdlc, bytes)).expect("it has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that were computed apart from this code.
    #[test]
    fn frames_are_those_of_the_format() {
        let first = "0000007200000060ab820d9e0b3a6576656e742d74797065070010696e697469616c2d726573706f6e73650d3a636f6e74656e74\
             2d747970650700\
             1a6170706c69636174696f6e2f782d616d7a2d6a736f6e2d312e310d3a6d6573736167652d747970650700056576656e747b7dacae6b7d";
        assert_eq!(hex::encode(initial_response(Wire::AmzJson)), first);
        let data = "000000b10000005bb43c76b10b3a6576656e742d74797065070015537562736372696265546f53686172644576656e740d3a636f6e\
             74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22436f6e\
             74696e756174696f6e53657175656e63654e756d626572223a2230222c224d696c6c6973426568696e644c6174657374223a302c225265\
             636f726473223a5b5d7d90747fba";
        let headers = [
            (":event-type", "SubscribeToShardEvent"),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ];
        let payload = br#"{"ContinuationSequenceNumber":"0","MillisBehindLatest":0,"Records":[]}"#;
        assert_eq!(hex::encode(frame(&headers, 0, |frame| [&frame, &payload[..]].concat())), data);
    }

    #[test]
    fn an_exception_names_itself_and_says_why() {
        let frame = exception("ResourceInUseException", "why", Wire::AmzJson);
        let text = String::from_utf8_lossy(&frame);
        assert!(text.contains(":exception-type") && text.contains("ResourceInUseException"), "{text}");
        assert!(text.contains(r#"{"message":"why"}"#) && text.contains(":message-type"), "{text}");
        assert_eq!(u32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len());
    }
}
