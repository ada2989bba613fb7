//! Every key of the YAML file: kind, default, allowed range, meaning. The loader takes ranges and defaults from here, the
//! reference page prints it, unknown keys are compared with it; so the three cannot disagree.
//!
//! In paths `[]` is any item of a list and `*` any key of a map with free keys.

use crate::quantity::{show_duration, show_size};
use std::time::Duration;

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Section,
    /// A map with exactly one of the keys below it.
    Choice,
    List,
    /// Free keys; says what stands on both sides.
    Map(&'static str),
    /// Says what is allowed.
    Text(&'static str),
    Word(&'static [&'static str]),
    Size {
        min: u64,
        max: u64,
    },
    /// In milliseconds.
    Duration {
        min: u64,
        max: u64,
    },
    Integer {
        min: u64,
        max: u64,
    },
    /// A whole number, or `off`.
    Count {
        min: u64,
        max: u64,
    },
    /// A size each second, or `off`.
    Rate {
        min: u64,
        max: u64,
    },
    Boolean,
    Secret,
    Path,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) path: &'static str,
    pub(crate) kind: KeyKind,
    /// For sizes, durations, integers and words the text that is read when the key is absent; else prose; empty for none.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) required: bool,
    pub(crate) beyond_firehose: bool,
    /// What to do instead of a value out of range.
    pub(crate) hint: &'static str,
}

impl Key {
    /// The last part of the path.
    pub(crate) fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// For `must be …` and the reference page.
    pub(crate) fn allowed(&self) -> String {
        match self.kind {
            KeyKind::Section => "a map of keys".to_owned(),
            KeyKind::Choice => "a map with exactly one key".to_owned(),
            KeyKind::List => "a list".to_owned(),
            KeyKind::Map(what) => format!("a map of {what}"),
            KeyKind::Text(what) => what.to_owned(),
            KeyKind::Word(words) => crate::problem::quoted(words, "or"),
            KeyKind::Size { min, max } => format!("{} to {}", show_size(min), show_size(max)),
            KeyKind::Duration { min, max } => {
                let show = |millis| show_duration(Duration::from_millis(millis));
                format!("{} to {}", show(min), show(max))
            }
            KeyKind::Integer { min, max } => format!("{min} to {max}"),
            KeyKind::Count { min, max } => format!("{min} to {max}, or `off`"),
            KeyKind::Rate { min, max } => format!("{} to {}, or `off`", show_size(min), show_size(max)),
            KeyKind::Boolean => "`true` or `false`".to_owned(),
            KeyKind::Secret => "`env:NAME`, `file:PATH`, `credential:NAME` or `plain:TEXT`".to_owned(),
            KeyKind::Path => "a path, relative to the YAML file".to_owned(),
        }
    }
}

/// The key at a path.
pub(crate) fn find(path: &str) -> &'static Key {
    KEYS.iter().find(|key| key.path == path).unwrap_or_else(|| {
        // A test loads every key of the table and compares what the loader asked for.
        unreachable!("the loader asks for `{path}`, which the table of keys lacks")
    })
}

/// Names of the keys in the map at a path.
pub(crate) fn children(path: &str) -> Vec<&'static str> {
    let parent = |key: &Key| key.path.rsplit_once('.').map_or("", |(parent, _)| parent);
    KEYS.iter().filter(|key| parent(key) == path).map(Key::name).collect()
}

