//! Which objects a record belongs to, decided in LSN order while a chunk is gathered.

use std::collections::HashSet;

use hydrant_config::{DeliveryStreamSpec, Destination, KeySource, Partition, Prefix};
use hydrant_formats::{ErrorKind, ErrorRecord};
use hydrant_plugins::{FailureCode, Input};
use hydrant_record::Timestamp;

use crate::retry::Refused;

/// Objects of a chunk that share a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    Output(Partition),
    /// Finished error lines, by error output type.
    Errors(ErrorType),
}

impl Group {
    /// Of the output.
    pub(crate) fn partition(&self) -> Option<&Partition> {
        match self {
            Group::Output(partition) => Some(partition),
            Group::Errors(_) => None,
        }
    }
}

/// Values of `!{firehose:error-output-type}` that a chunk can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ErrorType {
    ProcessingFailed,
    FormatConversion,
    MetadataExtraction,
    ActivePartitionExceeded,
    HttpEndpoint,
    OpenSearch,
    Splunk,
}

impl ErrorType {
    pub(crate) const ALL: [ErrorType; 7] = [
        ErrorType::ProcessingFailed,
        ErrorType::FormatConversion,
        ErrorType::MetadataExtraction,
        ErrorType::ActivePartitionExceeded,
        ErrorType::HttpEndpoint,
        ErrorType::OpenSearch,
        ErrorType::Splunk,
    ];

    /// Of records that the destination refuses.
    pub(crate) fn of_destination(destination: &Destination) -> ErrorType {
        match destination {
            Destination::Objects(_) => ErrorType::FormatConversion,
            Destination::HttpEndpoint(_) => ErrorType::HttpEndpoint,
            Destination::OpenSearch(_) => ErrorType::OpenSearch,
            Destination::Splunk(_) => ErrorType::Splunk,
        }
    }

    pub(crate) fn output_type(self) -> &'static str {
        match self {
            ErrorType::ProcessingFailed => "processing-failed",
            ErrorType::FormatConversion => "format-conversion-failed",
            ErrorType::MetadataExtraction => "metadata-extraction-failed",
            ErrorType::ActivePartitionExceeded => "activePartitionExceeded",
            ErrorType::HttpEndpoint => "http-endpoint-failed",
            ErrorType::OpenSearch => "AmazonOpenSearchService-failed",
            ErrorType::Splunk => "splunk-failed",
        }
    }
}

/// What a record was to be at OpenSearch; empty where there are no documents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) index: String,
    pub(crate) type_name: String,
}

/// Why a record goes to the error output.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorType,
    pub(crate) code: String,
    pub(crate) message: String,
    /// The plugin that failed it.
    pub(crate) plugin: Option<String>,
    pub(crate) attempts: u32,
    /// When the last attempt ended; `None` is now.
    pub(crate) ended: Option<Timestamp>,
}

impl Failure {
    pub(crate) fn of_plugin(code: FailureCode, message: String, plugin: String) -> Failure {
        let code = match code {
            FailureCode::ProcessingFailedStatus => "Lambda.ProcessingFailedStatus",
            FailureCode::FunctionError => "Lambda.FunctionError",
        };
        Failure { plugin: Some(plugin), ..Failure::new(ErrorType::ProcessingFailed, code, message) }
    }

    pub(crate) fn of_partitioning(message: String) -> Failure {
        Failure::new(ErrorType::MetadataExtraction, "DynamicPartitioning.MetadataExtractionFailed", message)
    }

    pub(crate) fn of_conversion(code: &str, message: String) -> Failure {
        Failure::new(ErrorType::FormatConversion, code, message)
    }

    /// What a destination said of items of a request.
    pub(crate) fn of_request(kind: ErrorType, refused: &Refused) -> Failure {
        let failure = Failure::new(kind, &refused.code, refused.message.clone());
        Failure { attempts: refused.attempts, ended: Some(refused.ended), ..failure }
    }

    /// At the first attempt.
    pub(crate) fn new(kind: ErrorType, code: &str, message: String) -> Failure {
        Failure { kind, code: code.to_owned(), message, plugin: None, attempts: 1, ended: None }
    }

    /// One NDJSON line in AWS's form. `original` is the record as it was put, so that a replay can put it again.
    pub(crate) fn line(&self, original: &Input, now: Timestamp) -> Vec<u8> {
        self.line_of(original, now, &Document::default())
    }

