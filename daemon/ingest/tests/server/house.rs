//! A server with one YAML stream and one API stream, and a daemon that is nothing but a log for each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use hydrant_config::{
    AccountId, Credential, KinesisLimits, Pattern, Policy, S3Connection, Secret, Statement, StreamName, TlsFiles,
};
use hydrant_disk::RealDisk;
use hydrant_ingest::{
    Auth, ControlError, ControlPlane, Counters, DeliveryStreamDefinition, Entry, EventBudget, Front, Gate, Keys,
    Kinesis, KinesisPlane, KinesisStreams, Limits, Mappings, NewDeliveryStream, Origin, Registry, Server,
    StoredKinesis, StreamHandle, StreamSettings, Tls, delivery_stream_from_request,
};
use hydrant_record::{StreamId, Timestamp};
use hydrant_shardlog::{Clock, LogOptions, ShardLog};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::client::{Answer, GOOD, READER, Signer, send};

/// A key that is good with its session token only.
pub(crate) const TEMPORARY: Signer = Signer { key: "ASIATEMPORARY", ..GOOD };
pub(crate) const TOKEN: &str = "the token";

/// Noon, and what was added to it.
#[derive(Debug, Default)]
struct Noon(AtomicU64);

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_705_320_000_123 + self.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct OnlyLogs(PathBuf);

pub(crate) struct House {
    pub(crate) addr: SocketAddr,
    pub(crate) log: ShardLog,
    pub(crate) counters: Arc<Counters>,
    clock: Arc<Noon>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _dir: TempDir,
}

fn open_log(dir: &Path) -> ShardLog {
    std::fs::create_dir_all(dir).unwrap();
    ShardLog::open(Arc::new(RealDisk::new()), dir, LogOptions::default()).unwrap().0
}

impl ControlPlane for OnlyLogs {
    fn create(&self, new: NewDeliveryStream) -> BoxFuture<'_, Result<StreamHandle, ControlError>> {
        let dir = self.0.join(new.definition.name.as_str());
        Box::pin(async move { Ok(StreamHandle { id: StreamId([2; 16]), log: open_log(&dir), gate: Gate::default() }) })
    }

    fn store(&self, _entry: Arc<Entry>, _changed: DeliveryStreamDefinition) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    fn update(&self, _entry: Arc<Entry>, _changed: NewDeliveryStream) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    fn begin_delete(&self, _entry: Arc<Entry>) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    fn finish_delete(&self, _entry: Arc<Entry>) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }
}

impl KinesisPlane for OnlyLogs {
    fn create(&self, new: StoredKinesis) -> BoxFuture<'_, Result<ShardLog, ControlError>> {
        let dir = self.0.join(new.id.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        let options = LogOptions { shards: new.shards, clock: Arc::new(Noon::default()), ..LogOptions::default() };
        let log = ShardLog::open(Arc::new(RealDisk::new()), &dir, options).unwrap().0;
        Box::pin(async move { Ok(log) })
    }

    fn store(&self, _changed: StoredKinesis) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, _id: StreamId) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(async { Ok(()) })
    }
}

pub(crate) fn s3_request(name: &str) -> Value {
    json!({
        "DeliveryStreamName": name,
        "ExtendedS3DestinationConfiguration": {
            "RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::logs", "Prefix": "p/"
        }
    })
}

impl House {
    pub(crate) async fn open() -> House {
        House::with(Limits::default(), 64 << 20).await
    }

    pub(crate) async fn with(limits: Limits, budget_bytes: usize) -> House {
        House::build(limits, budget_bytes, None, KinesisLimits::default()).await
    }

    pub(crate) async fn with_tls(files: &TlsFiles) -> House {
        let tls = Some(Arc::new(Tls::load(files).unwrap()));
        House::build(Limits::default(), 64 << 20, tls, KinesisLimits::default()).await
    }

