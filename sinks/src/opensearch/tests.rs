//! The OpenSearch sink against a server that answers by script. `examples/opensearch_contract.rs` asks a real one.

mod double;

use std::sync::Arc;
use std::time::Duration;

use hydrant_config::{DocumentId, IndexRotation, Login, OpenSearch, Secret};
use serde_json::json;

use self::double::{Answer, Double, Request};
use super::OpenSearchSink;
use crate::contract::staged;
use crate::{Delivery, ItemSet, Items, Receipt, Refusal, Sink, SinkError, SinkErrorKind};

const PASSWORD: &str = "s3cr3t-w0rd";

fn settings(address: &str) -> OpenSearch {
    OpenSearch {
        endpoint: format!("http://{address}/es").parse().unwrap(),
        index: "events".to_owned(),
        rotation: IndexRotation::None,
        type_name: None,
        document_id: DocumentId::Default,
        login: Some(Login { user: "writer".to_owned(), password: Secret::new(PASSWORD) }),
        ca: None,
        retry: Duration::from_secs(300),
        request_size: 5 << 20,
        request_timeout: Duration::from_millis(400),
    }
}

fn request_of(count: u32, settled: &[u32]) -> Delivery {
    let body: String = (0..count)
        .map(|n| format!("{{\"create\":{{\"_index\":\"events\",\"_id\":\"{n}\"}}}}\n{{\"n\":{n}}}\n"))
        .collect();
    let items = Items { count, settled: settled.iter().copied().collect() };
    Delivery { items: Some(items), ..staged("bulk-1-0", body.as_bytes()) }
}

/// What becomes of one delivery, and what the server was asked.
async fn delivered(delivery: &Delivery, script: Vec<Answer>) -> (Result<Receipt, SinkError>, Vec<Request>) {
    let double = Double::start(script).await;
    let sink = OpenSearchSink::new(&settings(&double.address().to_string())).unwrap();
    let result = sink.deliver(delivery).await;
    if let Err(error) = &result {
        let told = format!("{error} {error:?} {sink} {sink:?}");
        let named = error.kind == SinkErrorKind::Staged || error.message.contains("/es");
        assert!(!told.contains(PASSWORD) && named, "{told}");
    }
    (result, double.requests())
}

async fn verdicts(items: &[(u16, &str)]) -> Receipt {
    let count = u32::try_from(items.len()).unwrap();
    delivered(&request_of(count, &[]), vec![Answer::items(items)]).await.0.unwrap()
}

async fn failure(answer: Answer) -> SinkError {
    delivered(&request_of(3, &[]), vec![answer]).await.0.unwrap_err()
}

#[tokio::test]
async fn a_request_is_what_was_staged() {
    let delivery = request_of(3, &[]);
    let (result, requests) = delivered(&delivery, vec![Answer::created()]).await;
    assert_eq!(result.unwrap(), Receipt::taken(false));
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(request.ids(), ["0", "1", "2"]);
    assert_eq!(request.body.len() as u64, delivery.body.length);
    let login = format!("Basic {}", base64_simd::STANDARD.encode_to_string(format!("writer:{PASSWORD}")));
    assert_eq!(request.header("authorization"), Some(login.as_str()));
}

#[tokio::test]
async fn settled_items_are_left_out_and_the_others_keep_their_numbers() {
    let delivery = request_of(6, &[0, 3, 5]);
    let answer = Answer::items(&[(201, ""), (429, "rejected"), (400, "mapper_parsing_exception")]);
    let (result, requests) = delivered(&delivery, vec![answer]).await;
    assert_eq!(requests[0].ids(), ["1", "2", "4"]);
    let receipt = result.unwrap();
    assert_eq!((receipt.again, receipt.refused[0].item), (vec![2], 4));
    let (result, requests) = delivered(&request_of(2, &[0, 1]), Vec::new()).await;
    assert_eq!((result.unwrap(), requests.len()), (Receipt::taken(false), 0));
}