    /// As `line`, for a record that was to be this document.
    pub(crate) fn line_of(&self, original: &Input, now: Timestamp, document: &Document) -> Vec<u8> {
        let (sequence_number, sub) = (original.unit.lsn.to_string(), original.unit.sub);
        let data_id = format!("{sequence_number}.{sub}");
        let kind = match self.kind {
            ErrorType::ProcessingFailed => {
                ErrorKind::ProcessingFailed { lambda_arn: self.plugin.as_deref().unwrap_or_default() }
            }
            ErrorType::FormatConversion => {
                ErrorKind::FormatConversion { sequence_number: &sequence_number, sub_sequence_number: sub.into() }
            }
            ErrorType::MetadataExtraction => ErrorKind::MetadataExtraction,
            ErrorType::ActivePartitionExceeded => ErrorKind::ActivePartitionExceeded,
            ErrorType::HttpEndpoint => ErrorKind::HttpEndpoint { data_id: &data_id, sub_sequence_number: sub.into() },
            ErrorType::OpenSearch => ErrorKind::OpenSearch {
                document_id: &document.id,
                index_name: &document.index,
                type_name: &document.type_name,
            },
            ErrorType::Splunk => ErrorKind::Splunk { event_id: &data_id },
        };
        let mut line = Vec::with_capacity(original.data.len() * 4 / 3 + 400);
        let record = ErrorRecord {
            raw_data: &original.data,
            error_code: &self.code,
            error_message: &self.message,
            attempts_made: self.attempts,
            arrival_timestamp: original.arrived_at,
            attempt_ending_timestamp: self.ended.unwrap_or(now),
            kind,
        };
        record.write_line(&mut line);
        line
    }
}

/// Finds the group of each record and holds the partition limit.
#[derive(Debug)]
pub(crate) struct Partitioner {
    prefix: Prefix,
    jq: Option<hydrant_config::JqKeys>,
    /// Without partitioning there is one partition and no limit.
    partitions_max: Option<u32>,
    open: HashSet<Partition>,
}

impl Partitioner {
    pub(crate) fn new(stream: &DeliveryStreamSpec) -> Partitioner {
        // Where requests are sent this is the backup's, which has no partitions either.
        let prefix = &stream.error_store().naming.prefix;
        let partitioned = !prefix.keys().is_empty();
        Partitioner {
            prefix: prefix.clone(),
            jq: stream.partitioning.as_ref().and_then(|partitioning| partitioning.jq.clone()),
            partitions_max: partitioned
                .then(|| stream.partitioning.as_ref().map_or(500, |partitioning| partitioning.partitions_max)),
            open: HashSet::new(),
        }
    }

    /// Whether a chunk can have more than one output partition.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.partitions_max.is_some()
    }

    /// The partition of every record, where nothing of a record has a say in it.
    pub(crate) fn only(&self) -> Option<Partition> {
        let decided = self.is_partitioned() || self.jq.is_some();
        if decided { None } else { self.prefix.partition(&|_, _| None).ok() }
    }

    /// The partition of a transformed record, given the keys that the plugins set.
    pub(crate) fn place(&mut self, data: &[u8], plugin_keys: &[(String, String)]) -> Result<Partition, Failure> {
        let from_query = match &self.jq {
            Some(jq) => jq.evaluate(data).map_err(|error| Failure::of_partitioning(error.to_string()))?,
            None => Vec::new(),
        };
        let names = self.jq.as_ref().map_or(&[][..], |jq| jq.names());
        let lookup = |source: KeySource, key: &str| match source {
            KeySource::Query => {
                names.iter().position(|name| name == key).and_then(|at| from_query.get(at)).map(String::as_str)
            }
            KeySource::Lambda => {
                plugin_keys.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
            }
        };
        let partition = self.prefix.partition(&lookup).map_err(|key| {
            Failure::of_partitioning(format!("the plugin set no partition key `{key}`, which the prefix asks for"))
        })?;
        self.admit(&partition)?;
        Ok(partition)
    }

    /// The next chunk begins with no partition open.
    pub(crate) fn reset(&mut self) {
        self.open.clear();
    }

    fn admit(&mut self, partition: &Partition) -> Result<(), Failure> {
        let Some(max) = self.partitions_max else { return Ok(()) };
        if self.open.contains(partition) {
            return Ok(());
        }
        if self.open.len() >= max as usize {
            let message = format!("{max} partitions are active; raise `partitioning.partitions_max` or use fewer keys");
            let code = "DynamicPartitioning.ActivePartitionExceeded";
            return Err(Failure::new(ErrorType::ActivePartitionExceeded, code, message));
        }
        self.open.insert(partition.clone());
        Ok(())
    }
}
