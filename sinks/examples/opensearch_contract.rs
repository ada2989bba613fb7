//! What only a real OpenSearch can show of its sink. Reads `HYDRANT_TEST_OPENSEARCH`, the URL of a node without security whose
//! indices are the test's own. Prints `N passed, M failed` and fails if anything failed.
#![allow(clippy::print_stdout)]

#[path = "../src/contract.rs"]
#[allow(dead_code, reason = "only what it stages is used here")]
mod contract;

use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use contract::staged;
use http::Method;
use hydrant_config::{Destination, DocumentId, IndexRotation, OpenSearch};
use hydrant_disk::RealDisk;
use hydrant_sinks::{Delivery, ItemSet, Items, Receipt, Sink};
use serde_json::{Value, json};

struct Server {
    endpoint: String,
    client: reqwest::Client,
    sink: Arc<dyn Sink>,
}

type Outcome = Result<(), String>;

impl Server {
    fn new(endpoint: String) -> Result<Server, String> {
        let search = OpenSearch {
            endpoint: endpoint.parse().map_err(|_| "HYDRANT_TEST_OPENSEARCH is no URL")?,
            index: "contract".to_owned(),
            rotation: IndexRotation::None,
            type_name: None,
            document_id: DocumentId::Default,
            login: None,
            ca: None,
            retry: Duration::from_secs(300),
            request_size: 5 << 20,
            request_timeout: Duration::from_secs(60),
        };
        let sink = hydrant_sinks::sink(&Destination::OpenSearch(search), Arc::new(RealDisk::new())).map_err(text)?;
        Ok(Server { endpoint, client: reqwest::Client::new(), sink })
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        let request = self.client.request(method, format!("{}/{path}", self.endpoint));
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.map_err(text)?;
        let (status, body) = (answer.status(), answer.text().await.map_err(text)?);
        if !status.is_success() {
            return Err(format!("{path} answered {status}: {body}"));
        }
        serde_json::from_str(&body).map_err(text)
    }

    async fn deliver(&self, index: &str, documents: &[(&str, &str)]) -> Result<Receipt, String> {
        self.sink.deliver(&request(index, documents)).await.map_err(text)
    }

    /// A document for this index waits, with this code.
    async fn waits(&self, index: &str, code: &str) -> Outcome {
        let receipt = self.deliver(index, &[("blocked", "{\"n\":1}")]).await?;
        let why = receipt.why_again.ok_or("nothing was to be sent again")?;
        same(&why.1, &(receipt.again, why.0.as_str()), &(vec![0], code))
    }

    /// Documents that a search finds.
    async fn count(&self, index: &str) -> Result<u64, String> {
        self.call(Method::POST, &format!("{index}/_refresh"), Value::Null).await?;
        let answer = self.call(Method::GET, &format!("{index}/_count"), Value::Null).await?;
        answer["count"].as_u64().ok_or_else(|| answer.to_string())
    }

    async fn set(&self, index: &str, setting: Value) -> Outcome {
        self.call(Method::PUT, &format!("{index}/_settings"), setting).await.map(|_| ())
    }
}

