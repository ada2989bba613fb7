//! A server on loopback for the tests: it reads one whole request a connection and replies as the test says, well or badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the server sends, and how.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// At once, then the connection is closed.
    Whole(Vec<u8>),
    /// Byte by byte, each in a packet of its own.
    Trickle(Vec<u8>),
    /// This much, then a reset.
    Cut(Vec<u8>),
    /// This much, then `x` for ever.
    Endless(Vec<u8>),
    /// Nothing, until the client gives up.
    Hang,
}

impl Reply {
    /// A well-formed answer. Headers are lines that end in CR LF.
    pub(crate) fn of(status: u16, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
        Reply::Whole([head.as_bytes(), body.as_bytes()].concat())
    }

    pub(crate) fn json(status: u16, body: &str) -> Reply {
        Reply::of(status, "content-type: application/json\r\n", body)
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Reply::Whole(bytes) | Reply::Trickle(bytes) | Reply::Cut(bytes) | Reply::Endless(bytes) => bytes,
            Reply::Hang => Vec::new(),
        }
    }
}

type Script = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// A server that replies by script; the script is told how many requests came before.
#[derive(Clone)]
pub(crate) struct Loopback {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Loopback {
    pub(crate) async fn start(script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Loopback {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, seen): (Arc<Script>, _) = (Arc::new(script), requests.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), seen.clone()));
            }
        });
        Loopback { address, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Mutex<Vec<Request>>>) {
    stream.set_nodelay(true).unwrap();
    let Some(request) = read(&mut stream).await else { return };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    // A client that hangs up early has its reasons.
    match script(before, &request) {
        Reply::Whole(bytes) => drop(stream.write_all(&bytes).await),
        Reply::Trickle(bytes) => {
            for byte in bytes {
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
        Reply::Cut(bytes) => {
            let _ = stream.write_all(&bytes).await;
            // Closed with a byte unread, a connection is reset.
            let _ = stream.set_zero_linger();
        }
        Reply::Endless(bytes) => {
            let mut next = bytes;
            while stream.write_all(&next).await.is_ok() {
                next = vec![b'x'; 4096];
            }
        }
        Reply::Hang => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    });
    let mut request = Request { method, path, headers: headers.collect(), body: bytes[end + 4..].to_vec() };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut rest = vec![0; length - request.body.len()];
    stream.read_exact(&mut rest).await.ok()?;
    request.body.extend_from_slice(&rest);
    Some(request)
}
