//! The HTTP server: one port, bounded in connections, bytes and time, so that no client can take more than its share.
//!
//! Bodies are paid for from the memory budget as they arrive; what it cannot pay for is answered with 503.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hydrant_shardlog::Clock;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::firehose::Mappings;
use crate::request::{self, Operations};
use crate::{ApiError, Auth, ControlPlane, Counters, Kinesis, Registry, kinesis};

/// A body in memory, and the data decoded from it.
const COST_PER_BODY_BYTE: usize = 2;

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
}

/// What one client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// More wait in the kernel's queue.
    pub connections_max: usize,
    /// Of Firehose; Kinesis has records for twice as much in one call.
    pub body_bytes_max: usize,
    pub head_bytes_max: usize,
    /// For a complete head, and between two requests.
    pub head_timeout: Duration,
    /// For a complete body.
    pub body_timeout: Duration,
    /// For requests in flight at shutdown.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            body_bytes_max: 8 << 20,
            head_bytes_max: 64 << 10,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
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
    refusals: RefusalLog,
}

impl Server {
    pub async fn bind(addr: SocketAddr, front: Front) -> io::Result<Server> {
        let listener = TcpListener::bind(addr).await?;
        let Front { registry, auth, control, kinesis, mappings, clock, counters, budget, limits } = front;
        let operations = Arc::new(Operations { registry, control, kinesis, mappings, clock, counters, budget });
        let shared = Arc::new(Shared { auth, operations, limits, refusals: RefusalLog::default() });
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
        loop {
            let next = async {
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (listener.accept().await, slot)
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                (accepted, slot) = next => match accepted {
                    Ok((stream, _)) => {
                        shared.operations.counters.count_connection();
                        let talk = converse(stream, Arc::clone(&shared), stopping.clone());
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

async fn converse(stream: TcpStream, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let limits = shared.limits;
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(respond(&shared, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_buf_size(limits.head_bytes_max);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut asked = false;
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            _ = stopping.wait_for(|stop| *stop), if !asked => {
                asked = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let counters = &shared.operations.counters;
    counters.count_request();
    let (head, body) = request.into_parts();
    let outcome = match read_body(shared, &head, body).await {
        // The permit lasts until the answer is known: the log holds the records until then.
        Ok((body, _permit)) => request::answer(&head, &body, &shared.auth, &shared.operations).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(text) => {
            counters.count_answered();
            reply(StatusCode::OK, text)
        }
        Err(error) => {
            counters.count_refused(error.reason);
            shared.refusals.note(&error, shared.operations.clock.as_ref());
            refusal(&error)
        }
    }
}

async fn read_body(
    shared: &Shared,
    head: &Parts,
    mut body: Incoming,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let limits = shared.limits.of(head);
    if head_bytes(head) > limits.head_bytes_max {
        return Err(ApiError::head_too_large(limits.head_bytes_max));
    }
    if head.method != Method::POST {
        let text = format!("the method must be POST, got {}", head.method);
        return Err(ApiError::unknown_operation(StatusCode::NOT_FOUND, text).closing());
    }
    if body.size_hint().lower() > limits.body_bytes_max as u64 {
        // Who asks before sending is told before sending; everybody else must be listened to, or the reply is lost.
        if !head.headers.contains_key(header::EXPECT) {
            discard(&mut body, limits).await;
        }
        return Err(ApiError::too_large(limits.body_bytes_max));
    }
    match tokio::time::timeout(limits.body_timeout, collect(shared, limits.body_bytes_max, &mut body)).await {
        Ok(Err(error)) => {
            discard(&mut body, limits).await;
            Err(error)
        }
        Ok(collected) => collected,
        Err(_) => Err(ApiError::timed_out()),
    }
}

/// What hyper bounds is its buffer, and a head may be larger than that by one read.
fn head_bytes(head: &Parts) -> usize {
    let headers: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    headers + head.uri.path_and_query().map_or(0, |path| path.as_str().len())
}

async fn collect(
    shared: &Shared,
    bytes_max: usize,
    body: &mut Incoming,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
    let known = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut paid: Option<OwnedSemaphorePermit> = None;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::serialization("the request body ended early").closing())?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(ApiError::too_large(bytes_max));
        }
        let cost = u32::try_from(data.len() * COST_PER_BODY_BYTE).unwrap_or(u32::MAX);
        let permit = Arc::clone(&shared.operations.budget).try_acquire_many_owned(cost);
        let permit = permit.map_err(|_| ApiError::slow_down().closing())?;
        match &mut paid {
            Some(paid) => paid.merge(permit),
            None => paid = Some(permit),
        }
        if whole.is_empty() && data.len() == known {
            return Ok((data, paid));
        }
        if whole.is_empty() {
            whole.reserve(known.max(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok((whole.freeze(), paid))
}

/// Reads on without keeping anything, so that a client that writes before it reads hears the reply.
async fn discard(body: &mut Incoming, limits: Limits) {
    let mut left = limits.body_bytes_max.saturating_mul(8);
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > left {
                return;
            }
            left -= bytes;
        }
    };
    let _ = tokio::time::timeout(limits.body_timeout.min(Duration::from_secs(5)), read).await;
}

fn refusal(error: &ApiError) -> Response<Full<Bytes>> {
    // The front end writes `Message` where the services write `message`.
    let key = if error.code == "SerializationException" { "Message" } else { "message" };
    let text = serde_json::json!({ "__type": error.code, key: error.message }).to_string();
    let mut response = reply(error.status, text);
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(error.code));
    if error.close {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn reply(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut random = [0u8; 64];
    // Ids are for reading logs; without randomness they are the same, and nothing else suffers.
    let _ = getrandom::fill(&mut random);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    let ids =
        [("x-amzn-requestid", uuid(&random)), ("x-amz-id-2", base64_simd::STANDARD.encode_to_string(&random[16..]))];
    for (name, id) in ids {
        headers.insert(name, HeaderValue::try_from(id).expect("hexadecimal and base64 text is visible ASCII"));
    }
    response
}

/// A version 4 UUID.
fn uuid(random: &[u8; 64]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&random[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// At most one line a second, however many refusals there are.
#[derive(Debug, Default)]
struct RefusalLog {
    second: AtomicU64,
    unlogged: AtomicU64,
}

impl RefusalLog {
    fn note(&self, error: &ApiError, clock: &dyn Clock) {
        let now = clock.now().as_millis() / 1000;
        if self.second.swap(now, Ordering::Relaxed) == now {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let others = self.unlogged.swap(0, Ordering::Relaxed);
        tracing::warn!(code = error.code, reason = error.reason.as_str(), others, "refused: {}", error.message);
    }
}
