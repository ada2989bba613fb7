//! What an operation that succeeded answers with. Its type decides the shape of the HTTP body and nothing else does.

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;

/// The answer of one operation.
pub(crate) enum Answer {
    /// One JSON text; empty for the operations that have no output. A caller that spoke CBOR gets it as CBOR.
    Json(String),
    /// The same in the encoding that the caller spoke, as a [`crate::document::Document`] makes it.
    Encoded(Bytes),
    /// A body without an end that is known, for `application/vnd.amazon.eventstream`: each item is sent as it comes, and the
    /// next one is asked for once the connection takes more, so the stream must hold as little as it can and may wait for
    /// as long as it likes. It is dropped when the client goes away; a server that stops ends it between two items. Whatever
    /// can be refused is refused before: here the status is 200 already, and errors are frames.
    Events(BoxStream<'static, Bytes>),
}

impl From<String> for Answer {
    fn from(json: String) -> Answer {
        Answer::Json(json)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Json(text) => f.debug_tuple("Json").field(&text.len()).finish(),
            Answer::Encoded(bytes) => f.debug_tuple("Encoded").field(&bytes.len()).finish(),
            Answer::Events(_) => f.write_str("Events"),
        }
    }
}
