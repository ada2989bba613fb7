//! The plainest program that does what must be done for a signed batch: it takes the bytes from the socket, hashes them, makes
//! bytes of the base64 in them, writes those to a file whose blocks are there, syncs it and answers. It checks nothing, keeps no
//! order, and can find nothing again: what is above it is what the rest costs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::digest;
use hydrant_disk::{Disk as _, DiskFile, RealDisk};
use rustix::time::{ClockId, clock_gettime};

use crate::client::find;

const ANSWER: &str = r#"{"FailedPutCount":0}"#;
const DATA: &[u8] = br#""Data":""#;

/// A thread for each connection; all write to one file.
pub(crate) struct PlainServer {
    listener: TcpListener,
    threads: JoinHandle<Result<Duration>>,
}

/// The file, and where the next bytes go.
type Log = Arc<(Arc<dyn DiskFile>, Mutex<u64>)>;

impl PlainServer {
    /// For so many connections, which put so many bytes of records.
    pub(crate) fn start(path: &Path, (connections, bytes): (usize, usize)) -> Result<PlainServer> {
        let file = RealDisk::new().create(path)?;
        file.fill_zero(0, bytes as u64)?;
        file.sync_data()?;
        let log: Log = Arc::new((file, Mutex::default()));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let accepting = listener.try_clone()?;
        let threads = thread::spawn(move || {
            let accepted: Vec<_> = (0..connections)
                .map(|_| {
                    let (stream, log) = (accepting.accept()?.0, Arc::clone(&log));
                    Ok(thread::spawn(move || serve(stream, &log)))
                })
                .collect::<Result<_>>()?;
            let costs = accepted.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("the server panicked"))?);
            costs.sum()
        });
        Ok(PlainServer { listener, threads })
    }

    pub(crate) fn host(&self) -> Result<String> {
        Ok(self.listener.local_addr()?.to_string())
    }

    /// Once all connections are closed: the CPU time of their threads.
    pub(crate) fn stop(self) -> Result<Duration> {
        self.threads.join().map_err(|_| anyhow!("the server panicked"))?
    }
}

/// Until the client goes; then the CPU time of this thread.
fn serve(mut stream: TcpStream, log: &Log) -> Result<Duration> {
    stream.set_nodelay(true)?;
    let (mut received, mut records) = (Vec::new(), Vec::new());
    while let Some(head) = receive(&mut stream, &mut received, 4, |bytes| find(bytes, b"\r\n\r\n"))? {
        let text = String::from_utf8_lossy(&received[..head]).into_owned();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("a request without content-length")?.parse()?;
        received.drain(..head + 4);
        receive(&mut stream, &mut received, length, |_| Some(0))?.context("a request ended early")?;
        let hash = digest::digest(&digest::SHA256, &received[..length]);
        records.clear();
        decode(&received[..length], &mut records)?;
        received.drain(..length);
        store(log, &records)?;
        let (length, first) = (ANSWER.len(), hash.as_ref()[0]);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-hash: {first}\r\n\r\n{ANSWER}");
        stream.write_all(answer.as_bytes())?;
    }
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// Until `found` says where something of `length` bytes begins, and those are there; `None` at the end.
fn receive(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    length: usize,
    found: impl Fn(&[u8]) -> Option<usize>,
) -> Result<Option<usize>> {
    loop {
        if let Some(at) = found(received).filter(|at| at + length <= received.len()) {
            return Ok(Some(at));
        }
        let filled = received.len();
        let wanted = length.saturating_sub(filled).max(8192);
        received.resize(filled + wanted, 0);
        let count = stream.read(&mut received[filled..])?;
        received.truncate(filled + count);
        if count == 0 {
            return Ok(None);
        }
    }
}

/// The data of all records, one behind the other.
fn decode(mut body: &[u8], out: &mut Vec<u8>) -> Result<()> {
    while let Some(start) = memchr::memmem::find(body, DATA) {
        body = &body[start + DATA.len()..];
        let end = memchr::memchr(b'"', body).context("data without an end")?;
        base64_simd::STANDARD.decode_append(&body[..end], &mut *out)?;
        body = &body[end..];
    }
    Ok(())
}

/// One sync at a time.
fn store(log: &Log, records: &[u8]) -> Result<()> {
    let (file, end) = &**log;
    let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_at(records, *end)?;
    file.sync_data()?;
    *end += records.len() as u64;
    Ok(())
}
