//! One connection: HTTP/1.1 or HTTP/2, plain or under TLS. It lasts as long as requests come in time, and no request outlives it.
//!
//! HTTP/2 is what begins with its preface. Under TLS, ALPN offers it, but clients that know need not ask: the SDK for Java does not.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::load::Load;
use super::patience::Patient;
use super::sniff::{self, Sniffed};
use super::{Limits, Shared, respond};

/// A peer that does not answer a ping for this long is gone.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a client opened and reset before they were looked at; beyond it the connection is closed. ("Rapid reset".)
const RESETS_MAX: usize = 20;
const FRAME_BYTES_MAX: u32 = 64 << 10;

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
    let (peer, Limits { head_timeout, write_timeout, .. }) = (context.0, context.1.limits);
    let load = Load::default();
    let stream = Patient::new(stream, write_timeout, load.clone());
    match tokio::time::timeout(head_timeout, sniff::speaks_http2(stream)).await {
        Ok(Ok((true, stream))) => ended(Box::pin(talk_http2(stream, load, context)).await),
        Ok(Ok((false, stream))) => ended(talk_http1(stream, load, context).await),
        Ok(Err(error)) => ended_early(peer, &error),
        Err(elapsed) => ended_early(peer, &elapsed),
    }
}

fn ended(outcome: Result<(), hyper::Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Until the client goes or the server stops. Between two requests a connection rests: then it is its socket and little more.
async fn talk_http1<S>(mut stream: Sniffed<S>, load: Load, context: Context) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Limits { head_timeout, rest_after, .. } = context.1.limits;
    loop {
        // There is a byte to be read, so until there was a request there is no rest.
        load.hear();
        // Boxed, so that nothing of it is left while the connection rests.
        let Some(mut resting) = Box::pin(serve_http1(stream, &load, &context)).await? else { return Ok(()) };
        context.1.operations.counters.count_rest();
        let woken = tokio::select! {
            woken = tokio::time::timeout(head_timeout.saturating_sub(rest_after), resting.wait()) => woken,
            () = stopped(context.2.clone()) => Ok(Ok(false)),
        };
        if !matches!(woken, Ok(Ok(true))) {
            let _ = resting.shutdown().await;
            return Ok(());
        }
        stream = resting;
    }
}

/// Gives the stream back once there is nothing to do; `None` if the connection has ended.
async fn serve_http1<S>(
    stream: Sniffed<S>,
    load: &Load,
    (peer, shared, stopping): &Context,
) -> Result<Option<Sniffed<S>>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Limits { head_timeout, head_bytes_max, rest_after, .. } = shared.limits;
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, stopping, under_way, peer) = (Arc::clone(shared), stopping.clone(), load.begin(), *peer);
        // Boxed, for hyper keeps the room of it between two requests.
        Box::pin(async move {
            let response = respond(&shared, peer, request, stopping).await;
            Ok::<_, Infallible>(response.map(|body| body.holding(under_way)))
        })
    });
    let mut builder = http1::Builder::new();
    // A client that has said everything may close its side and wait.
    builder.timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(head_bytes_max).half_close(true);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let resting = tokio::select! {
        outcome = &mut connection => return outcome.map(|()| None),
        () = stopped(stopping.clone()) => false,
        () = load.resting_for(rest_after) => true,
    };
    Pin::new(&mut connection).graceful_shutdown();
    // An idle connection ends at once by that, and leaves its stream open.
    let ended = match resting {
        true => poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx))).await,
        false => Poll::Pending,
    };
    match ended {
        Poll::Ready(outcome) => outcome?,
        Poll::Pending => return connection.await.map(|()| None),
    }
    let parts = connection.into_parts();
    Ok(Some(parts.io.into_inner().again(&parts.read_buf)))
}

async fn talk_http2<S>(stream: S, load: Load, (peer, shared, stopping): Context) -> Result<(), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = shared.limits;
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
