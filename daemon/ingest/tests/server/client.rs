//! A client that signs as AWS's SDKs do and shows the raw answer. It shares no code with the verifier.

use std::net::SocketAddr;

use aws_lc_rs::{digest, hmac};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const NOON: &str = "20240115T120000Z";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// As JSON; null if it is none.
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["__type"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().or(self.body["Message"].as_str()).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Signer {
    pub(crate) key: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) date: &'static str,
    pub(crate) region: &'static str,
    pub(crate) content_type: &'static str,
}

pub(crate) const GOOD: Signer = Signer {
    key: "AKIDEXAMPLE",
    secret: "a secret",
    date: NOON,
    region: "us-east-1",
    content_type: "application/x-amz-json-1.1",
};

/// May describe everything, and nothing else.
pub(crate) const READER: Signer = Signer { key: "AKIDREADER", ..GOOD };

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

impl Signer {
    pub(crate) fn request(&self, operation: &str, body: &[u8]) -> Vec<u8> {
        self.request_to("firehose", &format!("Firehose_20150804.{operation}"), body)
    }

    pub(crate) fn kinesis(&self, operation: &str, body: &[u8]) -> Vec<u8> {
        self.request_to("kinesis", &format!("Kinesis_20131202.{operation}"), body)
    }

    fn request_to(&self, service: &str, target: &str, body: &[u8]) -> Vec<u8> {
        let mut head = "POST / HTTP/1.1\r\nHost: localhost\r\n".to_owned();
        for (name, value) in self.headers(service, target, body) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    }

    /// Those of a signed request to `localhost`, but for the host.
    pub(crate) fn headers(&self, service: &str, target: &str, body: &[u8]) -> [(&'static str, String); 4] {
        let signed = "content-type;host;x-amz-date;x-amz-target";
        let canonical = format!(
            "POST\n/\n\ncontent-type:{}\nhost:localhost\nx-amz-date:{}\nx-amz-target:{target}\n\n{signed}\n{}",
            self.content_type,
            self.date,
            hash(body)
        );
        let scope = format!("{}/{}/{service}/aws4_request", &self.date[..8], self.region);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.date, hash(canonical.as_bytes()));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [&self.date[..8], self.region, service, "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex::encode(mac(&key, &text));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", self.key);
        [
            ("Content-Type", self.content_type.to_owned()),
            ("X-Amz-Date", self.date.to_owned()),
            ("X-Amz-Target", target.to_owned()),
            ("Authorization", authorization),
        ]
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    read(&mut stream).await.expect("an answer")
}

/// `None` if the server closed the connection without an answer.
pub(crate) async fn read(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    loop {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = head_end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            let length = length.unwrap_or(0);
            if bytes.len() >= end + length {
                let bytes = bytes[end..end + length].to_vec();
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Some(Answer { status, head, body, bytes });
            }
        }
        let mut chunk = vec![0; 16 << 10];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
}