    pub(crate) async fn with_kinesis(limits: KinesisLimits) -> House {
        House::build(Limits::default(), 64 << 20, None, limits).await
    }

    async fn build(limits: Limits, budget_bytes: usize, tls: Option<Arc<Tls>>, of_kinesis: KinesisLimits) -> House {
        let dir = tempfile::tempdir().unwrap();
        let log = open_log(&dir.path().join("demo"));
        let mappings = Mappings {
            account: AccountId::parse("123456789012").unwrap(),
            data_dir_encrypted: true,
            s3: Some(S3Connection {
                endpoint: None,
                region: "us-east-1".to_owned(),
                keys: None,
                profile: None,
                ca: None,
                path_style: true,
            }),
            lambda: BTreeMap::new(),
            glue: BTreeMap::new(),
            opensearch: BTreeMap::new(),
            destinations_ca: None,
        };
        let stream = delivery_stream_from_request(&s3_request("demo"), ("us-east-1", 1), &mappings).unwrap();
        let definition = DeliveryStreamDefinition {
            source: None,
            settings: StreamSettings::default(),
            name: StreamName::parse("demo").unwrap(),
            region: None,
            version_id: 1,
            created_at: Timestamp::from_millis(1_700_000_000_123),
            origin: Origin::Yaml(Arc::new(stream)),
        };
        let registry = Arc::new(Registry::new());
        let handle = StreamHandle { id: StreamId([1; 16]), log: log.clone(), gate: Gate::default() };
        registry.insert(Entry::active(definition, handle)).unwrap();
        let credential = Credential::new(GOOD.key, Secret::new(GOOD.secret));
        let mut reader = Credential::new(READER.key, Secret::new(READER.secret));
        let all = vec![Pattern::new("*")];
        let describes = Statement { actions: vec![Pattern::new("*:Describe*")], resources: all };
        reader.policy = Policy { allow: Some(vec![describes]), deny: Vec::new() };
        let mut temporary = Credential::new(TEMPORARY.key, Secret::new(TEMPORARY.secret));
        temporary.session_token = Some(Secret::new(TOKEN));
        let counters = Arc::new(Counters::default());
        let clock = Arc::new(Noon::default());
        let front = Front {
            registry,
            auth: Auth::Keys(Keys::new(&[credential, reader, temporary])),
            control: Arc::new(OnlyLogs(dir.path().to_owned())),
            kinesis: Kinesis {
                streams: Arc::new(KinesisStreams::new()),
                plane: Arc::new(OnlyLogs(dir.path().to_owned())),
                limits: Arc::new(of_kinesis),
                calls: Arc::default(),
                events: Arc::new(EventBudget::new(8 << 20)),
            },
            mappings,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            counters: Arc::clone(&counters),
            budget: Arc::new(Semaphore::new(budget_bytes)),
            limits,
            tls,
        };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), front).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let addr = server.local_addr();
        let serving = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        House { addr, log, counters, clock, stop, serving, _dir: dir }
    }

    pub(crate) async fn call(&self, operation: &str, body: &Value) -> Answer {
        send(self.addr, &GOOD.request(operation, body.to_string().as_bytes())).await
    }

    pub(crate) async fn kinesis(&self, operation: &str, body: Value) -> Answer {
        send(self.addr, &GOOD.kinesis(operation, body.to_string().as_bytes())).await
    }

    /// Lets the clock go on.
    pub(crate) fn later(&self, by: Duration) {
        self.clock.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Sends bytes that must be refused, and sees that nothing was stored and the server still answers.
    pub(crate) async fn refuses(&self, request: &[u8], status: u16, code: &str) -> Answer {
        let before = self.log.last();
        let answer = send(self.addr, request).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
        assert_eq!(self.log.last(), before, "a refused request stores nothing");
        answer
    }

    pub(crate) async fn close(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(20), self.serving).await.expect("a drained server ends").unwrap();
        self.log.close().unwrap();
    }
}
