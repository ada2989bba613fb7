//! A failed record, as Hydrant and Amazon Data Firehose write it into an error output: one JSON object a line, the record as
//! it was put as base64 in `rawData`. The other members differ from kind to kind; the three that are read here do not, but for
//! the code of a format conversion, which is called `lastErrorCode`.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

/// Base64 of the largest record and a long message.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// As at OpenSearch.
const DOCUMENT_ID_BYTES_MAX: usize = 512;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One line of an error output.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The record as it was put.
    pub(super) data: Bytes,
    pub(super) code: String,
    /// In milliseconds since 1970.
    pub(super) arrived_at: u64,
    /// Of the document that it was to be.
    pub(super) document_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    raw_data: Cow<'a, str>,
    #[serde(alias = "lastErrorCode", default)]
    error_code: Option<String>,
    arrival_timestamp: u64,
    #[serde(alias = "osDocumentId", default)]
    es_document_id: Option<String>,
}

impl Failed {
    pub(super) fn parse(line: &[u8]) -> Result<Failed, String> {
        if !line.starts_with(b"{") {
            return Err("it is no JSON object".to_owned());
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| format!("it is no error record: {error}"))?;
        let data = base64_simd::STANDARD.decode_to_vec(line.raw_data.as_bytes());
        let data = data.map_err(|_| "its `rawData` is not base64".to_owned())?;
        let document_id = line.es_document_id.filter(|id| (1..=DOCUMENT_ID_BYTES_MAX).contains(&id.len()));
        let (code, arrived_at) = (line.error_code.unwrap_or_default(), line.arrival_timestamp);
        Ok(Failed { data: data.into(), code, arrived_at, document_id })
    }

    /// It failed before it had the form that a destination gets.
    pub(super) fn is_of_a_plugin(&self) -> bool {
        self.code.starts_with("Lambda.")
    }
}

/// The lines of an object, unpacked if it is gzip, numbered from 0. Blank ones are passed over, but counted.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    next: u64,
}

impl Lines {
    pub(super) fn of(object: Bytes) -> Lines {
        let packed = object.starts_with(&GZIP);
        let plain = std::io::Cursor::new(object);
        let reader: Box<dyn Read + Send> = if packed { Box::new(MultiGzDecoder::new(plain)) } else { Box::new(plain) };
        Lines { reader: BufReader::new(reader), next: 0 }
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<(u64, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut line = Vec::new();
            match (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
            if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                return Some(Err(std::io::Error::other(format!("a line is longer than {LINE_BYTES_MAX} bytes"))));
            }
            let number = self.next;
            self.next += 1;
            let text = line.trim_ascii();
            if !text.is_empty() {
                return Some(Ok((number, text.to_vec())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Of each kind, as the developer guide prints them.
    const LINES: &[&str] = &[
        r#"{"attemptsMade":4,"arrivalTimestamp":1538078800384,"errorCode":"Lambda.FunctionError","errorMessage":"The Lambda function was successfully invoked but it returned an error result.","attemptEndingTimestamp":1538078870161,"rawData":"aGVsbG8=","lambdaArn":"arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST"}"#,
        r#"{"rawData":"aGVsbG8=","errorCode":"Lambda.FunctionError","errorMessage":"m","attemptsMade":4,"arrivalTimestamp":1538078800384,"attemptEndingTimestamp":1538078870161,"lambdaARN":"arn"}"#,
        r#"{"attemptsMade":1,"arrivalTimestamp":1538078800384,"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"m","attemptEndingTimestamp":1538078870161,"rawData":"aGVsbG8=","sequenceNumber":"4958","subSequenceNumber":null,"dataCatalogTable":{"catalogId":null,"databaseName":"d","tableName":"t","region":"us-east-1","versionId":"LATEST","roleArn":"r"}}"#,
        r#"{"attemptsMade":5,"arrivalTimestamp":1538078800384,"errorCode":"HttpEndpoint.DestinationException","errorMessage":"m","attemptEndingTimestamp":1538078870161,"rawData":"aGVsbG8=","subsequenceNumber":0,"dataId":"4958.0"}"#,
        r#"{"attemptsMade":8,"arrivalTimestamp":1538078800384,"errorCode":"400","errorMessage":"{\"type\":\"mapper_parsing_exception\"}","attemptEndingTimestamp":1538078870161,"esDocumentId":"4958.0","esIndexName":"i-2018-09-27","esTypeName":"","rawData":"aGVsbG8="}"#,
        r#"{"attemptsMade":0,"arrivalTimestamp":1538078800384,"errorCode":"Splunk.AckTimeout","errorMessage":"m","attemptEndingTimestamp":13626284715507,"rawData":"aGVsbG8=","EventId":"4958.0"}"#,
    ];

    #[test]
    fn every_kind_is_read() {
        for line in LINES {
            let failed = Failed::parse(line.as_bytes()).unwrap_or_else(|problem| panic!("{problem}: {line}"));
            assert_eq!((&failed.data[..], failed.arrived_at), (&b"hello"[..], 1_538_078_800_384), "{line}");
            assert!(!failed.code.is_empty(), "{line}");
            assert_eq!(failed.document_id.as_deref(), line.contains("DocumentId").then_some("4958.0"), "{line}");
        }
    }

    #[test]
    fn other_lines_are_no_failed_records() {
        for line in
            ["", "text", "{}", r#"{"id":1}"#, r#"{"rawData":"a","arrivalTimestamp":1}"#, r#"{"rawData":"aGk="}"#]
        {
            Failed::parse(line.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn lines_are_numbered_and_unpacked() {
        let read = |bytes: &[u8]| Lines::of(Bytes::copy_from_slice(bytes)).collect::<Result<Vec<_>, _>>().unwrap();
        let expected = vec![(0, b"a".to_vec()), (2, b"b".to_vec()), (3, b"c".to_vec())];
        assert_eq!(read(b"a\n\nb\r\nc"), expected);
        let mut packed = Vec::new();
        for member in ["a\n\n", "b\nc\n"] {
            let mut gzip = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
            gzip.write_all(member.as_bytes()).unwrap();
            gzip.finish().unwrap();
        }
        assert_eq!(read(&packed), expected);
        assert_eq!(read(b""), []);
        assert!(Lines::of(Bytes::from(packed[..packed.len() - 9].to_vec())).any(|line| line.is_err()), "cut off");
    }
}
