//! `RecordId`: what a producer is told about a stored record, and what `explain` reads back.
//!
//! ```text
//! base64url, no padding, of:  version 1 | stream id 16 | log id 16 | epoch 8 | lsn 8     (49 bytes, 66 characters)
//! ```
//! Integers are big endian. The text is opaque to producers; AWS allows any, real ones have about 216 characters.

use hydrant_record::{Epoch, Identity, LogId, Lsn, StreamId};

const VERSION: u8 = 1;
const BYTES: usize = 49;
/// Characters of every record id.
pub const TEXT_LEN: usize = 66;

/// The id of one record.
#[must_use]
pub fn encode(stream: StreamId, record: Identity) -> String {
    let mut text = String::with_capacity(TEXT_LEN);
    append(&mut text, stream, record);
    text
}

/// The same behind a text.
pub(crate) fn append(text: &mut String, stream: StreamId, record: Identity) {
    let mut bytes = [0; BYTES];
    bytes[0] = VERSION;
    bytes[1..17].copy_from_slice(&stream.0);
    bytes[17..33].copy_from_slice(&record.log.0);
    bytes[33..41].copy_from_slice(&record.epoch.0.to_be_bytes());
    bytes[41..].copy_from_slice(&record.lsn.get().to_be_bytes());
    base64_simd::URL_SAFE_NO_PAD.encode_append(bytes, text);
}

/// The record an id names; `None` if the text is no id that [`encode`] makes.
#[must_use]
pub fn decode(text: &str) -> Option<(StreamId, Identity)> {
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (stream, rest) = rest.split_first_chunk()?;
    let (log, rest) = rest.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let lsn = Lsn::new(u64::from_be_bytes(rest.try_into().ok()?))?;
    let identity = Identity { log: LogId(*log), epoch: Epoch(u64::from_be_bytes(*epoch)), lsn };
    (*version == VERSION).then_some((StreamId(*stream), identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let stream = StreamId([0xa5; 16]);
        let record = Identity { log: LogId([0xfe; 16]), epoch: Epoch(u64::MAX), lsn: Lsn::FIRST.plus(41) };
        let text = encode(stream, record);
        assert_eq!(text.len(), TEXT_LEN);
        assert_eq!(decode(&text), Some((stream, record)));
        for bad in ["", "AA", &text[1..], &format!("{text}AAAA"), &text.replacen('A', "B", 1), &"A".repeat(TEXT_LEN)] {
            assert_ne!(decode(bad), Some((stream, record)), "{bad}");
        }
        assert_eq!(decode(&"A".repeat(TEXT_LEN)), None);
    }
}
