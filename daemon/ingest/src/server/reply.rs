//! The HTTP response to one request. Every response has the two ids that AWS's clients show to their users.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::connection::stopped;
use super::load::UnderWay;
use crate::ApiError;
use crate::answer::Answer;
use crate::wire::Wire;

/// What a client is given at once, as far as its windows go. HTTP/2 takes a piece whole at the first byte of room for it, and holds
/// it then, so a client that shuts a window has no more than this held without being noticed.
const PIECE_BYTES: usize = 64 << 10;
const EVENTS: &str = "application/vnd.amazon.eventstream";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");

/// What is sent behind the head.
pub(super) struct ReplyBody {
    content: Content,
    /// The request is under way for as long as its answer is.
    under_way: Option<UnderWay>,
}

enum Content {
    Whole(Bytes),
    Events(BoxStream<'static, Bytes>),
}

impl ReplyBody {
    fn whole(bytes: Bytes) -> ReplyBody {
        ReplyBody { content: Content::Whole(bytes), under_way: None }
    }

    pub(super) fn holding(mut self, under_way: UnderWay) -> ReplyBody {
        let whole = matches!(self.content, Content::Whole(_));
        let under_way = self.under_way.insert(under_way);
        if whole {
            under_way.answer();
        }
        self
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let ReplyBody { content, under_way } = self.get_mut();
        let piece = match content {
            Content::Whole(rest) if rest.is_empty() => Poll::Ready(None),
            Content::Whole(rest) => Poll::Ready(Some(rest.split_to(rest.len().min(PIECE_BYTES)))),
            Content::Events(events) => events.as_mut().poll_next(cx),
        };
        if let (Poll::Ready(Some(_)), Some(under_way)) = (&piece, under_way) {
            under_way.moves();
        }
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(rest) => rest.is_empty(),
            Content::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(rest) => SizeHint::with_exact(rest.len() as u64),
            Content::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody").field("size", &self.size_hint()).finish()
    }
}

/// `stopping` ends what has no end.
pub(super) fn answer(answer: Answer, wire: Wire, stopping: watch::Receiver<bool>) -> Response<ReplyBody> {
    match answer {
        Answer::Json(text) => with_ids(StatusCode::OK, wire.media_type(), ReplyBody::whole(wire.encode(text))),
        Answer::Encoded(bytes) => with_ids(StatusCode::OK, wire.media_type(), ReplyBody::whole(bytes)),
        Answer::Events(events) => {
            let events = events.take_until(Box::pin(stopped(stopping))).boxed();
            with_ids(StatusCode::OK, EVENTS, ReplyBody { content: Content::Events(events), under_way: None })
        }
    }
}

/// To a question about what may be sent.
pub(super) fn empty() -> Response<ReplyBody> {
    with_ids(StatusCode::OK, Wire::default().media_type(), ReplyBody::whole(Bytes::new()))
}

pub(super) fn refusal(error: &ApiError, wire: Wire, version: Version) -> Response<ReplyBody> {
    // The front end writes `Message` where the services write `message`.
    let key = if error.code == "SerializationException" { "Message" } else { "message" };
    let text = serde_json::json!({ "__type": error.code, key: error.message }).to_string();
    let (media_type, bytes) = if error.status == StatusCode::FORBIDDEN {
        // Of a request that is for no service: no service's protocol.
        let text = format!("<{0}>\n  <Message>{1}</Message>\n</{0}>\n", error.code, error.message);
        ("application/xml", text.into())
    } else {
        (wire.media_type(), wire.encode(text))
    };
    let mut response = with_ids(error.status, media_type, ReplyBody::whole(bytes));
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.code));
    // On HTTP/2 only the request's own stream is spoilt.
    if error.close && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn with_ids(status: StatusCode, media_type: &'static str, body: ReplyBody) -> Response<ReplyBody> {
    // Ids are for reading logs.
    let mut random = [0u8; 64];
    rand::fill(&mut random);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let ids = [(REQUEST_ID, uuid(&random)), (ID_2, base64_simd::STANDARD.encode_to_string(&random[16..]))];
    for (name, id) in ids {
        headers.insert(name, HeaderValue::try_from(id).expect("hexadecimal and base64 text is visible ASCII"));
    }
    response
}

/// A version 4 UUID.
fn uuid(random: &[u8; 64]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&random[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_server_that_stops_ends_events_between_two_items() {
        let (stop, stopping) = watch::channel(false);
        let events = futures::stream::iter([Bytes::from_static(b"one")]).chain(futures::stream::pending());
        let mut response = answer(Answer::Events(events.boxed()), Wire::Cbor, stopping);
        assert_eq!(response.headers()[header::CONTENT_TYPE], EVENTS);
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "one");
        stop.send(true).unwrap();
        assert!(response.body_mut().frame().await.is_none());
    }
}
