//! A delivery stream in a temporary directory: a real log, a real journal, real files; faults come from below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hydrant_config::{DeliveryStream, Environment};
use hydrant_delivery::{Bounds, Claim, CpuPool, Pipeline, PipelineParts, StartError, Status};
use hydrant_disk::{Disk, RealDisk};
use hydrant_plugins::Transform;
use hydrant_record::{NewRecord, Placement, StreamId};
use hydrant_shardlog::{LogOptions, ShardLog, SystemClock};
use hydrant_sinks::Sink;

pub(crate) const GRACE: Duration = Duration::from_secs(20);

/// Where a test keeps its log, its journal and its objects.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) stream: DeliveryStream,
}

impl Place {
    /// `yaml` is the delivery stream without its name, indented by four; `LAKE` in it is the destination directory,
    /// `PLUGIN` a file for `processing`.
    pub(crate) fn new(yaml: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        for name in ["log", "delivery"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let lake = dir.path().join("lake").display().to_string();
        // Only named in the configuration: the tests bring transforms of their own.
        let plugin = dir.path().join("plugin.wasm");
        std::fs::write(&plugin, "").unwrap();
        let yaml = yaml.replace("PLUGIN", &plugin.display().to_string());
        let text = format!("delivery_streams:\n  - name: s\n{}\n", yaml.replace("LAKE", &lake));
        let loaded = hydrant_config::load_text(&text, Path::new("test.yaml"), &Environment::of([]));
        let stream = loaded.unwrap_or_else(|problems| panic!("{problems}")).config.delivery_streams[0].clone();
        Place { dir, stream }
    }

    /// Lines as they are, every record an object of its own chunk's making.
    pub(crate) fn lines() -> Place {
        Place::new("    buffering: { interval: 0 s }\n    destination: { file: { directory: LAKE } }")
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    pub(crate) fn delivery_dir(&self) -> PathBuf {
        self.dir.path().join("delivery")
    }

    pub(crate) fn log(&self, disk: Arc<dyn Disk>) -> Result<ShardLog, hydrant_shardlog::OpenError> {
        ShardLog::open(disk, &self.log_dir(), options()).map(|(log, _)| log)
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub(crate) fn file_sink(&self) -> Arc<dyn Sink> {
        hydrant_sinks::sink(&self.stream.destination, Arc::new(RealDisk::new())).unwrap()
    }

    pub(crate) fn start(
        &self,
        disk: Arc<dyn Disk>,
        log: &ShardLog,
        sink: Arc<dyn Sink>,
        transform: Option<Box<dyn Transform>>,
    ) -> Result<Pipeline, StartError> {
        let backup = self.stream.backup.as_ref();
        let real: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let backup = backup.map(|backup| hydrant_sinks::object_sink(&backup.store, real).unwrap());
        Pipeline::start(PipelineParts {
            stream: self.stream.clone(),
            stream_id: StreamId([7; 16]),
            dir: self.delivery_dir(),
            disk,
            clock: Arc::new(SystemClock),
            log: log.clone(),
            claim: Claim::Own,
            journal_options: options(),
            transform,
            sink,
            backup,
            cpu: CpuPool::of_callers(),
            bounds: Bounds::default(),
        })
    }

    /// Delivers everything that is in the log to the lake.
    pub(crate) async fn deliver_all(&self, transform: Option<Box<dyn Transform>>) -> Status {
        self.deliver(options(), transform).await
    }

    pub(crate) async fn deliver(&self, options: LogOptions, transform: Option<Box<dyn Transform>>) -> Status {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let (log, _) = ShardLog::open(Arc::clone(&disk), &self.log_dir(), options).unwrap();
        let pipeline = self.start(disk, &log, self.file_sink(), transform).unwrap();
        pipeline.drain(GRACE).await.unwrap();
        pipeline.reconcile();
        let status = pipeline.status();
        assert!(!status.accounting_mismatch, "{status:?}");
        log.close().unwrap();
        status
    }

    pub(crate) fn append(&self, records: &[&str]) {
        let log = self.log(Arc::new(RealDisk::new())).unwrap();
        append(&log, records);
        log.close().unwrap();
    }

    /// Every object below the lake by its path, temporary files too.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        let mut dirs = vec![self.lake()];
        while let Some(dir) = dirs.pop() {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    let key = path.strip_prefix(self.lake()).unwrap().display().to_string();
                    objects.insert(key, std::fs::read(&path).unwrap());
                }
            }
        }
        objects
    }

    /// All lines of all objects whose path begins so.
    pub(crate) fn lines_below(&self, prefix: &str) -> Vec<String> {
        let objects = self.objects().into_iter().filter(|(key, _)| key.starts_with(prefix));
        let texts = objects.map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

pub(crate) fn append(log: &ShardLog, records: &[&str]) {
    let record = |text: &&str| NewRecord {
        placement: Placement::Any,
        partition_key: None,
        data: Bytes::copy_from_slice(text.as_bytes()),
    };
    log.append(records.iter().map(record).collect()).unwrap();
}

pub(crate) fn options() -> LogOptions {
    let mut options = LogOptions::new();
    options.reserve_bytes = 0;
    options.segment_bytes_max = 1 << 20;
    options
}

/// `first-0`, `first-1`, …
pub(crate) fn numbered(first: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{first}-{n}")).collect()
}
