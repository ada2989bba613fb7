//! Makes calls by the AWS SDK for Rust: reads {"service", "operation", "parameters"} from each line, prints {"answer"} or {"error"}
//! on one. An error is told by the variant that the SDK has for it. Of an event stream the first event is the answer. The last line
//! tells the content types that were seen. Answers have the members that the tests look at.

mod firehose;
mod kinesis;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::io::BufRead;
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, ConfigBag, Intercept, Region, RuntimeComponents};
use aws_sdk_kinesis::error::{BoxError, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde_json::{Value, json};

type Answer = Result<Value, Value>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let watch = Watch::default();
    let variable = |name: &str| std::env::var(name).expect(name);
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let credentials =
        Credentials::new(variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), None, None, "environment");
    let (region, endpoint) = (Region::new(variable("AWS_REGION")), variable("AWS_ENDPOINT_URL"));
    let kinesis = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.clone())
        .credentials_provider(credentials.clone())
        .region(region.clone())
        .endpoint_url(endpoint.clone())
        .retry_config(RetryConfig::disabled())
        .interceptor(watch.clone());
    let firehose = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .credentials_provider(credentials)
        .region(region)
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .interceptor(watch.clone());
    let kinesis = aws_sdk_kinesis::Client::from_conf(kinesis.build());
    let firehose = aws_sdk_firehose::Client::from_conf(firehose.build());
    for line in std::io::stdin().lock().lines() {
        let wanted: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let operation = wanted["operation"].as_str().expect("an operation");
        let answer = if wanted["service"] == "kinesis" {
            kinesis::call(&kinesis, operation, &wanted["parameters"]).await
        } else {
            firehose::call(&firehose, operation, &wanted["parameters"]).await
        };
        match answer {
            Ok(answer) => println!("{}", json!({ "answer": answer })),
            Err(error) => println!("{}", json!({ "error": error })),
        }
    }
    println!("{}", json!({ "spoken": *watch.0.lock().expect("no panic while it is held") }));
}

/// The content types of the answers.
#[derive(Clone, Debug, Default)]
struct Watch(Arc<Mutex<BTreeSet<String>>>);

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let seen = context.response().headers().get("content-type").unwrap_or("none");
        self.0.lock().expect("no panic while it is held").insert(seen.to_owned());
        Ok(())
    }
}

/// An answer of which nothing is looked at but that it came.
fn done<O, E: Debug>(result: Result<O, SdkError<E>>) -> Answer {
    result.map(|_| json!({})).map_err(told)
}

/// The variant of the operation's error, as `match` sees it.
fn told<E: Debug, R: Debug>(error: SdkError<E, R>) -> Value {
    let text = match &error {
        SdkError::ServiceError(of) => format!("{:?}", of.err()),
        other => format!("{other:?}"),
    };
    json!({ "type": text.split('(').next(), "message": text })
}

fn unknown(operation: &str) -> Answer {
    Err(json!({ "type": "none", "message": format!("no call of `{operation}` is written") }))
}

fn text(members: &Value, name: &str) -> Option<String> {
    members[name].as_str().map(str::to_owned)
}

fn number(members: &Value, name: &str) -> Option<i32> {
    members[name].as_i64().map(|value| i32::try_from(value).expect("a small number"))
}

fn blob(members: &Value) -> Option<Blob> {
    members["Data"].as_str().map(|value| Blob::new(aws_smithy_types::base64::decode(value).expect("base64")))
}

fn texts(members: &Value, name: &str) -> Option<Vec<String>> {
    let list = members[name].as_array()?;
    Some(list.iter().map(|value| value.as_str().expect("a text").to_owned()).collect())
}

fn map(members: &Value, name: &str) -> Option<HashMap<String, String>> {
    let entries = members[name].as_object()?.iter();
    Some(entries.map(|(key, value)| (key.clone(), value.as_str().expect("a text").to_owned())).collect())
}
