//! A producer that costs next to nothing: requests signed in advance, one blocking keep-alive connection each.
//! The signer shares no code with the daemon.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use aws_lc_rs::{digest, hmac};

pub(crate) const ACCESS_KEY: &str = "AKIDBENCH";
pub(crate) const SECRET_KEY: &str = "bench-secret";
const REGION: &str = "us-east-1";
const TARGET: &str = "Firehose_20150804.PutRecordBatch";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Head and body of one `PutRecordBatch`, signed now.
pub(crate) fn signed_put(host: &str, stream: &str, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut body = format!(r#"{{"DeliveryStreamName":"{stream}","Records":["#);
    for (index, payload) in payloads.iter().enumerate() {
        body.push_str(if index == 0 { r#"{"Data":""# } else { r#",{"Data":""# });
        body.push_str(&base64_simd::STANDARD.encode_to_string(payload));
        body.push_str(r#""}"#);
    }
    body.push_str("]}");
    let stamp = chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
    let authorization = authorization(host, &stamp, body.as_bytes());
    let mut request = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: {CONTENT_TYPE}\r\nx-amz-date: {stamp}\r\nx-amz-target: {TARGET}\r\n\
         authorization: {authorization}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    request.push_str(&body);
    request.into_bytes()
}

/// Signature Version 4.
fn authorization(host: &str, stamp: &str, body: &[u8]) -> String {
    let names = "content-type;host;x-amz-date;x-amz-target";
    let mut canonical = String::from("POST\n/\n\n");
    for (name, value) in
        [("content-type", CONTENT_TYPE), ("host", host), ("x-amz-date", stamp), ("x-amz-target", TARGET)]
    {
        writeln!(canonical, "{name}:{value}").expect("a String takes any text");
    }
    write!(canonical, "\n{names}\n{}", sha256(body)).expect("a String takes any text");
    let day = &stamp[..8];
    let scope = format!("{day}/{REGION}/firehose/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in [day, REGION, "firehose", "aws4_request"] {
        key = hmac_sha256(&key, part);
    }
    let signature = hex::encode(hmac_sha256(&key, &to_sign));
    format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}")
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// One keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(host: &str) -> Result<Connection> {
        let stream = TcpStream::connect(host).with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, received: Vec::new() })
    }

    /// True if every record was acked, false if the daemon asks for patience; any other answer is an error.
    pub(crate) fn put(&mut self, request: &[u8]) -> Result<bool> {
        self.stream.write_all(request)?;
        let (status, body) = self.answer()?;
        match status {
            200 if find(&body, br#""FailedPutCount":0"#).is_some() => Ok(true),
            // Some records were taken: sending them again would count them twice.
            200 => {
                bail!("some records were refused; the benchmark must not overload: give it more disk or fewer records")
            }
            503 => Ok(false),
            _ => bail!("status {status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    pub(crate) fn get(&mut self, host: &str, path: &str) -> Result<(u16, Vec<u8>)> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        let head = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
                self.received.drain(..end + 4);
                break head;
            }
            self.receive()?;
        };
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no status in the answer")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
        let length: usize = length.context("an answer without content-length")?.parse()?;
        while self.received.len() < length {
            self.receive()?;
        }
        Ok((status, self.received.drain(..length).collect()))
    }

    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 65_536];
        let count = self.stream.read(&mut buffer)?;
        if count == 0 {
            bail!("the daemon closed the connection");
        }
        self.received.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
