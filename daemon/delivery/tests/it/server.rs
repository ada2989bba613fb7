//! A destination that takes records, played by a script: each record says by its first word what becomes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hydrant_disk::read_exact_at;
use hydrant_sinks::{Delivery, Receipt, Refusal, Sink, SinkError, SinkErrorKind};

/// `bad-…` is refused, `busy-…` is taken at the third attempt, and the answer for a request with a `lost-…` is lost once;
/// anything else is taken.
#[derive(Debug, Default)]
pub(crate) struct Server {
    pub(crate) state: Mutex<State>,
    /// While there is one, every request fails so.
    pub(crate) down: Mutex<Option<SinkErrorKind>>,
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// How often each record was sent, and how often it was taken.
    sent: BTreeMap<String, u32>,
    taken: BTreeMap<String, u32>,
    attempts: BTreeMap<String, u32>,
    at: Vec<tokio::time::Instant>,
}

impl Server {
    pub(crate) fn down(kind: SinkErrorKind) -> Server {
        Server { down: Mutex::new(Some(kind)), ..Server::default() }
    }

    pub(crate) fn sent(&self) -> BTreeMap<String, u32> {
        self.state.lock().unwrap().sent.clone()
    }

    pub(crate) fn taken(&self) -> BTreeMap<String, u32> {
        self.state.lock().unwrap().taken.clone()
    }

    /// Attempts at each request, by what it is called.
    pub(crate) fn attempts(&self) -> BTreeMap<String, u32> {
        self.state.lock().unwrap().attempts.clone()
    }

    /// When each attempt came.
    pub(crate) fn times(&self) -> Vec<tokio::time::Instant> {
        self.state.lock().unwrap().at.clone()
    }

    fn answer(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let records = records(delivery);
        let items = delivery.items.as_ref().expect("requests have items");
        assert_eq!(records.len(), items.count as usize);
        let mut state = self.state.lock().unwrap();
        state.at.push(tokio::time::Instant::now());
        let attempt = state.attempts.entry(delivery.key.clone()).or_default();
        *attempt += 1;
        let attempt = *attempt;
        let mut receipt = Receipt::default();
        for (item, record) in (0..).zip(&records).filter(|(item, _)| !items.settled.contains(*item)) {
            *state.sent.entry(record.clone()).or_default() += 1;
            if self.down.lock().unwrap().is_some() {
                continue;
            }
            match record.split('-').next() {
                Some("bad") => {
                    let (code, message) = ("400".to_owned(), format!("`{record}` is not liked"));
                    receipt.refused.push(Refusal { item, code, message });
                }
                Some("busy") if attempt < 3 => receipt.again.push(item),
                _ => *state.taken.entry(record.clone()).or_default() += 1,
            }
        }
        if let Some(kind) = *self.down.lock().unwrap() {
            return Err(error(kind, "Test.Down", "it is down", self.retry_after));
        }
        if attempt == 1 && records.iter().any(|record| record.starts_with("lost-")) {
            return Err(error(SinkErrorKind::Transient, "Test.Lost", "no answer came", None));
        }
        if !receipt.again.is_empty() {
            receipt.retry_after = self.retry_after;
            receipt.why_again = Some(("429".to_owned(), "too many requests".to_owned()));
        }
        Ok(receipt)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a server")
    }
}

impl Sink for Server {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        async move { self.answer(delivery) }.boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        async { Ok(()) }.boxed()
    }
}

fn error(kind: SinkErrorKind, code: &str, message: &str, retry_after: Option<Duration>) -> SinkError {
    SinkError { kind, code: code.to_owned(), message: message.to_owned(), retry_after, source: None }
}

/// Fails for ever.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store")
    }
}

impl Sink for Broken {
    fn deliver<'a>(&'a self, _: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        async { Err(error(SinkErrorKind::Misconfigured, "S3.AccessDenied", "no access", None)) }.boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        async { Ok(()) }.boxed()
    }
}

/// What a body in the HTTP endpoint's form holds.
fn records(delivery: &Delivery) -> Vec<String> {
    let mut body = vec![0; usize::try_from(delivery.body.length).unwrap()];
    read_exact_at(&*delivery.body.file, &mut body, delivery.body.offset).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let records = body["records"].as_array().unwrap();
    records.iter().map(|record| text(record["data"].as_str().unwrap())).collect()
}

pub(crate) fn text(base64: &str) -> String {
    String::from_utf8(base64_simd::STANDARD.decode_to_vec(base64).unwrap()).unwrap()
}
