//! AWS's error records: one line of JSON for each record that could not be delivered, its bytes as base64 unchanged.

use hydrant_record::Timestamp;
use serde::Serialize;

/// What goes into the error output for one record. Fields and their order are AWS's, per kind.
#[derive(Clone, Copy, Debug)]
pub struct ErrorRecord<'a> {
    /// The record as it arrived, before any transform.
    pub raw_data: &'a [u8],
    pub error_code: &'a str,
    pub error_message: &'a str,
    pub attempts_made: u32,
    pub arrival_timestamp: Timestamp,
    pub attempt_ending_timestamp: Timestamp,
    pub kind: ErrorKind<'a>,
}

/// Where the record failed, and what only that place tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind<'a> {
    ProcessingFailed {
        lambda_arn: &'a str,
    },
    FormatConversion {
        sequence_number: &'a str,
        sub_sequence_number: u64,
    },
    MetadataExtraction,
    ActivePartitionExceeded,
    /// `data_id` is `<sequence>.<sub>`.
    HttpEndpoint {
        data_id: &'a str,
        sub_sequence_number: u64,
    },
    OpenSearch {
        document_id: &'a str,
        index_name: &'a str,
        type_name: &'a str,
    },
    /// `event_id` is `<sequence>.<sub>`.
    Splunk {
        event_id: &'a str,
    },
}

impl ErrorKind<'_> {
    /// The value of `!{firehose:error-output-type}`.
    #[must_use]
    pub fn output_type(&self) -> &'static str {
        match self {
            ErrorKind::ProcessingFailed { .. } => "processing-failed",
            ErrorKind::FormatConversion { .. } => "format-conversion-failed",
            ErrorKind::MetadataExtraction => "metadata-extraction-failed",
            ErrorKind::ActivePartitionExceeded => "activePartitionExceeded",
            ErrorKind::HttpEndpoint { .. } => "http-endpoint-failed",
            ErrorKind::OpenSearch { .. } => "AmazonOpenSearchService-failed",
            ErrorKind::Splunk { .. } => "splunk-failed",
        }
    }
}