#[tokio::test]
async fn every_item_has_its_own_verdict() {
    let conflict = "version_conflict_engine_exception";
    let receipt = verdicts(&[
        (201, ""),
        (409, conflict),
        (429, "rejected_execution_exception"),
        (400, "mapper_parsing_exception"),
        (503, "unavailable_shards_exception"),
        (200, ""),
        (413, "too_large"),
        (500, "exception"),
        (409, "another_conflict"),
        (400, "illegal_argument_exception"),
    ])
    .await;
    assert!(receipt.was_there);
    assert_eq!(receipt.again, [2, 4, 7, 8]);
    assert_eq!(
        receipt.why_again,
        Some(("429".to_owned(), r#"{"reason":"it is so","type":"rejected_execution_exception"}"#.to_owned()))
    );
    let refused: Vec<(u32, &str)> =
        receipt.refused.iter().map(|refusal| (refusal.item, refusal.code.as_str())).collect();
    assert_eq!(refused, [(3, "400"), (6, "413"), (9, "400")]);
    assert_eq!(receipt.refused[0].message, r#"{"reason":"it is so","type":"mapper_parsing_exception"}"#);
    assert_eq!(verdicts(&[(409, conflict)]).await, Receipt::taken(true));
}

#[tokio::test]
async fn an_index_that_takes_no_documents_waits_alone_and_says_what_to_do() {
    for (status, kind) in [
        (403, "cluster_block_exception"),
        (403, "security_exception"),
        (404, "index_not_found_exception"),
        (400, "index_closed_exception"),
        (400, "invalid_index_name_exception"),
        (400, "validation_exception"),
    ] {
        let receipt = verdicts(&[(201, ""), (400, "mapper_parsing_exception"), (status, kind)]).await;
        let (code, message) = receipt.why_again.unwrap();
        assert_eq!((receipt.again, receipt.refused.len(), code), (vec![2], 1, status.to_string()));
        assert!(message.contains(kind) && message.ends_with("allow this user to write there"), "{message}");
    }
    // A full disk of the server ends by itself.
    assert_eq!(verdicts(&[(429, "cluster_block_exception")]).await.again, [0]);
}

#[tokio::test]
async fn a_long_reason_is_cut_and_keeps_to_one_line() {
    let error = json!({ "type": "mapper_parsing_exception", "reason": format!("a\nb\u{1b}[0m{}", "x".repeat(5000)) });
    let (result, _) = delivered(&request_of(1, &[]), vec![Answer::Items(vec![(400, error)])]).await;
    let [Refusal { message, .. }] = &result.unwrap().refused[..] else { panic!("one is refused") };
    assert!(
        message.starts_with("mapper_parsing_exception: a b [0mxxx") && message.chars().count() == 1000,
        "{message}"
    );
}

#[tokio::test]
async fn a_refusal_of_the_whole_request_says_what_to_do() {
    use SinkErrorKind::{Misconfigured, Transient};
    for (status, kind) in [
        (408, Transient),
        (429, Transient),
        (500, Transient),
        (502, Transient),
        (503, Transient),
        (301, Misconfigured),
        (307, Misconfigured),
        (400, Misconfigured),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (406, Misconfigured),
    ] {
        let error = failure(Answer::error(status, "some_exception").header("location: http://127.0.0.1:1/")).await;
        assert_eq!((error.kind, error.code), (kind, status.to_string()));
        assert!(error.message.contains("some_exception: it is so; "), "{}", error.message);
        let error = failure(Answer::status(status, "<html>")).await;
        assert_eq!(error.kind, kind, "{status} without a word");
    }
    let error = failure(Answer::error(429, "busy").header("retry-after: 7")).await;
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn lost_answers_are_tried_again() {
    for (answer, code) in [
        (Answer::Reset, "OpenSearch.ConnectionLost"),
        (Answer::Half, "OpenSearch.ConnectionLost"),
        (Answer::Hang, "OpenSearch.Timeout"),
        (Answer::Endless, "OpenSearch.ResponseTooLarge"),
    ] {
        let error = failure(answer).await;
        assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, code), "{error}");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sink = OpenSearchSink::new(&settings(&address.to_string())).unwrap();
    let error = sink.deliver(&request_of(1, &[])).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (SinkErrorKind::Transient, "OpenSearch.Unreachable"));
}

#[tokio::test]
async fn a_success_that_proves_nothing_takes_nothing() {
    for body in [
        "",
        "ok",
        "<html>",
        "{}",
        "[]",
        r#"{"items":{}}"#,
        r#"{"items":[]}"#,
        r#"{"items":[{"create":{}}]}"#,
        r#"[[{"create":{"status":201}}]]"#,
    ] {
        let error = failure(Answer::status(200, body)).await;
        assert_eq!(
            (error.kind, error.code.as_str()),
            (SinkErrorKind::Misconfigured, "OpenSearch.InvalidResponse"),
            "{body}"
        );
    }
    let two = r#"{"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#;
    assert!(failure(Answer::status(200, two)).await.message.contains("2 items instead of 3"));
}

#[tokio::test]
async fn what_is_too_large_is_halved() {
    let too_large = || Answer::error(413, "too_large");
    // 0 1 2 3 4: too large. 0 1: taken. 2 3 4: too large. 2: too large alone. 3 4: taken but for one.
    let script = vec![
        too_large(),
        Answer::created(),
        too_large(),
        too_large(),
        Answer::items(&[(201, ""), (400, "mapper_parsing_exception")]),
    ];
    let (result, requests) = delivered(&request_of(5, &[]), script).await;
    let sent: Vec<String> = requests.iter().map(|request| request.ids().concat()).collect();
    assert_eq!(sent, ["01234", "01", "234", "2", "34"]);
    let receipt = result.unwrap();
    let refused: Vec<(u32, &str)> =
        receipt.refused.iter().map(|refusal| (refusal.item, refusal.code.as_str())).collect();
    assert_eq!((refused, receipt.again), (vec![(2, "413"), (4, "400")], vec![]));
}

#[tokio::test]
async fn what_one_half_was_told_stays_told() {
    let script =
        vec![Answer::error(413, "too_large"), Answer::items(&[(400, "mapper_parsing_exception")]), Answer::Reset];
    let receipt = delivered(&request_of(4, &[]), script).await.0.unwrap();
    assert_eq!(receipt.refused.iter().map(|refusal| refusal.item).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((receipt.again, receipt.why_again.unwrap().0.as_str()), (vec![2, 3], "OpenSearch.ConnectionLost"));
    let script = vec![Answer::error(413, "too_large"), Answer::created(), Answer::error(403, "security_exception")];
    let receipt = delivered(&request_of(4, &[]), script).await.0.unwrap();
    assert_eq!((receipt.again, receipt.why_again.unwrap().0.as_str()), (vec![2, 3], "403"));
}

#[tokio::test]
async fn staged_bytes_that_are_damaged_are_not_sent() {
    let mut delivery = request_of(2, &[]);
    delivery.body.crc64 = Some(7);
    let (result, requests) = delivered(&delivery, Vec::new()).await;
    assert_eq!((result.unwrap_err().kind, requests.len()), (SinkErrorKind::Staged, 0));
    let mut delivery = request_of(2, &[]);
    delivery.items = Some(Items { count: 3, settled: ItemSet::default() });
    let (result, requests) = delivered(&delivery, Vec::new()).await;
    assert_eq!((result.unwrap_err().kind, requests.len()), (SinkErrorKind::Staged, 0));
}

#[tokio::test]
async fn check_asks_the_root() {
    let checked = async |answer: Answer| {
        let double = Double::start(vec![answer]).await;
        let sink: Arc<dyn Sink> = Arc::new(OpenSearchSink::new(&settings(&double.address().to_string())).unwrap());
        let result = sink.check().await;
        assert_eq!(double.requests()[0].line, "GET /es/");
        result.map_err(|error| error.kind)
    };
    let root = r#"{"name":"n","version":{"distribution":"opensearch","number":"3.8.0"},"tagline":"t"}"#;
    assert_eq!(checked(Answer::status(200, root)).await, Ok(()));
    // One who may not look may be allowed to write.
    assert_eq!(checked(Answer::error(403, "security_exception")).await, Ok(()));
    assert_eq!(checked(Answer::status(403, "forbidden")).await, Err(SinkErrorKind::Misconfigured));
    assert_eq!(checked(Answer::status(200, "<html>")).await, Err(SinkErrorKind::Misconfigured));
    assert_eq!(checked(Answer::status(401, "")).await, Err(SinkErrorKind::Misconfigured));
    assert_eq!(checked(Answer::status(503, "")).await, Err(SinkErrorKind::Transient));
}
