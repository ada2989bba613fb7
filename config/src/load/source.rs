//! `from_stream`: the Kinesis stream that a delivery stream reads.

use hydrant_record::Timestamp;

use crate::model::{SourceStart, StreamSource};
use crate::raw::{Fields, Reader};

/// Outer `None`: wrong. Inner `None`: absent.
pub(super) fn source(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Option<StreamSource>> {
    if fields.place_of("from_stream").is_none() {
        fields.take(reader, "from_stream");
        return Some(None);
    }
    let section = fields.section(reader, "from_stream")?;
    let name = section.parsed(reader, "name", |text| {
        if StreamSource::allows_name(text) { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    let start = section.parsed_or_default(reader, "start", start);
    let deaggregate = section.boolean(reader, "deaggregate").unwrap_or(true);
    Some(Some(StreamSource { name: name?, start, deaggregate }))
}

fn start(text: &str) -> Result<SourceStart, String> {
    match text {
        "latest" => Ok(SourceStart::Latest),
        "trim_horizon" => Ok(SourceStart::TrimHorizon),
        time => {
            let time = chrono::DateTime::parse_from_rfc3339(time).ok();
            let millis = time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
            millis.map(|millis| SourceStart::At(Timestamp::from_millis(millis))).ok_or_else(String::new)
        }
    }
}
