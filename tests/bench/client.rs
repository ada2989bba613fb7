//! A producer that costs next to nothing: requests signed in advance, one blocking keep-alive connection each.
//! The signer shares no code with the daemon.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_lc_rs::{digest, hmac};

pub(crate) const ACCESS_KEY: &str = "AKIDBENCH";
pub(crate) const SECRET_KEY: &str = "bench-secret";
const REGION: &str = "us-east-1";
const JSON: &str = "application/x-amz-json-1.1";

/// An operation as a client of one protocol calls it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    service: &'static str,
    target: &'static str,
    content_type: &'static str,
    /// In the answer to a request of which everything was taken.
    taken: &'static [u8],
}

/// Of the control plane of Kinesis Data Streams.
pub(crate) const CREATE_STREAM: Call =
    Call { service: "kinesis", target: "Kinesis_20131202.CreateStream", content_type: JSON, taken: b"" };
pub(crate) const DESCRIBE_STREAM: Call =
    Call { target: "Kinesis_20131202.DescribeStream", taken: br#""StreamStatus":"ACTIVE""#, ..CREATE_STREAM };
pub(crate) const LIST_STREAMS: Call =
    Call { target: "Kinesis_20131202.ListStreams", taken: br#""StreamNames":"#, ..CREATE_STREAM };

pub(crate) const REGISTER_CONSUMER: Call =
    Call { target: "Kinesis_20131202.RegisterStreamConsumer", taken: br#""ConsumerARN":"#, ..CREATE_STREAM };
pub(crate) const SUBSCRIBE: Call = Call { target: "Kinesis_20131202.SubscribeToShard", ..CREATE_STREAM };

pub(crate) const PUT_RECORD_BATCH: Call = Call {
    service: "firehose",
    target: "Firehose_20150804.PutRecordBatch",
    content_type: JSON,
    taken: br#""FailedPutCount":0"#,
};
pub(crate) const PUT_RECORDS: Call = Call {
    service: "kinesis",
    target: "Kinesis_20131202.PutRecords",
    content_type: JSON,
    taken: br#""FailedRecordCount":0"#,
};
/// As the Java SDK does.
pub(crate) const PUT_RECORDS_CBOR: Call =
    Call { content_type: "application/x-amz-cbor-1.1", taken: b"FailedRecordCount\0", ..PUT_RECORDS };
pub(crate) const PUT_RECORD: Call =
    Call { target: "Kinesis_20131202.PutRecord", taken: br#""SequenceNumber""#, ..PUT_RECORDS };

/// Head and body of one request, signed now.
pub(crate) fn signed(call: Call, host: &str, stream: &str, payloads: &[Vec<u8>]) -> Vec<u8> {
    let body = match call.target {
        _ if call.content_type == PUT_RECORDS_CBOR.content_type => cbor(stream, payloads),
        target if target == PUT_RECORD.target => {
            let data = base64_simd::STANDARD.encode_to_string(&payloads[0]);
            format!(r#"{{"StreamName":"{stream}","PartitionKey":"{}","Data":"{data}"}}"#, key(0)).into_bytes()
        }
        _ => json(call, stream, payloads),
    };
    signed_body(call, host, &body)
}

/// The same for a body that says everything.
pub(crate) fn signed_body(call: Call, host: &str, body: &[u8]) -> Vec<u8> {
    let stamp = chrono::Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
    let authorization = authorization(call, host, &stamp, body);
    let mut request = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: {}\r\nx-amz-date: {stamp}\r\nx-amz-target: {}\r\n\
         authorization: {authorization}\r\ncontent-length: {}\r\n\r\n",
        call.content_type,
        call.target,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn json(call: Call, stream: &str, payloads: &[Vec<u8>]) -> Vec<u8> {
    let kinesis = call.service == "kinesis";
    let name = if kinesis { "StreamName" } else { "DeliveryStreamName" };
    let mut body = format!(r#"{{"{name}":"{stream}","Records":["#);
    for (index, payload) in payloads.iter().enumerate() {
        body.push_str(if index == 0 { "{" } else { ",{" });
        if kinesis {
            write!(body, r#""PartitionKey":"{}","#, key(index)).expect("a String takes any text");
        }
        write!(body, r#""Data":"{}"}}"#, base64_simd::STANDARD.encode_to_string(payload))
            .expect("a String takes any text");
    }
    body.push_str("]}");
    body.into_bytes()
}

fn cbor(stream: &str, payloads: &[Vec<u8>]) -> Vec<u8> {
    let (map, array, text, bytes) = (0xA0, 0x80, 0x60, 0x40);
    let mut body = Vec::new();
    let string = |body: &mut Vec<u8>, kind: u8, content: &[u8]| {
        cbor_head(body, kind, content.len());
        body.extend_from_slice(content);
    };
    cbor_head(&mut body, map, 2);
    string(&mut body, text, b"StreamName");
    string(&mut body, text, stream.as_bytes());
    string(&mut body, text, b"Records");
    cbor_head(&mut body, array, payloads.len());
    for (index, payload) in payloads.iter().enumerate() {
        cbor_head(&mut body, map, 2);
        string(&mut body, text, b"PartitionKey");
        string(&mut body, text, key(index).as_bytes());
        string(&mut body, text, b"Data");
        string(&mut body, bytes, payload);
    }
    body
}

fn cbor_head(body: &mut Vec<u8>, kind: u8, length: usize) {
    match u8::try_from(length) {
        Ok(length @ 0..24) => body.push(kind | length),
        _ => {
            body.push(kind | 25);
            body.extend_from_slice(&u16::try_from(length).expect("a bench's records are small").to_be_bytes());
        }
    }
}

/// Keys that reach all shards.
fn key(index: usize) -> String {
    format!("key-{index}")
}

/// Signature Version 4.
fn authorization(call: Call, host: &str, stamp: &str, body: &[u8]) -> String {
    let names = "content-type;host;x-amz-date;x-amz-target";
    let mut canonical = String::from("POST\n/\n\n");
    for (name, value) in
        [("content-type", call.content_type), ("host", host), ("x-amz-date", stamp), ("x-amz-target", call.target)]
    {
        writeln!(canonical, "{name}:{value}").expect("a String takes any text");
    }
    write!(canonical, "\n{names}\n{}", sha256(body)).expect("a String takes any text");
    let day = &stamp[..8];
    let scope = format!("{day}/{REGION}/{}/aws4_request", call.service);
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in [day, REGION, call.service, "aws4_request"] {
        key = hmac_sha256(&key, part);
    }
    let signature = hex::encode(hmac_sha256(&key, &to_sign));
    format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}")
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// `count` requests, round and round, over so many connections at once. Signed before: a signature is good for 15 minutes,
/// and whoever sends must not take the CPU that is measured.
pub(crate) fn send_all(
    host: &str,
    call: Call,
    requests: Vec<Vec<u8>>,
    (connections, count): (usize, usize),
) -> Result<()> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..connections)
        .map(|_| {
            let (requests, next, host) = (Arc::clone(&requests), Arc::clone(&next), host.to_owned());
            thread::spawn(move || send(&host, call, &requests, (&next, count)))
        })
        .collect();
    senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| anyhow!("a sender panicked"))?)
}

/// Takes the next request until there is none. One that is put off (503) is sent again.
fn send(host: &str, call: Call, requests: &[Vec<u8>], (next, count): (&AtomicUsize, usize)) -> Result<()> {
    let mut connection = Connection::open(host)?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(());
        }
        while !connection.put(call, &requests[number % requests.len()])? {
            thread::park_timeout(Duration::from_millis(20));
        }
    }
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
    pub(crate) fn put(&mut self, call: Call, request: &[u8]) -> Result<bool> {
        Ok(self.call(call, request)?.is_some())
    }

    /// The answer itself; `None` if the daemon asks for patience.
    pub(crate) fn call(&mut self, call: Call, request: &[u8]) -> Result<Option<Vec<u8>>> {
        self.stream.write_all(request)?;
        let (status, body) = self.answer()?;
        match status {
            200 if call.taken.is_empty() || find(&body, call.taken).is_some() => Ok(Some(body)),
            // Some records were taken: sending them again would count them twice.
            200 => {
                bail!("some records were refused; the benchmark must not overload: give it more disk or fewer records")
            }
            503 => Ok(None),
            _ => bail!("status {status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Of an answer without an end: what comes next, with its framing. Empty at the end.
    pub(crate) fn follow(&mut self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        let count = self.stream.read(&mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Asks for such an answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request)?)
    }

    pub(crate) fn get(&mut self, host: &str, path: &str) -> Result<(u16, Vec<u8>)> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")?;
        self.answer()
    }

    /// Lines of JSON, as bulk requests are.
    pub(crate) fn post(&mut self, host: &str, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let length = body.len();
        write!(
            self.stream,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n"
        )?;
        self.stream.write_all(body)?;
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

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
