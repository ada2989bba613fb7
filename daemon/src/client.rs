//! A producer: puts records by the signed AWS API, as any SDK would. Signs with object_store's signer, so that it shares no
//! code with the verifier of the front door.

use std::time::Duration;

use base64_simd::STANDARD;
use bytes::Bytes;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use serde::Deserialize;
use url::Url;

/// Firehose's limits on one PutRecordBatch.
pub(crate) const BATCH_RECORDS_MAX: usize = 500;
pub(crate) const BATCH_BYTES_MAX: usize = 4 << 20;
pub(crate) const RECORD_BYTES_MAX: usize = 1_024_000;

const ATTEMPTS_MAX: u32 = 10;
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The daemon said no; the same request will not work later.
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
    #[error("the daemon cannot be reached at {endpoint}")]
    Unreachable {
        endpoint: Url,
        #[source]
        source: reqwest::Error,
    },
    #[error("{} records were not taken after {ATTEMPTS_MAX} attempts: {last}", .unsent)]
    GivenUp { unsent: usize, last: String },
    #[error("the request cannot be signed: {0}")]
    Signing(String),
    #[error("the answer is not one of Firehose: {0}")]
    Answer(String),
}

/// One endpoint, one key, one region.
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    region: String,
    credential: AwsCredential,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchAnswer {
    request_responses: Vec<EntryAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryAnswer {
    error_code: Option<String>,
    error_message: Option<String>,
}

#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(rename = "__type", default)]
    code: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl Client {
    /// The authorities in `ca` are trusted beside those that this machine trusts.
    pub(crate) fn new(
        endpoint: Url,
        (key_id, secret): (String, String),
        ca: Vec<reqwest::Certificate>,
    ) -> Result<Client, ClientError> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().tls_certs_merge(ca).build();
        let http = http.map_err(|source| ClientError::Unreachable { endpoint: endpoint.clone(), source })?;
        let credential = AwsCredential { key_id, secret_key: secret, token: None };
        Ok(Client { http, endpoint, region: "us-east-1".to_owned(), credential })
    }

    /// Puts records until all of them are durable, repeating those that were throttled.
    pub(crate) async fn put(&self, stream: &str, records: &[Bytes]) -> Result<(), ClientError> {
        self.put_each(stream, records, &mut |_| {}).await
    }

    /// The same; `taken` hears of each record that is durable, by its place, also where others fail.
    pub(crate) async fn put_each(
        &self,
        stream: &str,
        records: &[Bytes],
        taken: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(), ClientError> {
        let mut unsent: Vec<(usize, &Bytes)> = records.iter().enumerate().collect();
        let mut last = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
            let sent: Vec<&Bytes> = unsent.iter().map(|(_, record)| *record).collect();
            match self.attempt(stream, &sent).await? {
                Ok(answers) => {
                    let answers = answers.into_iter().zip(std::mem::take(&mut unsent));
                    for (answer, (place, record)) in answers {
                        match answer.error_code {
                            None => taken(place),
                            Some(code) => {
                                last = format!("{code}: {}", answer.error_message.unwrap_or_default());
                                unsent.push((place, record));
                            }
                        }
                    }
                }
                Err(overloaded) => last = overloaded,
            }
            if unsent.is_empty() {
                return Ok(());
            }
        }
        Err(ClientError::GivenUp { unsent: unsent.len(), last })
    }

    /// One request. The inner error is a 5xx, worth another attempt.
    async fn attempt(&self, stream: &str, records: &[&Bytes]) -> Result<Result<Vec<EntryAnswer>, String>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { endpoint: self.endpoint.clone(), source };
        let request = self.signed(body(stream, records))?;
        let response = self.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let answer = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            let parsed: BatchAnswer =
                serde_json::from_slice(&answer).map_err(|error| ClientError::Answer(error.to_string()))?;
            if parsed.request_responses.len() != records.len() {
                let (got, wanted) = (parsed.request_responses.len(), records.len());
                return Err(ClientError::Answer(format!("{got} answers for {wanted} records")));
            }
            return Ok(Ok(parsed.request_responses));
        }
        let refusal: Refusal = serde_json::from_slice(&answer).unwrap_or_default();
        if status.is_server_error() {
            return Ok(Err(format!("HTTP {status}: {}: {}", refusal.code, refusal.message)));
        }
        Err(ClientError::Refused { code: refusal.code, message: refusal.message })
    }

    fn signed(&self, body: Vec<u8>) -> Result<reqwest::Request, ClientError> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.as_str().parse().map_err(|_| {
            ClientError::Answer(format!("`{}` is no endpoint; it is like http://127.0.0.1:4567", self.endpoint))
        })?;
        let headers = request.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert("x-amz-target", http::HeaderValue::from_static("Firehose_20150804.PutRecordBatch"));
        AwsAuthorizer::new(&self.credential, "firehose", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| ClientError::Signing(error.to_string()))?;
        let mut sent = reqwest::Request::new(http::Method::POST, self.endpoint.clone());
        *sent.headers_mut() = std::mem::take(request.headers_mut());
        *sent.body_mut() = Some(body.into());
        Ok(sent)
    }
}

/// Written by hand: the data is most of it, and base64 needs no escapes.
fn body(stream: &str, records: &[&Bytes]) -> Vec<u8> {
    let data: usize = records.iter().map(|record| STANDARD.encoded_length(record.len()) + 12).sum();
    let mut body = Vec::with_capacity(data + 100);
    body.extend_from_slice(b"{\"DeliveryStreamName\":");
    body.extend_from_slice(serde_json::Value::from(stream).to_string().as_bytes());
    body.extend_from_slice(b",\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        body.extend_from_slice(if index == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        body.extend_from_slice(STANDARD.encode_to_string(record).as_bytes());
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}");
    body
}
