//! Two stores on loopback: one that answers by script, one that keeps objects in memory as S3 does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What the store does next.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Send {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Reads the request and closes.
    Reset,
    /// Reads the head of the request and closes.
    ResetAfterHead,
    /// Reads the request and says nothing.
    Hang,
    /// Refuses, byte by byte and without end.
    Drip,
}

impl Answer {
    pub(super) fn status(status: u16) -> Answer {
        Answer::Send { status, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn error(status: u16, code: &str) -> Answer {
        let answer = Answer::status(status);
        if code.is_empty() {
            return answer;
        }
        answer.body(&format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>it is so.</Message></Error>"))
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Answer {
        if let Answer::Send { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(super) fn body(mut self, text: &str) -> Answer {
        if let Answer::Send { body, .. } = &mut self {
            text.clone_into(body);
        }
        self
    }

    pub(super) fn reset() -> Answer {
        Answer::Reset
    }

    pub(super) fn reset_after_head() -> Answer {
        Answer::ResetAfterHead
    }

    pub(super) fn hang() -> Answer {
        Answer::Hang
    }
}

/// A store on loopback, with one connection per request.
#[derive(Clone, Debug)]
pub(super) struct Double {
    address: std::net::SocketAddr,
    state: Arc<State>,
}

/// A [`Double`] that keeps objects.
pub(super) type Memory = Double;

#[derive(Debug)]
struct State {
    requests: Mutex<Vec<Request>>,
    script: Option<Mutex<std::vec::IntoIter<Answer>>>,
    objects: Mutex<BTreeMap<String, Object>>,
}

#[derive(Debug)]
struct Object {
    bytes: Vec<u8>,
    sha256: Option<String>,
}

impl Double {
    pub(super) async fn scripted(script: Vec<Answer>) -> Double {
        Double::start(Some(Mutex::new(script.into_iter()))).await
    }

    pub(super) async fn memory() -> Memory {
        Double::start(None).await
    }

    async fn start(script: Option<Mutex<std::vec::IntoIter<Answer>>>) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { requests: Mutex::default(), script, objects: Mutex::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Double { address, state }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state.objects.lock().unwrap().keys().cloned().collect()
    }

    pub(super) fn read(&self, key: &str) -> Vec<u8> {
        self.state.objects.lock().unwrap()[key].bytes.clone()
    }

    pub(super) fn write(&self, key: &str, bytes: &[u8]) {
        let object = Object { bytes: bytes.to_vec(), sha256: None };
        self.state.objects.lock().unwrap().insert(key.to_owned(), object);
    }
}

impl State {
    /// The next line of the script, once the head of a request is there.
    fn scripted(&self) -> Option<Answer> {
        let script = self.script.as_ref()?;
        Some(script.lock().unwrap().next().unwrap_or_else(|| Answer::status(599)))
    }

    /// What S3 does with a whole request.
    fn perform(&self, request: &Request) -> Answer {
        let Some(key) = request.path.strip_prefix("/lake/").map(decoded) else {
            return Answer::error(404, "NoSuchBucket");
        };
        let mut objects = self.objects.lock().unwrap();
        match (request.method.as_str(), objects.get(&key)) {
            ("HEAD", _) if key.is_empty() => Answer::status(200),
            ("HEAD", None) => Answer::status(404),
            ("HEAD", Some(object)) => Answer::status(200)
                .header("content-length", &object.bytes.len().to_string())
                .header("x-amz-meta-hydrant-sha256", object.sha256.as_deref().unwrap_or("none"))
                .header("x-amz-checksum-sha256", &checksum(&object.bytes)),
            ("PUT", Some(_)) if request.header("if-none-match") == Some("*") => {
                Answer::error(412, "PreconditionFailed")
            }
            ("PUT", _) => {
                let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.body));
                if request.header("x-amz-content-sha256") != Some(&digest) {
                    return Answer::error(400, "XAmzContentSHA256Mismatch");
                }
                let sha256 = request.header("x-amz-meta-hydrant-sha256").map(str::to_owned);
                objects.insert(key, Object { bytes: request.body.clone(), sha256 });
                Answer::status(200).header("etag", "\"e\"")
            }
            ("DELETE", _) => {
                objects.remove(&key);
                Answer::status(204)
            }
            _ => Answer::error(405, "MethodNotAllowed"),
        }
    }
}

pub(super) fn checksum(bytes: &[u8]) -> String {
    super::super::base64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let Some((mut request, length)) = read_head(&mut stream).await else { return };
    let scripted = state.scripted();
    if !matches!(scripted, Some(Answer::ResetAfterHead)) {
        let mut rest = vec![0; length.saturating_sub(request.body.len())];
        if stream.read_exact(&mut rest).await.is_err() {
            return;
        }
        request.body.extend_from_slice(&rest);
    }
    let answer = scripted.unwrap_or_else(|| state.perform(&request));
    let head_only = request.method == "HEAD";
    state.requests.lock().unwrap().push(request);
    match answer {
        // A client that hangs up early has its reasons.
        Answer::Send { status, headers, body } => {
            let text = answer_text(status, &headers, &body, head_only);
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Answer::Reset | Answer::ResetAfterHead => {}
        Answer::Drip => {
            let mut drops = tokio::time::interval(Duration::from_millis(50));
            let mut answer = "HTTP/1.1 503 x\r\ncontent-length: 1000000\r\n\r\n";
            while stream.write_all(answer.as_bytes()).await.is_ok() {
                answer = " ";
                drops.tick().await;
            }
        }
        // Until the client gives up.
        Answer::Hang => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
    }
}

/// The head of a request, the body as far as it came with it, and the length that the body will have.
async fn read_head(stream: &mut TcpStream) -> Option<(Request, usize)> {
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
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    let request = Request { method, path, headers: headers.collect(), body: bytes[end + 4..].to_vec() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    Some((request, length))
}

fn answer_text(status: u16, headers: &[(String, String)], body: &str, head_only: bool) -> String {
    let mut text = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| name == "content-length") {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text += "\r\n";
    if !head_only {
        text += body;
    }
    text
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}
