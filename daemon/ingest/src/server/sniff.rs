//! Which HTTP a client speaks, from its first bytes. What was read to find out is read again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that begins with what was read from it already.
#[derive(Debug)]
pub(super) struct Sniffed<S> {
    stream: S,
    /// What of it is still to be read again.
    seen: Bytes,
}

/// Reads until the bytes are an HTTP/2 preface or no beginning of one. Whoever calls bounds the time.
pub(super) async fn speaks_http2<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(bool, Sniffed<S>)> {
    let (mut seen, mut end) = ([0; PREFACE.len()], 0);
    while end < PREFACE.len() && seen[..end] == PREFACE[..end] {
        match stream.read(&mut seen[end..]).await? {
            0 => break,
            read => end += read,
        }
    }
    Ok((seen == *PREFACE, Sniffed { stream, seen: Bytes::copy_from_slice(&seen[..end]) }))
}

impl<S: AsyncRead + Unpin> Sniffed<S> {
    /// The same behind these bytes.
    pub(super) fn again(self, seen: &[u8]) -> Sniffed<S> {
        // A copy, for they may be a few in a large buffer. What of the first ones was not read comes behind them.
        let seen = [seen, &self.seen[..]].concat().into();
        Sniffed { seen, ..self }
    }

    /// Waits for the next byte; false at the end of the stream.
    pub(super) async fn wait(&mut self) -> io::Result<bool> {
        if self.seen.is_empty() {
            let mut first = [0];
            let read = self.stream.read(&mut first).await?;
            self.seen = Bytes::copy_from_slice(&first[..read]);
        }
        Ok(!self.seen.is_empty())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.seen.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, into);
        }
        let count = this.seen.len().min(into.remaining());
        into.put_slice(&this.seen.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_waits_loses_nothing() {
        let (_, mut sniffed) = speaks_http2(&b"P"[..]).await.unwrap();
        assert!(sniffed.wait().await.unwrap(), "one that was not read is there");
        let mut sniffed = sniffed.again(b"AB");
        let mut read = Vec::new();
        sniffed.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"ABP");
        assert!(!sniffed.wait().await.unwrap(), "the end is the end");
        let (mut near, far) = tokio::io::duplex(8);
        let mut sniffed = Sniffed { stream: far, seen: Bytes::new() };
        let (woken, ()) = tokio::join!(sniffed.wait(), async { near.write_all(b"xyz").await.unwrap() });
        assert!(woken.unwrap());
        drop(near);
        let mut read = Vec::new();
        sniffed.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"xyz");
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http2_and_nothing_is_lost() {
        let long = [&PREFACE[..], b"more"].concat();
        let cases: [(&[u8], bool); 6] = [
            (&long, true),
            (PREFACE, true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", false),
            (b"PRI * HTTP/1.1\r\n\r\n, and a long head", false),
            (b"POST / HTTP/1.1\r\n\r\n", false),
            (b"", false),
        ];
        for (bytes, http2) in cases {
            let (is, mut sniffed) = speaks_http2(bytes).await.unwrap();
            let mut read = Vec::new();
            sniffed.read_to_end(&mut read).await.unwrap();
            assert_eq!((is, &read[..]), (http2, bytes));
        }
    }
}
