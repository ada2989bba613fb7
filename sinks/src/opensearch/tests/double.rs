//! A server on loopback that is strict about what it is asked, and answers by script.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Method and path with the query.
    pub(super) line: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The ids of a bulk request, whose form is checked.
    pub(super) fn ids(&self) -> Vec<String> {
        assert!(self.line.starts_with("POST /es/_bulk?filter_path=items."), "{}", self.line);
        assert_eq!(self.header("content-type"), Some("application/x-ndjson"));
        assert!(self.body.ends_with('\n'), "a bulk request ends with a line break");
        let lines: Vec<Value> = self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len().is_multiple_of(2) && lines.iter().all(Value::is_object), "{lines:?}");
        lines.iter().step_by(2).map(|action| action["create"]["_id"].as_str().unwrap().to_owned()).collect()
    }
}

/// What the server does next.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Send {
        status: u16,
        headers: String,
        body: String,
    },
    /// One status with its error for each item of the request, in turn; the last for all that are left.
    Items(Vec<(u16, Value)>),
    /// Reads the request and closes.
    Reset,
    /// Sends half of an answer and closes.
    Half,
    /// Reads the request and says nothing.
    Hang,
    /// Never stops answering.
    Endless,
}

impl Answer {
    pub(super) fn status(status: u16, body: &str) -> Answer {
        Answer::Send { status, headers: String::new(), body: body.to_owned() }
    }

    pub(super) fn header(self, line: &str) -> Answer {
        match self {
            Answer::Send { status, body, .. } => Answer::Send { status, headers: format!("{line}\r\n"), body },
            other => other,
        }
    }

    /// An error of the whole request, as these servers tell it.
    pub(super) fn error(status: u16, kind: &str) -> Answer {
        let error = json!({ "type": kind, "reason": "it is so" });
        Answer::status(status, &json!({ "error": error, "status": status }).to_string())
    }

    pub(super) fn items(items: &[(u16, &str)]) -> Answer {
        let error =
            |kind: &str| if kind.is_empty() { Value::Null } else { json!({ "type": kind, "reason": "it is so" }) };
        Answer::Items(items.iter().map(|(status, kind)| (*status, error(kind))).collect())
    }

    pub(super) fn created() -> Answer {
        Answer::items(&[(201, "")])
    }
}

#[derive(Clone, Debug)]
pub(super) struct Double {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    script: Mutex<std::vec::IntoIter<Answer>>,
    requests: Mutex<Vec<Request>>,
}

impl Double {
    pub(super) async fn start(script: Vec<Answer>) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { script: Mutex::new(script.into_iter()), requests: Mutex::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Double { address, state }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let Some(request) = read(&mut stream).await else { return };
    let unexpected = || Answer::status(599, "the script is over");
    let answer = state.script.lock().unwrap().next().unwrap_or_else(unexpected);
    state.requests.lock().unwrap().push(request.clone());
    // A client that hangs up early has its reasons.
    let _ = match answer {
        Answer::Send { status, headers, body } => stream.write_all(text(status, &headers, &body).as_bytes()).await,
        Answer::Items(items) => stream.write_all(text(200, "", &items_of(&request, &items)).as_bytes()).await,
        Answer::Reset => Ok(()),
        Answer::Half => stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 100\r\n\r\n{\"items\":[").await,
        Answer::Hang => {
            while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
            Ok(())
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 x\r\n\r\n").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
            Ok(())
        }
    };
}

fn items_of(request: &Request, items: &[(u16, Value)]) -> String {
    let answered = (0..request.ids().len()).map(|at| match &items[at.min(items.len() - 1)] {
        (status, Value::Null) => json!({ "create": { "status": status } }),
        (status, error) => json!({ "create": { "status": status, "error": error } }),
    });
    json!({ "items": answered.collect::<Vec<_>>() }).to_string()
}

fn text(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
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
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut request = Request { line, headers, body: String::new() };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    let mut rest = vec![0; length - body.len()];
    stream.read_exact(&mut rest).await.ok()?;
    body.append(&mut rest);
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