impl ErrorRecord<'_> {
    /// Appends the record and a newline.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let raw_data = base64_simd::STANDARD.encode_to_string(self.raw_data);
        let (arrived, ended) = (self.arrival_timestamp.as_millis(), self.attempt_ending_timestamp.as_millis());
        match self.kind {
            ErrorKind::ProcessingFailed { lambda_arn } => push(
                out,
                &ProcessingFailed {
                    raw_data,
                    error_code: self.error_code,
                    error_message: self.error_message,
                    attempts_made: self.attempts_made,
                    arrival_timestamp: arrived,
                    attempt_ending_timestamp: ended,
                    lambda_arn,
                },
            ),
            ErrorKind::FormatConversion { sequence_number, sub_sequence_number } => push(
                out,
                &ConversionFailed {
                    attempts_made: self.attempts_made,
                    arrival_timestamp: arrived,
                    last_error_code: self.error_code,
                    last_error_message: self.error_message,
                    attempt_ending_timestamp: ended,
                    raw_data,
                    sequence_number,
                    sub_sequence_number,
                    data_catalog_table: (),
                },
            ),
            ErrorKind::MetadataExtraction | ErrorKind::ActivePartitionExceeded => {
                self.push_failed(out, OfPartitioning { raw_data });
            }
            ErrorKind::HttpEndpoint { data_id, sub_sequence_number } => {
                self.push_failed(out, OfHttpEndpoint { raw_data, subsequence_number: sub_sequence_number, data_id });
            }
            ErrorKind::OpenSearch { document_id, index_name, type_name } => {
                self.push_failed(out, OfOpenSearch { document_id, index_name, type_name, raw_data });
            }
            ErrorKind::Splunk { event_id } => self.push_failed(out, OfSplunk { raw_data, event_id }),
        }
    }

    /// The members that most kinds begin with, and those of one kind.
    fn push_failed<T: Serialize>(&self, out: &mut Vec<u8>, more: T) {
        push(
            out,
            &Failed {
                attempts_made: self.attempts_made,
                arrival_timestamp: self.arrival_timestamp.as_millis(),
                error_code: self.error_code,
                error_message: self.error_message,
                attempt_ending_timestamp: self.attempt_ending_timestamp.as_millis(),
                more,
            },
        );
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessingFailed<'a> {
    raw_data: String,
    error_code: &'a str,
    error_message: &'a str,
    attempts_made: u32,
    arrival_timestamp: u64,
    attempt_ending_timestamp: u64,
    /// Not `lambdaArn`, as the guide prints it.
    #[serde(rename = "lambdaARN")]
    lambda_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionFailed<'a> {
    attempts_made: u32,
    arrival_timestamp: u64,
    last_error_code: &'a str,
    last_error_message: &'a str,
    attempt_ending_timestamp: u64,
    raw_data: String,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    /// Null: the schema is not from a catalog.
    data_catalog_table: (),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a, T> {
    attempts_made: u32,
    arrival_timestamp: u64,
    error_code: &'a str,
    error_message: &'a str,
    attempt_ending_timestamp: u64,
    #[serde(flatten)]
    more: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPartitioning {
    raw_data: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfHttpEndpoint<'a> {
    raw_data: String,
    subsequence_number: u64,
    data_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfOpenSearch<'a> {
    #[serde(rename = "esDocumentId")]
    document_id: &'a str,
    #[serde(rename = "esIndexName")]
    index_name: &'a str,
    #[serde(rename = "esTypeName")]
    type_name: &'a str,
    raw_data: String,
}

#[derive(Serialize)]
struct OfSplunk<'a> {
    #[serde(rename = "rawData")]
    raw_data: String,
    /// With a capital, as AWS writes it.
    #[serde(rename = "EventId")]
    event_id: &'a str,
}

fn push<T: Serialize>(out: &mut Vec<u8>, line: &T) {
    serde_json::to_writer(&mut *out, line).expect("strings and numbers into memory");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: ErrorKind<'_>) -> String {
        let record = ErrorRecord {
            raw_data: b"\x00hello\xff",
            error_code: "Some.Code",
            error_message: "said \"no\"\nand left",
            attempts_made: 4,
            arrival_timestamp: Timestamp::from_millis(1_789_014_240_448),
            attempt_ending_timestamp: Timestamp::from_millis(1_789_014_301_529),
            kind,
        };
        let mut out = b"before\n".to_vec();
        record.write_line(&mut out);
        String::from_utf8(out).unwrap().strip_prefix("before\n").unwrap().to_owned()
    }

    #[test]
    fn lines_have_the_names_and_order_of_aws() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:clean";
        assert_eq!(
            line(ErrorKind::ProcessingFailed { lambda_arn: arn }),
            concat!(
                r#"{"rawData":"AGhlbGxv/w==","errorCode":"Some.Code","errorMessage":"said \"no\"\nand left","#,
                r#""attemptsMade":4,"arrivalTimestamp":1789014240448,"attemptEndingTimestamp":1789014301529,"#,
                r#""lambdaARN":"arn:aws:lambda:us-east-1:123456789012:function:clean"}"#,
                "\n"
            )
        );
        assert_eq!(
            line(ErrorKind::FormatConversion { sequence_number: "495", sub_sequence_number: 2 }),
            concat!(
                r#"{"attemptsMade":4,"arrivalTimestamp":1789014240448,"lastErrorCode":"Some.Code","#,
                r#""lastErrorMessage":"said \"no\"\nand left","attemptEndingTimestamp":1789014301529,"#,
                r#""rawData":"AGhlbGxv/w==","sequenceNumber":"495","subSequenceNumber":2,"dataCatalogTable":null}"#,
                "\n"
            )
        );
        let six = concat!(
            r#"{"attemptsMade":4,"arrivalTimestamp":1789014240448,"errorCode":"Some.Code","#,
            r#""errorMessage":"said \"no\"\nand left","attemptEndingTimestamp":1789014301529,"#,
            r#""rawData":"AGhlbGxv/w=="}"#,
            "\n"
        );
        assert_eq!(line(ErrorKind::MetadataExtraction), six);
        assert_eq!(line(ErrorKind::ActivePartitionExceeded), six);
    }

    #[test]
    fn lines_of_destinations_that_take_requests() {
        let five = concat!(
            r#"{"attemptsMade":4,"arrivalTimestamp":1789014240448,"errorCode":"Some.Code","#,
            r#""errorMessage":"said \"no\"\nand left","attemptEndingTimestamp":1789014301529,"#,
        );
        for (kind, rest) in [
            (
                ErrorKind::HttpEndpoint { data_id: "495.2", sub_sequence_number: 2 },
                r#""rawData":"AGhlbGxv/w==","subsequenceNumber":2,"dataId":"495.2"}"#,
            ),
            (ErrorKind::Splunk { event_id: "495.0" }, r#""rawData":"AGhlbGxv/w==","EventId":"495.0"}"#),
            (
                ErrorKind::OpenSearch { document_id: "d", index_name: "i-2026", type_name: "" },
                r#""esDocumentId":"d","esIndexName":"i-2026","esTypeName":"","rawData":"AGhlbGxv/w=="}"#,
            ),
        ] {
            assert_eq!(line(kind), format!("{five}{rest}\n"));
        }
    }

    #[test]
    fn output_types_are_the_prefix_values() {
        let arn = ErrorKind::ProcessingFailed { lambda_arn: "" };
        let conversion = ErrorKind::FormatConversion { sequence_number: "1", sub_sequence_number: 0 };
        let http = ErrorKind::HttpEndpoint { data_id: "", sub_sequence_number: 0 };
        let search = ErrorKind::OpenSearch { document_id: "", index_name: "", type_name: "" };
        let requests = [http, search, ErrorKind::Splunk { event_id: "" }].map(|kind| kind.output_type());
        assert_eq!(requests, ["http-endpoint-failed", "AmazonOpenSearchService-failed", "splunk-failed"]);
        let kinds = [arn, conversion, ErrorKind::MetadataExtraction, ErrorKind::ActivePartitionExceeded];
        let names = kinds.map(|kind| kind.output_type());
        assert_eq!(
            names,
            ["processing-failed", "format-conversion-failed", "metadata-extraction-failed", "activePartitionExceeded"]
        );
    }
}
