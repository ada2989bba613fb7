//! What the API hands out for a client to bring back: shard iterators and the tokens of long lists.
//!
//! ```text
//! base64url, no padding, of:  kind 1 | stream id 16 | three words of 8 | issued at, ms 8 | tag 16      (65 bytes)
//! ```
//!
//! Invariant: only what this daemon has sealed for the stream opens. The tag is an HMAC under the random id of the stream's
//! log, which the API never shows, so tokens outlive a restart and not their stream.

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::ShardLog;

use super::{KinesisStream, KinesisStreams};

const SIGNED_BYTES: usize = 49;
const TAG_BYTES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Iterator = 1,
    Shards = 2,
    Consumers = 3,
}

/// What its words mean is its kind's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) words: [u64; 3],
    pub(super) issued_at: Timestamp,
}

impl Token {
    pub(super) fn seal(&self, stream: StreamId, log: &ShardLog) -> String {
        let mut bytes = Vec::with_capacity(SIGNED_BYTES + TAG_BYTES);
        bytes.push(self.kind as u8);
        bytes.extend_from_slice(&stream.0);
        for word in self.words.into_iter().chain([self.issued_at.as_millis()]) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        let tag = tag(&bytes, log);
        bytes.extend_from_slice(&tag.as_ref()[..TAG_BYTES]);
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    /// The token and its stream; `None` if it was not sealed here, or its stream is gone.
    pub(super) fn open(text: &str, kind: Kind, streams: &KinesisStreams) -> Option<(Token, Arc<KinesisStream>)> {
        let (signed, stream) = unseal(text, streams)?;
        let (_, rest) = signed.split_first().filter(|(first, _)| **first == kind as u8)?;
        let (_, rest) = rest.split_first_chunk::<16>()?;
        let (words, _) = rest.as_chunks::<8>();
        let word = |at: usize| words.get(at).map(|word| u64::from_be_bytes(*word));
        let token = Token { kind, words: [word(0)?, word(1)?, word(2)?], issued_at: Timestamp::from_millis(word(3)?) };
        Some((token, stream))
    }
}

/// The stream of a token of any kind that was sealed here.
pub(crate) fn stream_of_token(text: &str, streams: &KinesisStreams) -> Option<Arc<KinesisStream>> {
    unseal(text, streams).map(|(_, stream)| stream)
}

fn unseal(text: &str, streams: &KinesisStreams) -> Option<(Vec<u8>, Arc<KinesisStream>)> {
    let mut bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
    let (signed, tagged) = bytes.split_at_checked(SIGNED_BYTES)?;
    let (_, rest) = signed.split_first()?;
    let (stream, _) = rest.split_first_chunk()?;
    let stream = streams.by_id(StreamId(*stream))?;
    let expected = tag(signed, stream.log()?);
    constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG_BYTES], tagged).ok()?;
    bytes.truncate(SIGNED_BYTES);
    Some((bytes, stream))
}

fn tag(signed: &[u8], log: &ShardLog) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &log.id().0), signed)
}