/// Planned, and therefore no typing mistake.
pub(crate) fn is_not_built_yet(path: &str) -> bool {
    NOT_YET.contains(&path)
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// In milliseconds.
const DAY: u64 = 86_400_000;

const fn key(path: &'static str, kind: KeyKind, default: &'static str, meaning: &'static str) -> Key {
    Key { path, kind, default, meaning, required: false, beyond_firehose: false, hint: "" }
}

impl Key {
    const fn required(mut self) -> Key {
        self.required = true;
        self
    }
    const fn beyond(mut self) -> Key {
        self.beyond_firehose = true;
        self
    }
    const fn hint(mut self, hint: &'static str) -> Key {
        self.hint = hint;
        self
    }
}

const COUNT: KeyKind = KeyKind::Count { min: 1, max: 1_000_000_000 };
const RATE: KeyKind = KeyKind::Rate { min: 1 << 10, max: 1024 * GIB };
const ADDRESS: KeyKind = KeyKind::Text("an IP address and a port");
const ACTIONS_MEANING: &str = "Operations such as `firehose:PutRecord*` or `kinesis:*`.";
const RESOURCES_MEANING: &str = "`delivery_stream/NAME`, `stream/NAME` or ARNs, with `*` and `?`; operations on no stream in particular, such as the lists, are on `*`.";
const COLUMNS: KeyKind = KeyKind::Map("column name to type");
const COLUMN_TYPES: &str = "Lower-case names in order; types `boolean`, `tinyint`, `smallint`, `int`, `bigint`, `float`, `double`, `string`, `binary`, `date`, `timestamp`, `decimal(p,s)`.";
const PLUGIN_PATH: &str = "The WASM file.";
const SHA256: KeyKind = KeyKind::Text("64 hexadecimal digits");
const SHA256_MEANING: &str = "Refuses any other file.";
const PLUGIN_CONFIG: KeyKind = KeyKind::Map("text to text");
const PLUGIN_CONFIG_MEANING: &str = "What the plugin reads by `config(key)`.";
const PLUGIN_MEMORY: KeyKind = KeyKind::Size { min: MIB, max: 4 * GIB };
const PLUGIN_MEMORY_MEANING: &str = "Linear memory of one instance.";
const CPU: KeyKind = KeyKind::Duration { min: 10, max: 300_000 };
const CPU_MEANING: &str = "CPU time for one batch of records.";
const ON_ERROR: KeyKind = KeyKind::Word(&["fail_record", "stop"]);
const ON_ERROR_MEANING: &str = "After a trap or an exceeded limit: the one record goes to the error output, or the delivery stream waits for repair.";
const PREFIX: KeyKind = KeyKind::Text("up to 1024 bytes with Firehose's `!{namespace:value}` expressions");
const PREFIX_DEFAULT: &str = "!{timestamp:yyyy/MM/dd/HH}/";
const PREFIX_MEANING: &str = "Begins every object name. Without a timestamp and without partition keys, `!{timestamp:yyyy/MM/dd/HH}/` is appended, and no slash before it.";
const ERROR_PREFIX_DEFAULT: &str = "prefix, `!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/`";
const ERROR_PREFIX_MEANING: &str = "Begins the names of objects with failed records. Must be given if `prefix` has expressions; if it has expressions itself, `!{firehose:error-output-type}` is one of them.";
const ZONE: KeyKind = KeyKind::Text("a name of the IANA time zone database");
const ZONE_MEANING: &str = "Of the timestamps in both prefixes and in object names.";
const EXTENSION: KeyKind = KeyKind::Text("a dot, then up to 127 of `0-9 a-z ! - _ . * ' ( )`");
const EXTENSION_MEANING: &str = "Replaces the extension of the format.";
const ENDPOINT: KeyKind = KeyKind::Text("an `http://` or `https://` URL without a path");
const REGION: KeyKind = KeyKind::Text("a region such as `eu-central-1`");
const INHERITED: &str = "from `s3`";
const BUCKET: KeyKind = KeyKind::Text("1 to 255 letters, digits, `_`, `.` and `-`");
const BASE_URL: KeyKind = KeyKind::Text("an `http://` or `https://` URL without a query");
const PROFILE: KeyKind = KeyKind::Text("1 to 128 bytes without `]`");
const PROFILE_MEANING: &str = "A section of `$AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`, instead of keys; read anew for every request.";
const ENCRYPTION: KeyKind = KeyKind::Word(&["none", "AES256", "aws:kms"]);
const ENCRYPTION_MEANING: &str = "`x-amz-server-side-encryption`; `none` leaves it to the bucket.";
const KMS_KEY: KeyKind = KeyKind::Text("1 to 2048 printable characters");
const KMS_KEY_MEANING: &str = "Only with `aws:kms`.";
const STORAGE_CLASS: KeyKind = KeyKind::Text("1 to 64 of `A-Z 0-9 _`");
const STORAGE_CLASS_MEANING: &str = "`x-amz-storage-class`, such as `STANDARD_IA`.";
const ACL: KeyKind = KeyKind::Word(ACLS);
const ACL_MEANING: &str = "`x-amz-acl`; `none` leaves it to the bucket.";
const TAGS: KeyKind = KeyKind::Map("name to text");
const TAGS_MEANING: &str = "`x-amz-tagging`, at most 10.";
const CREATE_BUCKET_MEANING: &str = "Whether a bucket that is missing is made.";
const CA_MEANING: &str = "Certificates in PEM that are trusted beside those of the system.";
const RETRY: KeyKind = KeyKind::Duration { min: 0, max: 7_200_000 };
const RETRY_MEANING: &str = "How long a request is repeated since its first attempt before its records go to the backup; a restart begins anew.";
const REQUEST_TIMEOUT: KeyKind = KeyKind::Duration { min: 1000, max: 180_000 };
const REQUEST_TIMEOUT_MEANING: &str = "For one attempt, its answer included.";

/// Canned ACLs, by AWS's names.
pub(crate) const ACLS: &[&str] = &[
    "none",
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

/// In the order of the reference page, one line a key.
#[rustfmt::skip]
pub(crate) static KEYS: &[Key] = &[
    key("data_dir", KeyKind::Path, "`$STATE_DIRECTORY`, else `./hydrant-data`", "Where acknowledged records are kept until they are delivered."),
    key("data_dir_encrypted", KeyKind::Boolean, "false", "Your word that `data_dir` is on an encrypted volume: only then does the API say that a stream is encrypted at rest. Hydrant does not encrypt its log itself.").beyond(),
    key("memory", KeyKind::Size { min: 64 * MIB, max: 1024 * GIB }, "512 MiB", "One ceiling for all buffers of the daemon."),
    key("account", KeyKind::Text("twelve digits"), "123456789012", "The account number in ARNs."),
    key("api", KeyKind::Section, "", "The AWS API that producers call."),
    key("api.listen", ADDRESS, "127.0.0.1:4567", "Any address but loopback needs `credentials`."),
    key("api.tls", KeyKind::Section, "", "HTTPS instead of HTTP, with HTTP/2 by ALPN. The files are looked at every few seconds; new connections get what is new, and files that cannot be used change nothing."),
    key("api.tls.certificate", KeyKind::Path, "", "PEM: the certificate, then the intermediate ones.").required(),
    key("api.tls.key", KeyKind::Path, "", "PEM: the private key.").required(),
    key("api.tls.client_ca", KeyKind::Path, "none", "PEM: clients must show a certificate signed by one of these; requests are signed as ever."),
    key("admin", KeyKind::Section, "", "Health, readiness and metrics."),
    key("admin.listen", ADDRESS, "127.0.0.1:4568", "Answers without authentication."),
    key("credentials", KeyKind::List, "none", "Who may call the API. Without this section any well-formed signature is accepted, on loopback only."),
    key("credentials[].access_key_id", KeyKind::Text("1 to 128 letters, digits and `_`"), "", "The key id that the client signs with.").required(),
    key("credentials[].secret_access_key", KeyKind::Secret, "", "The secret of that key id.").required(),
    key("credentials[].session_token", KeyKind::Secret, "none", "For clients that sign with temporary credentials: they must send this token."),
    key("credentials[].allow", KeyKind::List, "everything", "What the credential may do; nothing else once it is given. What it may not do is an AccessDeniedException."),
    key("credentials[].allow[].actions", KeyKind::List, "all", ACTIONS_MEANING),
    key("credentials[].allow[].resources", KeyKind::List, "all", RESOURCES_MEANING),
    key("credentials[].deny", KeyKind::List, "nothing", "What it may not do, whatever `allow` says."),
    key("credentials[].deny[].actions", KeyKind::List, "all", ACTIONS_MEANING),
    key("credentials[].deny[].resources", KeyKind::List, "all", RESOURCES_MEANING),
    key("s3", KeyKind::Section, "", "Inherited by every S3 destination and by delivery streams made through the API."),
    key("s3.endpoint", ENDPOINT, "AWS", "An S3-compatible store."),
    key("s3.region", REGION, "us-east-1", "The region that requests are signed for."),
    key("s3.access_key_id", KeyKind::Secret, "the usual AWS chain", "Static keys; both or neither."),
    key("s3.secret_access_key", KeyKind::Secret, "the usual AWS chain", "Static keys; both or neither."),
    key("s3.session_token", KeyKind::Secret, "none", "For temporary static keys."),
    key("s3.profile", PROFILE, "the usual AWS chain", PROFILE_MEANING),
    key("s3.path_style", KeyKind::Boolean, "true with an endpoint", "`endpoint/bucket/key` instead of `bucket.endpoint/key`."),
    key("s3.ca", KeyKind::Path, "none", CA_MEANING).beyond(),
    key("lambda", KeyKind::Map("Lambda ARN to plugin"), "none", "What a Lambda ARN in an API request means here."),
    key("lambda.*.plugin", KeyKind::Path, "", PLUGIN_PATH).required(),
    key("lambda.*.sha256", SHA256, "any", SHA256_MEANING),
    key("lambda.*.config", PLUGIN_CONFIG, "none", PLUGIN_CONFIG_MEANING),
    key("lambda.*.memory", PLUGIN_MEMORY, "128 MiB", PLUGIN_MEMORY_MEANING),
    key("lambda.*.cpu_per_batch", CPU, "2 s", CPU_MEANING),
    key("lambda.*.on_error", ON_ERROR, "fail_record", ON_ERROR_MEANING),
    key("glue", KeyKind::Map("`database.table` to columns"), "none", "What a Glue table in an API request means here."),
    key("glue.*.columns", COLUMNS, "", COLUMN_TYPES).required(),
    key("opensearch", KeyKind::Map("domain ARN to cluster"), "none", "What the ARN of an OpenSearch or Elasticsearch domain in an API request means here. A `ClusterEndpoint` there finds the entry with that endpoint; AWS uses a role instead of a password."),
    key("opensearch.*.endpoint", BASE_URL, "", "The cluster; each once.").required(),
    key("opensearch.*.user", KeyKind::Text("1 to 256 bytes without `:`"), "none", "For basic authentication, with `password`.").beyond(),
    key("opensearch.*.password", KeyKind::Secret, "none", "For basic authentication, with `user`.").beyond(),
    key("opensearch.*.ca", KeyKind::Path, "none", CA_MEANING).beyond(),
    key("api_destinations", KeyKind::Section, "", "How HTTP endpoints and Splunk are reached that API requests name; AWS's API has no place for it."),
    key("api_destinations.ca", KeyKind::Path, "none", CA_MEANING).beyond(),
    key("limits", KeyKind::Section, "", "How much of Kinesis Data Streams one may use. AWS's quotas hold without it, AWS's throughput does not."),
    key("limits.shard_records_in", COUNT, "off", "Records that one shard takes in a second; AWS: 1000."),
    key("limits.shard_bytes_in", RATE, "off", "Data and partition keys that one shard takes in a second; AWS: 1 MiB."),
    key("limits.shard_bytes_out", RATE, "off", "Data that one shard gives in a second, to all calls of GetRecords together and to each subscription of SubscribeToShard; AWS: 2 MiB."),
    key("limits.shard_reads", COUNT, "off", "Calls of GetRecords for one shard in a second; AWS: 5."),
    key("limits.control_calls", KeyKind::Word(&["off", "aws"]), "off", "Whether operations that manage streams and delivery streams, ListShards and GetShardIterator may be called only as often as at AWS."),
    key("limits.shards", COUNT, "20000", "Open shards of a region."),
    key("limits.on_demand_streams", COUNT, "50", "Streams of a region in on-demand mode."),
    key("limits.consumers", COUNT, "20", "Registered consumers of a stream."),
    key("limits.subscription", KeyKind::Duration { min: 1000, max: 86_400_000 }, "5 m", "How long SubscribeToShard answers until the client has to subscribe again."),
    key("streams", KeyKind::List, "none", "Kinesis data streams that this file manages."),
    key("streams[].name", KeyKind::Text("1 to 128 of `a-z A-Z 0-9 _ . -`"), "", "What producers and consumers call it; distinct.").required(),
    key("streams[].region", REGION, "any", "Answers only clients that sign for this region."),
    key("streams[].mode", KeyKind::Word(&["provisioned", "on_demand"]), "provisioned", "What its description says, and whether the API may change its shards."),
    key("streams[].shards", KeyKind::Integer { min: 1, max: 10_000 }, "1", "Open shards. Changed here, the stream is divided anew at the next start."),
    key("streams[].retention", KeyKind::Duration { min: DAY, max: 365 * DAY }, "24 h", "How long records are kept, in whole hours."),
    key("delivery_streams", KeyKind::List, "none", "Delivery streams that this file manages."),
    key("delivery_streams[].name", KeyKind::Text("1 to 64 of `a-z A-Z 0-9 _ . -`"), "", "What producers call it; distinct.").required(),
    key("delivery_streams[].region", REGION, "any", "Answers only clients that sign for this region."),
    key("delivery_streams[].from_stream", KeyKind::Section, "records are put", "The Kinesis stream of this daemon that the records come from; nothing can be put then. It keeps what is not delivered beyond its retention period, too."),
    key("delivery_streams[].from_stream.name", KeyKind::Text("1 to 128 of `a-z A-Z 0-9 _ . -`"), "", "One of `streams`, or one that the API has made; in `region` if that is given. A delivery stream keeps its source for life.").required(),
    key("delivery_streams[].from_stream.start", KeyKind::Text("`latest`, `trim_horizon`, or a time such as `2026-05-01T12:00:00Z`"), "latest", "Where a new delivery stream begins; looked at once, when it is first started.").beyond(),
    key("delivery_streams[].from_stream.deaggregate", KeyKind::Boolean, "true", "Whether records that the Kinesis Producer Library has put together are taken apart. Each user record is then transformed, partitioned and delivered by itself.").beyond(),
    key("delivery_streams[].buffering", KeyKind::Section, "", "When an object is cut: whichever comes first."),
    key("delivery_streams[].buffering.size", KeyKind::Size { min: MIB, max: GIB }, "64 MiB", "Bytes after the plugins and before compression. 5 MiB unless given where requests are sent, and there at most 64 MiB in one request.").beyond().hint("raise `interval`, or split the stream"),
    key("delivery_streams[].buffering.interval", KeyKind::Duration { min: 0, max: 3_600_000 }, "60 s", "Since the first record of the buffer.").beyond(),
    key("delivery_streams[].buffering.object_size", KeyKind::Size { min: MIB, max: GIB }, "", "Bytes of an object as it is sent, compressed. `size` is then 1 GiB unless it is given, too. Estimated from the objects before and measured while it is encoded; the first object since a start is smaller.").beyond().hint("1 GiB is the most that one object holds"),
    key("delivery_streams[].backlog_max", KeyKind::Size { min: 16 * MIB, max: 1024 * 1024 * GIB }, "half of the free disk", "Bytes of the log that may wait to be delivered. Beyond it this delivery stream's producers are answered with 503 until there are less; others do not notice.").beyond(),
    key("delivery_streams[].log", KeyKind::Section, "", "The log that holds the records until they are delivered, and after that for as long as it is told to.").beyond(),
    key("delivery_streams[].log.compression", KeyKind::Word(&["none", "lz4", "zstd"]), "none", "Of the records in the log: less disk and less to sync, for CPU time."),
    key("delivery_streams[].log.retention", KeyKind::Duration { min: 0, max: 365 * DAY }, "0 s", "How long records stay in the log since they arrived, so that they can be delivered again. What is not delivered stays longer."),
    key("delivery_streams[].log.size_max", KeyKind::Size { min: 16 * MIB, max: 1024 * 1024 * GIB }, "100 GiB", "Delivered records beyond it go before `retention` is over, the oldest first."),
    key("delivery_streams[].log.expire_undelivered", KeyKind::Boolean, "false", "Whether `retention` and `size_max` hold for records that are not delivered, too: those are lost then, and counted."),
    key("delivery_streams[].history", KeyKind::Section, "", "What is remembered of delivered records, so that `hydrant explain` can say where each of them is.").beyond(),
    key("delivery_streams[].history.retention", KeyKind::Duration { min: 0, max: 365 * DAY }, "7 d", "Since they were delivered. `0 s` remembers nothing."),
    key("delivery_streams[].history.size_max", KeyKind::Size { min: MIB, max: 64 * GIB }, "64 MiB", "Bytes on the disk; the oldest go first."),
    key("delivery_streams[].processing", KeyKind::Section, "", "What happens to each record, in this order."),
    key("delivery_streams[].processing.deaggregate", KeyKind::Choice, "none", "Takes records apart that hold several: before the plugins, and only with dynamic partitioning. A record with more than 500 in it, or with anything else in it, goes on as it is."),
    key("delivery_streams[].processing.deaggregate.json", KeyKind::Section, "", "JSON objects one behind the other; white space between them goes."),
    key("delivery_streams[].processing.deaggregate.delimited", KeyKind::Section, "", "What is between delimiters; where nothing is between two of them, there is no record."),
    key("delivery_streams[].processing.deaggregate.delimited.delimiter", KeyKind::Text("1 to 1024 bytes"), "", "Such as `####`.").required(),
    key("delivery_streams[].processing.plugins", KeyKind::List, "none", "WASM plugins; the second sees what the first answered.").beyond(),
    key("delivery_streams[].processing.plugins[].path", KeyKind::Path, "", PLUGIN_PATH).required(),
    key("delivery_streams[].processing.plugins[].sha256", SHA256, "any", SHA256_MEANING),
    key("delivery_streams[].processing.plugins[].config", PLUGIN_CONFIG, "none", PLUGIN_CONFIG_MEANING),
    key("delivery_streams[].processing.plugins[].memory", PLUGIN_MEMORY, "128 MiB", PLUGIN_MEMORY_MEANING),
    key("delivery_streams[].processing.plugins[].cpu_per_batch", CPU, "2 s", CPU_MEANING),
    key("delivery_streams[].processing.plugins[].on_error", ON_ERROR, "fail_record", ON_ERROR_MEANING),
    key("delivery_streams[].processing.append_delimiter", KeyKind::Boolean, "true with `lines`", "A newline after each record; only with the `lines` format. Not the default with `http_endpoint` and Splunk's `event`; not with `opensearch`."),
    key("delivery_streams[].partitioning", KeyKind::Section, "", "Dynamic partitioning. Also on, with the defaults, when the prefix asks for a key."),
    key("delivery_streams[].partitioning.jq", KeyKind::Map("key to jq filter"), "none", "Keys for `!{partitionKeyFromQuery:key}`, at most 50; each must stand in the prefix."),
    key("delivery_streams[].partitioning.partitions_max", KeyKind::Integer { min: 1, max: 50_000 }, "500", "Active partitions; records of further ones go to the error output.").beyond(),
    key("delivery_streams[].format", KeyKind::Choice, "`lines`", "How records become objects."),
    key("delivery_streams[].format.lines", KeyKind::Section, "", "Records one after the other, as they are."),
    key("delivery_streams[].format.lines.compression", KeyKind::Word(&["none", "gzip"]), "none", "Of the whole object; where requests are sent, of the objects of the backup."),
    key("delivery_streams[].format.parquet", KeyKind::Section, "", "JSON records as Parquet rows."),
    key("delivery_streams[].format.parquet.columns", COLUMNS, "", COLUMN_TYPES).required(),
    key("delivery_streams[].format.parquet.compression", KeyKind::Word(&["none", "snappy", "gzip", "zstd", "lz4"]), "snappy", "Of the pages.").beyond(),
    key("delivery_streams[].format.parquet.row_group", KeyKind::Size { min: MIB, max: GIB }, "128 MiB", "Bytes before encoding."),
    key("delivery_streams[].destination", KeyKind::Choice, "", "Where the records go.").required(),
    key("delivery_streams[].destination.file", KeyKind::Section, "", "A local directory.").beyond(),
    key("delivery_streams[].destination.file.directory", KeyKind::Path, "", "Prefixes begin here.").required(),
    key("delivery_streams[].destination.file.prefix", PREFIX, PREFIX_DEFAULT, PREFIX_MEANING),
    key("delivery_streams[].destination.file.error_output_prefix", PREFIX, ERROR_PREFIX_DEFAULT, ERROR_PREFIX_MEANING),
    key("delivery_streams[].destination.file.time_zone", ZONE, "UTC", ZONE_MEANING),
    key("delivery_streams[].destination.file.file_extension", EXTENSION, "of the format", EXTENSION_MEANING),
    key("delivery_streams[].destination.s3", KeyKind::Section, "", "A bucket at AWS or in an S3-compatible store."),
    key("delivery_streams[].destination.s3.bucket", BUCKET, "", "Must exist, unless `create_bucket` is true.").required(),
    key("delivery_streams[].destination.s3.prefix", PREFIX, PREFIX_DEFAULT, PREFIX_MEANING),
    key("delivery_streams[].destination.s3.error_output_prefix", PREFIX, ERROR_PREFIX_DEFAULT, ERROR_PREFIX_MEANING),
    key("delivery_streams[].destination.s3.time_zone", ZONE, "UTC", ZONE_MEANING),
    key("delivery_streams[].destination.s3.file_extension", EXTENSION, "of the format", EXTENSION_MEANING),
    key("delivery_streams[].destination.s3.endpoint", ENDPOINT, INHERITED, "Instead of the one in `s3`."),
    key("delivery_streams[].destination.s3.region", REGION, INHERITED, "Instead of the one in `s3`."),
    key("delivery_streams[].destination.s3.access_key_id", KeyKind::Secret, INHERITED, "Both or neither, instead of those in `s3`."),
    key("delivery_streams[].destination.s3.secret_access_key", KeyKind::Secret, INHERITED, "Both or neither, instead of those in `s3`."),
    key("delivery_streams[].destination.s3.session_token", KeyKind::Secret, INHERITED, "With static keys of its own."),
    key("delivery_streams[].destination.s3.profile", PROFILE, INHERITED, PROFILE_MEANING),
    key("delivery_streams[].destination.s3.path_style", KeyKind::Boolean, INHERITED, "Instead of the one in `s3`."),
    key("delivery_streams[].destination.s3.ca", KeyKind::Path, INHERITED, CA_MEANING).beyond(),
    key("delivery_streams[].destination.s3.server_side_encryption", ENCRYPTION, "none", ENCRYPTION_MEANING),
    key("delivery_streams[].destination.s3.kms_key_id", KMS_KEY, "of the store", KMS_KEY_MEANING),
    key("delivery_streams[].destination.s3.storage_class", STORAGE_CLASS, "of the bucket", STORAGE_CLASS_MEANING).beyond(),
    key("delivery_streams[].destination.s3.acl", ACL, "none", ACL_MEANING).beyond(),
    key("delivery_streams[].destination.s3.tags", TAGS, "none", TAGS_MEANING).beyond(),
    key("delivery_streams[].destination.s3.create_bucket", KeyKind::Boolean, "false", CREATE_BUCKET_MEANING).beyond(),
    key("delivery_streams[].destination.http_endpoint", KeyKind::Section, "", "A server that speaks Firehose's HTTP endpoint protocol. Needs `backup`."),
    key("delivery_streams[].destination.http_endpoint.url", KeyKind::Text("an `http://` or `https://` URL"), "", "Called as it is written. At AWS only `https://`.").required().beyond(),
    key("delivery_streams[].destination.http_endpoint.access_key", KeyKind::Secret, "none", "Sent as `X-Amz-Firehose-Access-Key`."),
    key("delivery_streams[].destination.http_endpoint.common_attributes", KeyKind::Map("name to text"), "none", "Sent with every request, at most 50."),
    key("delivery_streams[].destination.http_endpoint.content_encoding", KeyKind::Word(&["none", "gzip"]), "none", "Of the body of a request."),
    key("delivery_streams[].destination.http_endpoint.retry", RETRY, "300 s", RETRY_MEANING),
    key("delivery_streams[].destination.http_endpoint.request_timeout", REQUEST_TIMEOUT, "180 s", REQUEST_TIMEOUT_MEANING).beyond(),
    key("delivery_streams[].destination.http_endpoint.ca", KeyKind::Path, "none", CA_MEANING).beyond(),
    key("delivery_streams[].destination.opensearch", KeyKind::Section, "", "OpenSearch or Elasticsearch; each record is a JSON document. Needs `backup`."),
    key("delivery_streams[].destination.opensearch.endpoint", BASE_URL, "", "The cluster.").required(),
    key("delivery_streams[].destination.opensearch.index", KeyKind::Text("1 to 80 characters that an index name may have"), "", "Where the documents go.").required(),
    key("delivery_streams[].destination.opensearch.index_rotation", KeyKind::Word(&["none", "one_hour", "one_day", "one_week", "one_month"]), "one_day", "What is appended to `index`, from a record's arrival in UTC."),
    key("delivery_streams[].destination.opensearch.type_name", KeyKind::Text("1 to 100 bytes"), "none", "`_type`, for servers that have types yet."),
    key("delivery_streams[].destination.opensearch.document_id", KeyKind::Word(&["firehose_default", "no_document_id"]), "firehose_default", "Whether documents are named, so that a repeat makes no second one."),
    key("delivery_streams[].destination.opensearch.user", KeyKind::Text("1 to 256 bytes without `:`"), "none", "For basic authentication, with `password`.").beyond(),
    key("delivery_streams[].destination.opensearch.password", KeyKind::Secret, "none", "For basic authentication, with `user`.").beyond(),
    key("delivery_streams[].destination.opensearch.ca", KeyKind::Path, "none", CA_MEANING).beyond(),
    key("delivery_streams[].destination.opensearch.retry", RETRY, "300 s", RETRY_MEANING),
    key("delivery_streams[].destination.opensearch.request_size", KeyKind::Size { min: 100 << 10, max: 100 * MIB }, "5 MiB", "Bytes of one bulk request, unless one document is larger.").beyond(),
    key("delivery_streams[].destination.opensearch.request_timeout", REQUEST_TIMEOUT, "60 s", REQUEST_TIMEOUT_MEANING).beyond(),
    key("delivery_streams[].destination.splunk", KeyKind::Section, "", "Splunk's HTTP event collector with indexer acknowledgement. Needs `backup`."),
    key("delivery_streams[].destination.splunk.endpoint", BASE_URL, "", "The collector, without `/services/collector`.").required(),
    key("delivery_streams[].destination.splunk.token", KeyKind::Secret, "", "Of the collector.").required(),
    key("delivery_streams[].destination.splunk.endpoint_type", KeyKind::Word(&["raw", "event"]), "raw", "Bytes that Splunk breaks into events, or JSON objects that are events."),
    key("delivery_streams[].destination.splunk.ack_timeout", KeyKind::Duration { min: 1000, max: 600_000 }, "180 s", "How long an attempt waits for the indexer.").beyond(),
    key("delivery_streams[].destination.splunk.retry", RETRY, "3600 s", RETRY_MEANING),
    key("delivery_streams[].destination.splunk.ca", KeyKind::Path, "none", CA_MEANING).beyond(),
    key("delivery_streams[].backup", KeyKind::Section, "none", "Where failed records go that the destination has no place for, and all records if asked: one of `s3` and `file`."),
    key("delivery_streams[].backup.records", KeyKind::Word(&["failed", "all"]), "failed", "Only what was not delivered, as error records, or every record as it arrived, too. Beside objects only `all`."),
    key("delivery_streams[].backup.file", KeyKind::Section, "", "A local directory.").beyond(),
    key("delivery_streams[].backup.file.directory", KeyKind::Path, "", "Prefixes begin here.").required(),
    key("delivery_streams[].backup.file.prefix", PREFIX, PREFIX_DEFAULT, PREFIX_MEANING),
    key("delivery_streams[].backup.file.error_output_prefix", PREFIX, ERROR_PREFIX_DEFAULT, ERROR_PREFIX_MEANING),
    key("delivery_streams[].backup.file.time_zone", ZONE, "UTC", ZONE_MEANING),
    key("delivery_streams[].backup.file.file_extension", EXTENSION, "of the format", EXTENSION_MEANING),
    key("delivery_streams[].backup.s3", KeyKind::Section, "", "A bucket at AWS or in an S3-compatible store."),
    key("delivery_streams[].backup.s3.bucket", BUCKET, "", "Must exist, unless `create_bucket` is true.").required(),
    key("delivery_streams[].backup.s3.prefix", PREFIX, PREFIX_DEFAULT, PREFIX_MEANING),
    key("delivery_streams[].backup.s3.error_output_prefix", PREFIX, ERROR_PREFIX_DEFAULT, ERROR_PREFIX_MEANING),
    key("delivery_streams[].backup.s3.time_zone", ZONE, "UTC", ZONE_MEANING),
    key("delivery_streams[].backup.s3.file_extension", EXTENSION, "of the format", EXTENSION_MEANING),
    key("delivery_streams[].backup.s3.endpoint", ENDPOINT, INHERITED, "Instead of the one in `s3`."),
    key("delivery_streams[].backup.s3.region", REGION, INHERITED, "Instead of the one in `s3`."),
    key("delivery_streams[].backup.s3.access_key_id", KeyKind::Secret, INHERITED, "Both or neither, instead of those in `s3`."),
    key("delivery_streams[].backup.s3.secret_access_key", KeyKind::Secret, INHERITED, "Both or neither, instead of those in `s3`."),
    key("delivery_streams[].backup.s3.session_token", KeyKind::Secret, INHERITED, "With static keys of its own."),
    key("delivery_streams[].backup.s3.profile", PROFILE, INHERITED, PROFILE_MEANING),
    key("delivery_streams[].backup.s3.path_style", KeyKind::Boolean, INHERITED, "Instead of the one in `s3`."),
    key("delivery_streams[].backup.s3.ca", KeyKind::Path, INHERITED, CA_MEANING).beyond(),
    key("delivery_streams[].backup.s3.server_side_encryption", ENCRYPTION, "none", ENCRYPTION_MEANING),
    key("delivery_streams[].backup.s3.kms_key_id", KMS_KEY, "of the store", KMS_KEY_MEANING),
    key("delivery_streams[].backup.s3.storage_class", STORAGE_CLASS, "of the bucket", STORAGE_CLASS_MEANING).beyond(),
    key("delivery_streams[].backup.s3.acl", ACL, "none", ACL_MEANING).beyond(),
    key("delivery_streams[].backup.s3.tags", TAGS, "none", TAGS_MEANING).beyond(),
    key("delivery_streams[].backup.s3.create_bucket", KeyKind::Boolean, "false", CREATE_BUCKET_MEANING).beyond(),
];

/// Keys of versions to come.
static NOT_YET: &[&str] =
    &["secrets", "admin.tls", "delivery_streams[].processing.decompress", "delivery_streams[].format.orc"];