fn request(index: &str, documents: &[(&str, &str)]) -> Delivery {
    let lines = |(id, document): &(&str, &str)| {
        format!("{}\n{document}\n", json!({ "create": { "_index": index, "_id": id } }))
    };
    let body: String = documents.iter().map(lines).collect();
    let count = u32::try_from(documents.len()).expect("a few");
    Delivery { items: Some(Items { count, settled: ItemSet::default() }), ..staged("bulk-1-0", body.as_bytes()) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn same<T: PartialEq + Debug>(what: &str, got: &T, expected: &T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{what}: got {got:?}, expected {expected:?}")) }
}

async fn repeats_make_nothing_new(server: &Server) -> Outcome {
    let documents = [("a", "{\"n\":1}"), ("b", "{\"n\":2}"), ("c", "{\"n\":3}")];
    same("first", &server.deliver("repeats", &documents[..2]).await?, &Receipt::taken(false))?;
    same("again", &server.deliver("repeats", &documents).await?, &Receipt::taken(true))?;
    same("and again", &server.deliver("repeats", &documents).await?, &Receipt::taken(true))?;
    same("documents", &server.count("repeats").await?, &3)
}

async fn bad_documents_are_refused_alone(server: &Server) -> Outcome {
    let documents = [
        ("0", "{\"n\":1}"),
        ("1", "{\"n\":\"no number\"}"),
        ("2", "{\"n\":2}"),
        ("3", "{\"n\":3,\"_id\":\"my own\"}"),
        ("4", "{\"n\":4,\"n\":5}"),
        ("5", "{\"\":6}"),
    ];
    let receipt = server.deliver("mapping", &documents).await?;
    let refused: Vec<u32> = receipt.refused.iter().map(|refusal| refusal.item).collect();
    same("refused", &refused, &vec![1, 3, 4, 5])?;
    for refusal in &receipt.refused {
        let said: Value = serde_json::from_str(&refusal.message).map_err(text)?;
        same("code", &(&*refusal.code, &said["type"]), &("400", &json!("mapper_parsing_exception")))?;
    }
    same("documents", &server.count("mapping").await?, &2)
}

async fn racing_repeats_make_one_document_each(server: &Server) -> Outcome {
    let documents: Vec<(String, String)> = (0..200).map(|n| (format!("r{n}"), format!("{{\"n\":{n}}}"))).collect();
    let documents: Vec<(&str, &str)> = documents.iter().map(|(id, text)| (&**id, &**text)).collect();
    let racers = (0..8).map(|_| server.deliver("race", &documents));
    for receipt in futures::future::try_join_all(racers).await? {
        same("refused, again", &(receipt.refused.len(), receipt.again.len()), &(0, 0))?;
    }
    same("documents", &server.count("race").await?, &200)
}

async fn blocked_indices_are_the_operators(server: &Server) -> Outcome {
    server.deliver("blocked", &[("a", "{\"n\":1}")]).await?;
    server.set("blocked", json!({ "index.blocks.write": true })).await?;
    server.waits("blocked", "403").await?;
    server.set("blocked", json!({ "index.blocks.write": null, "index.blocks.read_only": true })).await?;
    server.waits("blocked", "403").await?;
    server.set("blocked", json!({ "index.blocks.read_only": null })).await?;
    server.call(Method::POST, "blocked/_close", Value::Null).await?;
    server.waits("blocked", "400").await?;
    server.call(Method::POST, "blocked/_open", Value::Null).await?;
    server.waits("NotLowerCase", "400").await?;
    same("opened", &server.deliver("blocked", &[("a", "{\"n\":1}")]).await?, &Receipt::taken(true))
}

async fn a_full_disk_of_the_server_is_waited_for(server: &Server) -> Outcome {
    server.deliver("full", &[("a", "{\"n\":1}")]).await?;
    server.set("full", json!({ "index.blocks.read_only_allow_delete": true })).await?;
    let receipt = server.deliver("full", &[("a", "{\"n\":1}"), ("b", "{\"n\":1}")]).await?;
    same("again", &(receipt.again, receipt.refused.len()), &(vec![0, 1], 0))?;
    same("why", &receipt.why_again.map(|(code, _)| code), &Some("429".to_owned()))?;
    server.set("full", json!({ "index.blocks.read_only_allow_delete": null })).await?;
    same("then", &server.deliver("full", &[("a", "{\"n\":1}"), ("b", "{\"n\":1}")]).await?, &Receipt::taken(true))
}

async fn a_missing_index_is_the_operators(server: &Server) -> Outcome {
    let automatic = |value: Value| json!({ "persistent": { "action.auto_create_index": value } });
    server.call(Method::PUT, "_cluster/settings", automatic(json!("false"))).await?;
    let missing = server.waits("missing", "404").await;
    server.call(Method::PUT, "_cluster/settings", automatic(Value::Null)).await?;
    missing?;
    same("then", &server.deliver("missing", &[("a", "{}")]).await?, &Receipt::taken(false))
}

async fn a_request_of_many_documents(server: &Server) -> Outcome {
    let documents: Vec<(String, String)> =
        (0..20_000).map(|n| (format!("m{n}"), format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(150)))).collect();
    let documents: Vec<(&str, &str)> = documents.iter().map(|(id, text)| (&**id, &**text)).collect();
    same("first", &server.deliver("many", &documents).await?, &Receipt::taken(false))?;
    same("again", &server.deliver("many", &documents).await?, &Receipt::taken(true))?;
    same("documents", &server.count("many").await?, &20_000)
}

async fn run(server: &Server) -> Vec<(&'static str, Outcome)> {
    vec![
        ("check passes", server.sink.check().await.map_err(text)),
        ("repeats make nothing new", repeats_make_nothing_new(server).await),
        ("bad documents are refused alone", bad_documents_are_refused_alone(server).await),
        ("racing repeats make one document each", racing_repeats_make_one_document_each(server).await),
        ("blocked indices are the operator's", blocked_indices_are_the_operators(server).await),
        ("a full disk of the server is waited for", a_full_disk_of_the_server_is_waited_for(server).await),
        ("a missing index is the operator's", a_missing_index_is_the_operators(server).await),
        ("a request of many documents", a_request_of_many_documents(server).await),
    ]
}

#[tokio::main]
async fn main() -> ExitCode {
    let endpoint =
        std::env::var("HYDRANT_TEST_OPENSEARCH").map_err(|_| "HYDRANT_TEST_OPENSEARCH is not set".to_owned());
    let server = match endpoint.and_then(Server::new) {
        Ok(server) => server,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let results = run(&server).await;
    let failed = results.iter().filter(|(_, outcome)| outcome.is_err()).count();
    for (name, outcome) in &results {
        println!("{name}: {}", outcome.as_ref().err().map_or("ok", String::as_str));
    }
    println!("{} passed, {failed} failed", results.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}
