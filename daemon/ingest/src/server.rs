//! The HTTP server: one port, bounded in connections, bytes and time, so that no client can take more than its share.
//!
//! Bodies are paid for from the memory budget as they arrive; what it cannot pay for is answered with 503.

mod audit;
mod body;
mod connection;
mod cors;
mod load;
mod patience;
mod reply;
mod sniff;
mod tls;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Request, Response, Version};
use hydrant_shardlog::Clock;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::access::Called;
use crate::answer::Answer;
use crate::firehose::Mappings;
use crate::request::{self, Operations};
use crate::wire::Wire;
use crate::{Auth, ControlPlane, Counters, Kinesis, Registry, kinesis};

use audit::{Audit, RefusalLog};
use reply::ReplyBody;
pub use tls::{Tls, TlsError};

/// Before the head of an answer that streams, on HTTP/1.x. The SDK for Go closes the body of its request when the head comes, and
/// where its own thread for writing has not yet looked whether more of that body follows, it takes the closed body for a write that
/// failed and drops the connection with all events to come. A reply within microseconds meets one such moment in 10 to 100.
const EVENTS_PAUSE: Duration = Duration::from_millis(20);

/// What the server answers from.
#[derive(Debug)]
pub struct Front {
    pub registry: Arc<Registry>,
    pub auth: Auth,
    pub control: Arc<dyn ControlPlane>,
    pub kinesis: Kinesis,
    pub mappings: Mappings,
    /// For signatures and creation times.
    pub clock: Arc<dyn Clock>,
    pub counters: Arc<Counters>,
    /// Bytes that requests in flight may hold, one permit each.
    pub budget: Arc<Semaphore>,
    pub limits: Limits,
    /// `None` is plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

/// What one client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// More wait in the kernel's queue.
    pub connections_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Of Firehose; Kinesis has records for twice as much in one call.
    pub body_bytes_max: usize,
    pub head_bytes_max: usize,
    /// For a complete head, and between two requests.
    pub head_timeout: Duration,
    /// Between two requests on HTTP/1.1; then the connection gives its memory back until the client says something.
    pub rest_after: Duration,
    /// For a complete body.
    pub body_timeout: Duration,
    /// For the next bytes of an answer to be taken; who takes nothing is cut off.
    pub write_timeout: Duration,
    /// For requests in flight at shutdown.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            streams_max: 128,
            body_bytes_max: 8 << 20,
            head_bytes_max: 64 << 10,
            head_timeout: Duration::from_secs(60),
            rest_after: Duration::from_millis(500),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// What a request with this head may take.
    fn of(mut self, head: &Parts) -> Limits {
        if request::target_text(head).starts_with(kinesis::TARGET) {
            self.body_bytes_max *= kinesis::BODY_FACTOR;
        }
        self
    }
}

/// A bound port that does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    auth: Auth,
    operations: Arc<Operations>,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    refusals: RefusalLog,
    audit: Audit,
}

impl Server {
    pub async fn bind(addr: SocketAddr, front: Front) -> io::Result<Server> {
        let listener = TcpListener::bind(addr).await?;
        let Front { registry, auth, control, kinesis, mappings, clock, counters, budget, limits, tls } = front;
        let operations = Arc::new(Operations { registry, control, kinesis, mappings, clock, counters, budget });
        let shared = Arc::new(Shared {
            auth,
            operations,
            limits,
            tls,
            refusals: RefusalLog::default(),
            audit: Audit::default(),
        });
        Ok(Server { local_addr: listener.local_addr()?, listener, shared })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `shutdown`, then finishes the requests in flight and returns. Idle connections are closed at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        let Server { listener, shared, .. } = self;
        let slots = Arc::new(Semaphore::new(shared.limits.connections_max));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut renewal = pin!(renew(shared.tls.clone()));
        loop {
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (listener.accept().await, slot)
            };
            tokio::select! {
                () = &mut shutdown => break,
                () = &mut renewal => {}
                Some(_) = connections.join_next() => {}
                (accepted, slot) = next => match accepted {
                    Ok((stream, peer)) => {
                        shared.operations.counters.count_connection();
                        let talk = connection::converse(stream, peer, Arc::clone(&shared), stopping.clone());
                        connections.spawn(async move { let _slot = slot; talk.await; });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection; trying again in 100 ms");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(listener);
        let _ = stop.send(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(shared.limits.drain_timeout, drained).await.is_err() {
            tracing::warn!(connections = connections.len(), "closing connections whose requests did not end in time");
            connections.shutdown().await;
        }
    }
}

/// Keeps the certificates up to date, and never ends.
async fn renew(tls: Option<Arc<Tls>>) {
    match tls {
        Some(tls) => tls.renew().await,
        None => std::future::pending().await,
    }
}

/// The response to one request; `stopping` ends one that would go on.
async fn respond(
    shared: &Shared,
    peer: SocketAddr,
    request: Request<Incoming>,
    stopping: watch::Receiver<bool>,
) -> Response<ReplyBody> {
    let (head, body) = request.into_parts();
    let for_pages = matches!(shared.auth, Auth::Keys(_));
    let mut response = if for_pages && cors::is_preflight(&head) {
        reply::empty()
    } else {
        answer(shared, peer, (&head, body), stopping).await
    };
    if for_pages {
        response.headers_mut().extend(cors::headers(&head));
    }
    // Something in front of this server may have gone by a length that hyper ignored; what it took for the rest of this body
    // must not become a request.
    if head.headers.contains_key(TRANSFER_ENCODING) && head.version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer(
    shared: &Shared,
    peer: SocketAddr,
    (head, body): (&Parts, Incoming),
    stopping: watch::Receiver<bool>,
) -> Response<ReplyBody> {
    let Operations { counters, budget, clock, .. } = shared.operations.as_ref();
    counters.count_request();
    let wire = Wire::of(head);
    let mut called = Called::default();
    let outcome = match body::read(head, body, (shared.limits, budget)).await {
        // The permit lasts until the answer is known: the log holds the records until then.
        Ok((body, _permit)) => {
            let with = (&shared.auth, &shared.operations);
            request::answer((head, wire), &body, &mut called, with).await
        }
        Err(error) => Err(error),
    };
    shared.refusals.note(outcome.as_ref().err(), peer, clock.as_ref());
    shared.audit.note(&called, outcome.as_ref().err(), (head, peer), clock.as_ref());
    match outcome {
        Ok(answer) => {
            if matches!(answer, Answer::Events(_)) && head.version < Version::HTTP_2 {
                tokio::time::sleep(EVENTS_PAUSE).await;
            }
            counters.count_answered();
            reply::answer(answer, wire.unwrap_or_default(), stopping)
        }
        Err(error) => {
            counters.count_refused(error.reason);
            reply::refusal(&error, wire.unwrap_or_default(), head.version)
        }
    }
}
