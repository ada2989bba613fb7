//! A destination that takes everything and keeps nothing.

use std::fmt;

use aws_lc_rs::digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hydrant_disk::read_exact_at;
use hydrant_sinks::{Body, Delivery, Receipt, Sink, SinkError, SinkErrorKind};

use super::Outbox;

const PIECE_BYTES: usize = 1 << 20;

/// With an outbox it proves that the bytes are those that were staged, as every destination does.
#[derive(Debug)]
pub(super) struct Discarding(pub(super) Outbox);

impl fmt::Display for Discarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nowhere")
    }
}

impl Sink for Discarding {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Receipt, SinkError>> {
        let (body, outbox) = (delivery.body.clone(), self.0);
        async move {
            let read = tokio::task::spawn_blocking(move || read(&body, outbox)).await;
            read.map_err(|stopped| failed(stopped.to_string()))?
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), SinkError>> {
        std::future::ready(Ok(())).boxed()
    }
}

fn read(body: &Body, outbox: Outbox) -> Result<Receipt, SinkError> {
    let (mut piece, mut done) = (vec![0; PIECE_BYTES], 0);
    let mut digest = digest::Context::new(&digest::SHA256);
    while done < body.length {
        let length = usize::try_from(body.length - done).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        read_exact_at(&*body.file, &mut piece[..length], body.offset + done)
            .map_err(|error| failed(error.to_string()))?;
        if outbox == Outbox::With {
            digest.update(&piece[..length]);
        }
        done += length as u64;
    }
    if outbox == Outbox::With && digest.finish().as_ref() != body.sha256 {
        return Err(failed("the staged bytes are not those that were staged".to_owned()));
    }
    Ok(Receipt::taken(false))
}

fn failed(message: String) -> SinkError {
    let (kind, code) = (SinkErrorKind::Staged, "Bench.Staged".to_owned());
    SinkError { kind, code, message, retry_after: None, source: None }
}
