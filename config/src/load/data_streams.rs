//! The sections `limits` and `streams`: Kinesis Data Streams.

use std::time::Duration;

use crate::raw::{Fields, Reader, Value};
use crate::{DataStream, DataStreamName, KinesisLimits};

use super::sections::parse_region;

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn limits(root: &Fields<'_>, reader: &mut Reader<'_>) -> KinesisLimits {
    let section = root.section_or_empty(reader, "limits");
    KinesisLimits {
        shard_records_in: section.limit(reader, "shard_records_in"),
        shard_bytes_in: section.limit(reader, "shard_bytes_in"),
        shard_bytes_out: section.limit(reader, "shard_bytes_out"),
        shard_reads: section.limit(reader, "shard_reads"),
        control_calls: section.word(reader, "control_calls") == "aws",
        shards: section.limit(reader, "shards"),
        on_demand_streams: section.limit(reader, "on_demand_streams"),
        consumers: section.limit(reader, "consumers"),
        subscription: section.duration(reader, "subscription"),
    }
}

pub(super) fn streams(root: &Fields<'_>, reader: &mut Reader<'_>) -> Vec<DataStream> {
    let mut streams: Vec<DataStream> = Vec::new();
    for item in root.items(reader, "streams") {
        let Some(stream) = stream(&item, reader) else { continue };
        if streams.iter().any(|other| other.name == stream.name) {
            reader.problem(&item, format!("the name `{}` stands twice", stream.name), "names must be distinct");
        }
        streams.push(stream);
    }
    streams
}

fn stream(item: &Value<'_>, reader: &mut Reader<'_>) -> Option<DataStream> {
    let fields = item.fields(reader)?;
    let name = fields.parsed(reader, "name", |text| DataStreamName::parse(text).ok_or_else(String::new));
    let region = fields.parsed(reader, "region", parse_region);
    let on_demand = fields.word(reader, "mode") == "on_demand";
    let shards = u32::try_from(fields.integer(reader, "shards")).unwrap_or(u32::MAX);
    let retention = fields.duration(reader, "retention");
    if !retention.as_millis().is_multiple_of(HOUR.as_millis()) {
        let hint = Some("write it as `36 h` or `7 d`".to_owned());
        let message = format!("must be whole hours, got {}", crate::quantity::show_duration(retention));
        reader.findings.problem(fields.place_of("retention"), &format!("{}.retention", fields.path), message, hint);
    }
    let retention_hours = u32::try_from(retention.as_secs() / HOUR.as_secs()).unwrap_or(u32::MAX);
    Some(DataStream { name: name?, region, on_demand, shards, retention_hours })
}
