//! What operators and their tools read: `/health`, `/ready`, `/status`, `/metrics`. It changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use hydrant_delivery::Status;
use hydrant_ingest::{Counters, Refusal};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::probed::{StoreStatus, StreamStores};

/// The admin server.
pub(crate) struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    seen: Seen,
}

#[derive(Clone)]
struct Seen {
    engine: Arc<Engine>,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

/// `/status`, and `hydrant status --json`.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    accepted_records: u64,
    delivery_streams: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    #[serde(flatten)]
    stores: StreamStores,
}

impl Admin {
    /// `stop` is cancelled when the API takes no more records.
    pub(crate) async fn bind(
        address: SocketAddr,
        engine: Arc<Engine>,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> std::io::Result<Admin> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Admin { listener, address, seen: Seen { engine, counters, stop } })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Until it is aborted.
    pub(crate) async fn serve(self) {
        let routes = Router::new()
            .route("/health", get(|| async { "ok\n" }))
            .route("/ready", get(ready))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .with_state(self.seen);
        if let Err(error) = axum::serve(self.listener, routes).await {
            tracing::error!("the admin server ended: {error}");
        }
    }
}

async fn ready(State(seen): State<Seen>) -> (http::StatusCode, String) {
    let reason = if seen.stop.is_cancelled() { Some("stopping".to_owned()) } else { seen.engine.slow() };
    match reason {
        None => (http::StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (http::StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
    }
}

async fn status(State(seen): State<Seen>) -> impl IntoResponse {
    let mut stores = seen.engine.stores();
    let shown = |status: Status| Shown { stores: stores.remove(&status.name).unwrap_or_default(), status };
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        accepted_records: seen.counters.accepted_records(),
        delivery_streams: seen.engine.status().into_iter().map(shown).collect(),
    };
    let text = serde_json::to_string_pretty(&report).expect("a report has string keys");
    ([(http::header::CONTENT_TYPE, "application/json")], text + "\n")
}

/// Prometheus text format.
async fn metrics(State(seen): State<Seen>) -> String {
    let mut text = String::new();
    let counters = &seen.counters;
    single(&mut text, "hydrant_requests_total", "Requests whose head was read.", counters.requests());
    single(&mut text, "hydrant_accepted_records_total", "Records acked after fsync.", counters.accepted_records());
    single(&mut text, "hydrant_accepted_bytes_total", "Bytes of data acked after fsync.", counters.accepted_bytes());
    head(&mut text, "hydrant_refused_requests_total", "counter", "Requests refused, by reason.");
    for reason in Refusal::ALL {
        let _ = writeln!(
            text,
            "hydrant_refused_requests_total{{reason=\"{}\"}} {}",
            reason.as_str(),
            counters.refused(reason)
        );
    }
    head(&mut text, "hydrant_reserve_held", "gauge", "0 while the disk is full and delivery lives on the reserve.");
    let _ = writeln!(text, "hydrant_reserve_held {}", u64::from(seen.engine.store.reserve().held()));
    let streams = seen.engine.status();
    type Read = fn(&Status) -> u64;
    let of_stream: [(&str, &str, &str, Read); 15] = [
        ("hydrant_stored_records", "gauge", "Records stored since the delivery stream began.", |s| s.accounting.stored),
        ("hydrant_split_off_records", "gauge", "Units beyond one a record, of records taken apart.", |s| {
            s.accounting.split_off
        }),
        ("hydrant_delivered_records", "gauge", "Records in objects at the destination.", |s| s.accounting.delivered),
        ("hydrant_failed_records", "gauge", "Records in the error output.", |s| s.accounting.failed),
        ("hydrant_dropped_records", "gauge", "Records that a plugin dropped.", |s| s.accounting.dropped),
        ("hydrant_lost_records", "gauge", "Records damaged in the log and given up.", |s| s.accounting.lost),
        ("hydrant_expired_records", "gauge", "Records let go undelivered, by policy.", |s| s.accounting.expired),
        ("hydrant_discarded_records", "gauge", "Records that an operator discarded.", |s| s.accounting.discarded),
        ("hydrant_backlog_records", "gauge", "Records stored and not settled yet.", |s| s.accounting.backlog),
        ("hydrant_delivered_objects_total", "counter", "Objects sent since the start.", |s| s.objects),
        ("hydrant_delivered_bytes_total", "counter", "Bytes of objects sent since the start.", |s| s.bytes),
        ("hydrant_delivery_problem", "gauge", "1 while something keeps it from delivering.", |s| {
            u64::from(s.problem.is_some())
        }),
        ("hydrant_backlog_bytes", "gauge", "About the bytes that wait to be delivered.", |s| s.backlog_bytes),
        ("hydrant_delivery_warning", "gauge", "1 while producers are refused, or records about to expire.", |s| {
            u64::from(s.warning.is_some())
        }),
        ("hydrant_accounting_mismatch", "gauge", "1 if what was counted does not add up.", |s| {
            u64::from(s.accounting_mismatch)
        }),
    ];
    for (name, kind, help, read) in of_stream {
        head(&mut text, name, kind, help);
        for stream in &streams {
            // Stream names hold no character that needs an escape.
            let _ = writeln!(text, "{name}{{delivery_stream=\"{}\"}} {}", stream.name, read(stream));
        }
    }
    stores(&mut text, &seen.engine.stores());
    text
}

/// Of buckets that were probed.
fn stores(text: &mut String, stores: &BTreeMap<String, StreamStores>) {
    type Read = fn(&StoreStatus) -> Option<u64>;
    let of_store: [(&str, &str, Read); 2] = [
        (
            "hydrant_store_conditional_writes",
            "1 if the store holds conditional writes, 0 if it ignores them.",
            |store| store.conditional_writes().map(u64::from),
        ),
        ("hydrant_store_probed_timestamp_seconds", "When `hydrant check` found that out.", |store| {
            store.probed_ms().map(|at| at / 1000)
        }),
    ];
    for (name, help, read) in of_store {
        head(text, name, "gauge", help);
        for (stream, stores) in stores {
            for (to, store) in [("destination", &stores.store), ("backup", &stores.backup_store)] {
                if let Some(value) = store.as_ref().and_then(read) {
                    let _ = writeln!(text, "{name}{{delivery_stream=\"{stream}\",to=\"{to}\"}} {value}");
                }
            }
        }
    }
}

fn single(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, "counter", help);
    let _ = writeln!(text, "{name} {value}");
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
