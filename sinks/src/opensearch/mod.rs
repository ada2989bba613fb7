//! OpenSearch and Elasticsearch, by `_bulk`. Nothing here tells the two apart: no header or field of only one is used.
//!
//! ```text
//! POST _bulk    no answer                      again: what was made answers 409 then
//!               413                            in two halves; one item alone: refused
//!               408, 425, 429, 5xx             again
//!               another status                 the settings are wrong
//!               200, each item: 2xx            taken
//!                               409 conflict   taken before: `create` with an id of our own
//!                               408, 429, 5xx  again
//!                               its index is missing, closed, blocked, or not ours to write: again, and what to do
//!                               another 4xx    refused, with the server's reason
//! ```
//!
//! So there is no `_mget` after an unknown outcome: `create` asks the same question, and nobody can come between. Where the
//! name of the index is an alias or a data stream that rolls over, a repeat may meet another index and make a second
//! document; the same where documents are deleted meanwhile, or where the server makes the ids. There it is at-least-once.

mod answer;
mod bulk;
mod client;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use hydrant_config::OpenSearch;
use reqwest::{Method, StatusCode};
use tokio::sync::Semaphore;

use self::answer::Verdicts;
use self::bulk::Item;
use self::client::Client;
use crate::{Delivery, Receipt, Sink, SinkError};

/// Bytes of bodies that one sink holds at once, over all its deliveries; a larger body is held alone.
const BODY_BYTES_MAX: u32 = 32 << 20;
/// What is needed of an answer; all of it would be several times as long as what was sent.
const BULK_PATH: &str = "_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.type,items.*.error.caused_by.reason";

/// Makes documents in the indices of one name.
pub(crate) struct OpenSearchSink {
    client: Client,
    index: String,
    permits: Arc<Semaphore>,
}

/// Why a request brought no verdicts.
enum Failed {
    /// The message for a single item.
    TooLarge(String),
    Whole(SinkError),
}

impl OpenSearchSink {
    pub(crate) fn new(search: &OpenSearch) -> Result<OpenSearchSink, SinkError> {
        let permits = Arc::new(Semaphore::new(BODY_BYTES_MAX as usize));
        Ok(OpenSearchSink { client: Client::new(search)?, index: search.index.clone(), permits })
    }

    async fn bulk(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let length = u32::try_from(delivery.body.length).unwrap_or(u32::MAX).min(BODY_BYTES_MAX);
        let _permit = self.permits.acquire_many(length).await.expect("the semaphore is never closed");
        let items = bulk::open_items(delivery).await?;
        let mut verdicts = Verdicts::default();
        let mut parts = vec![&items[..]];
        let mut answered = false;
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            match self.send(part, &mut verdicts).await {
                Ok(()) => answered = true,
                Err(Failed::TooLarge(_)) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(Failed::TooLarge(message)) => {
                    verdicts.refuse(part[0].number, "413".to_owned(), message);
                    answered = true;
                }
                // What the parts before were told stays told.
                Err(Failed::Whole(error)) if answered => {
                    parts.push(part);
                    let left = parts.drain(..).flatten();
                    left.for_each(|item| verdicts.again(item.number, error.code.clone(), error.message.clone()));
                }
                Err(Failed::Whole(error)) => return Err(error),
            }
        }
        Ok(verdicts.into_receipt())
    }

    async fn send(&self, part: &[Item], verdicts: &mut Verdicts) -> Result<(), Failed> {
        let (body, bytes_max) = (bulk::body_of(part), answer::bytes_max(part.len()));
        let answered = self.client.call(Method::POST, BULK_PATH, Some(body), bytes_max).await.map_err(Failed::Whole)?;
        match answered.status {
            StatusCode::OK => {
                let numbers: Vec<u32> = part.iter().map(|item| item.number).collect();
                verdicts
                    .take(&answered.body, &numbers, answered.retry_after)
                    .map_err(|why| Failed::Whole(self.client.not_a_server(&why)))
            }
            StatusCode::PAYLOAD_TOO_LARGE => Err(Failed::TooLarge(self.client.refused(&answered).message)),
            _ => Err(Failed::Whole(self.client.refused(&answered))),
        }
    }

    /// The root tells what it is. A user who may not look there may be allowed to write nevertheless.
    async fn look(&self) -> Result<(), SinkError> {
        let answered = self.client.call(Method::GET, "", None, answer::bytes_max(0)).await?;
        let named = answer::whole_error(&answered.body).is_some_and(|(kind, _)| kind == "security_exception");
        match answered.status {
            StatusCode::OK if answer::is_root(&answered.body) => Ok(()),
            StatusCode::OK => Err(self.client.not_a_server("its root tells no version number")),
            StatusCode::FORBIDDEN if named => Ok(()),
            _ => Err(self.client.refused(&answered)),
        }
    }
}

impl fmt::Display for OpenSearchSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index `{}` at {}", self.index, self.client)
    }
}

impl fmt::Debug for OpenSearchSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSearchSink")
            .field("client", &self.client)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Sink for OpenSearchSink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        self.bulk(delivery).boxed()
    }

    /// Asks the server for its name: address, certificate and login are right. Whether it takes documents, only one can tell.
    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        self.look().boxed()
    }
}
