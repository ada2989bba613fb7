//! One connection: HTTP/1.1 or HTTP/2, plain or under TLS. It lasts as long as requests come in time, and no request outlives it.
//!
//! HTTP/2 is what begins with its preface. Under TLS, ALPN offers it, but clients that know need not ask: the SDK for Java does not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::patience::Patient;
use super::{Limits, Shared, respond, sniff};

/// A peer that does not answer a ping for this long is gone.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a client opened and reset before they were looked at; beyond it the connection is closed. ("Rapid reset".)
const RESETS_MAX: usize = 20;
const FRAME_BYTES_MAX: u32 = 64 << 10;

/// What is being answered on one HTTP/2 connection.
#[derive(Clone, Debug, Default)]
struct Load(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    under_way: AtomicUsize,
    /// Whole answers that the client's windows have no room for yet, and those that they had.
    waiting: AtomicUsize,
    taken: AtomicUsize,
}

/// One request, until its answer was sent or given up.
#[derive(Debug)]
pub(super) struct UnderWay {
    counts: Arc<Counts>,
    answered: bool,
}

impl UnderWay {
    /// Its answer is there, as a whole.
    pub(super) fn answer(&mut self) {
        self.answered = true;
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
    }
}

impl Load {
    fn begin(&self) -> UnderWay {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay { counts: Arc::clone(&self.0), answered: false }
    }

    /// Completes when answers wait for the client's windows and none was taken for `timeout`, and at twice the time at the
    /// latest.
    async fn stuck_for(&self, timeout: Duration) {
        let mut before = None;
        loop {
            let waiting = self.0.waiting.load(Ordering::Relaxed) > 0;
            let now = waiting.then(|| self.0.taken.load(Ordering::Relaxed));
            if now.is_some() && now == before {
                return;
            }
            before = now;
            tokio::time::sleep(timeout).await;
        }
    }

    /// Completes when nothing was under way for `timeout`, and at twice the time at the latest.
    async fn idle_for(&self, timeout: Duration) {
        let mut before = usize::MAX;
        loop {
            let begun = self.0.begun.load(Ordering::Relaxed);
            if begun == before && self.0.under_way.load(Ordering::Relaxed) == 0 {
                return;
            }
            before = begun;
            tokio::time::sleep(timeout).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.counts.under_way.fetch_sub(1, Ordering::Relaxed);
        if self.answered {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.taken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Answers one client until it goes, idles or the server stops.
pub(super) async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let context = (peer, Arc::clone(&shared), stopping);
    let Some(tls) = &shared.tls else { return begin(stream, context).await };
    // Boxed, so that a plain connection has no memory of TLS, and an idle one none of the handshake.
    match Box::pin(tokio::time::timeout(shared.limits.head_timeout, tls.acceptor().accept(stream))).await {
        Ok(Ok(stream)) => Box::pin(begin(stream, context)).await,
        Ok(Err(error)) => ended_early(peer, &error),
        Err(elapsed) => ended_early(peer, &elapsed),
    }
}

type Context = (SocketAddr, Arc<Shared>, watch::Receiver<bool>);

fn ended_early(peer: SocketAddr, error: &dyn std::fmt::Display) {
    tracing::debug!(%peer, %error, "a connection ended before a request");
}

/// Finds out which HTTP the client speaks, and speaks it. An idle connection has the memory of one protocol only.
async fn begin<S>(stream: S, context: Context)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, timeout) = (context.0, context.1.limits.head_timeout);
    let stream = Patient::new(stream, context.1.limits.write_timeout);
    match tokio::time::timeout(timeout, sniff::speaks_http2(stream)).await {
        Ok(Ok((true, stream))) => ended(Box::pin(talk_http2(stream, context)).await),
        Ok(Ok((false, stream))) => ended(Box::pin(talk_http1(stream, context)).await),
        Ok(Err(error)) => ended_early(peer, &error),
        Err(elapsed) => ended_early(peer, &elapsed),
    }
}

fn ended(outcome: Result<(), hyper::Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn talk_http1<S>(stream: S, (peer, shared, stopping): Context) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Limits { head_timeout, head_bytes_max, .. } = shared.limits;
    let for_events = stopping.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, stopping) = (Arc::clone(&shared), for_events.clone());
        // Boxed, for an idle connection keeps the room of an answer under way.
        async move { Ok::<_, Infallible>(Box::pin(respond(&shared, peer, request, stopping)).await) }
    });
    let mut builder = http1::Builder::new();
    // A client that has said everything may close its side and wait.
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(head_bytes_max).half_close(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        outcome = connection.as_mut() => return outcome,
        () = stopped(stopping) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn talk_http2<S>(stream: S, (peer, shared, stopping): Context) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = shared.limits;
    let load = Load::default();
    let (for_events, for_requests) = (stopping.clone(), load.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, stopping, under_way) = (Arc::clone(&shared), for_events.clone(), for_requests.begin());
        async move {
            let response = respond(&shared, peer, request, stopping).await;
            Ok::<_, Infallible>(response.map(|body| body.holding(under_way)))
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.head_timeout)
        .keep_alive_timeout(PONG_TIMEOUT)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .max_frame_size(FRAME_BYTES_MAX);
    let mut connection: Pin<Box<_>> = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    let idle = tokio::select! {
        outcome = connection.as_mut() => return outcome,
        () = stopped(stopping) => false,
        () = load.idle_for(limits.head_timeout) => true,
        () = load.stuck_for(limits.write_timeout) => {
            tracing::debug!(%peer, "a client took nothing of its answers");
            return Ok(());
        }
    };
    connection.as_mut().graceful_shutdown();
    if !idle {
        return connection.await;
    }
    // What came meanwhile is answered; a client that takes no leave is not waited for.
    tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = load.idle_for(limits.head_timeout.min(PONG_TIMEOUT)) => Ok(()),
    }
}

/// Completes when the server is to stop.
pub(super) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error is a server that is gone.
    let _ = stopping.wait_for(|stop| *stop).await;
}
