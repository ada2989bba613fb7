//! One delivery stream: its parts each by itself, then together by [`DeliveryStream::new`].

use super::destination::{self, Own};
use super::sections;
use crate::JqKeys;
use crate::destination::{Destination, S3Connection, SplunkEndpoint};
use crate::model::{
    AccountId, Buffering, DeliveryStream, DeliveryStreamSpec, Format, HistoryPolicy, LineCompression, LogCompression,
    LogPolicy, Parquet, ParquetCompression, Partitioning, Plugin, Processing, SpecProblem, StreamName, SubRecords,
};
use crate::raw::{Fields, Reader, Value};

/// What a destination that takes requests buffers unless it is told: Firehose's default.
const REQUEST_BYTES: u64 = 5 << 20;
/// The largest buffer there is.
const CHUNK_BYTES: u64 = 1 << 30;

/// `None` if any of them is wrong.
pub(super) fn delivery_streams(
    root: &Fields<'_>,
    reader: &mut Reader<'_>,
    (account, s3): (&AccountId, Option<&S3Connection>),
) -> Option<Vec<DeliveryStream>> {
    let mut all = Some(Vec::new());
    let mut names: Vec<(StreamName, String)> = Vec::new();
    for item in root.items(reader, "delivery_streams") {
        let Some(fields) = item.fields(reader) else {
            all = None;
            continue;
        };
        let name = fields.parsed(reader, "name", |text| StreamName::parse(text).ok_or_else(String::new));
        if let Some(name) = &name {
            check_distinct(&fields, reader, name, &mut names);
        }
        match (delivery_stream(&fields, reader, name, (account, s3)), &mut all) {
            (Some(stream), Some(all)) => all.push(stream),
            (None, _) => all = None,
            (Some(_), None) => {}
        }
    }
    all
}

fn check_distinct(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    name: &StreamName,
    names: &mut Vec<(StreamName, String)>,
) {
    let path = format!("{}.name", fields.path);
    if let Some((_, first)) = names.iter().find(|(other, _)| other == name) {
        let message = format!("must be distinct, got `{name}`, which is `{first}` too");
        reader.findings.problem(fields.place_of("name"), &path, message, Some("choose another name".to_owned()));
    }
    names.push((name.clone(), path));
}

fn delivery_stream(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    name: Option<StreamName>,
    (account, s3): (&AccountId, Option<&S3Connection>),
) -> Option<DeliveryStream> {
    let region = fields.parsed(reader, "region", sections::parse_region);
    let source = super::source::source(fields, reader);
    let log = log(fields, reader);
    let history = history(fields, reader);
    let backlog_max = fields.size_if_given(reader, "backlog_max");
    let partitioning = partitioning(fields, reader);
    let partitioned = matches!(&partitioning, Some(Some(_)));
    let own = Own { account, region: region.as_deref(), name: name.as_ref() };
    let destination = destination::destination(fields, reader, partitioned, (s3, &own));
    let buffering = buffering(fields, reader, destination.as_ref());
    let format = format(fields, reader);
    let backup = destination::backup(fields, reader, (s3, format.as_ref()));
    let processing = processing(fields, reader, format.as_ref(), destination.as_ref());
    let (processing, destination, backup) = (processing?, destination?, backup?);
    let partitioning = partitioning?.or_else(|| {
        let keyed = destination.objects().is_some_and(|store| !store.naming.prefix.keys().is_empty());
        keyed.then_some(Partitioning { jq: None, partitions_max: 500 })
    });
    let (name, source) = (name?, source?);
    let format = format?;
    let spec = DeliveryStreamSpec {
        name,
        region,
        source,
        buffering,
        log,
        history,
        backlog_max,
        processing,
        partitioning,
        format,
        destination,
        backup,
        version_id: 1,
    };
    DeliveryStream::new(spec).map_err(|problems| report(fields, reader, problems)).ok()
}

fn report(fields: &Fields<'_>, reader: &mut Reader<'_>, problems: Vec<SpecProblem>) {
    for SpecProblem { path, message, hint } in problems {
        let at = Some(fields.nearest_place(path));
        reader.findings.problem(at, &format!("{}.{path}", fields.path), message, hint);
    }
}

fn buffering(fields: &Fields<'_>, reader: &mut Reader<'_>, destination: Option<&Destination>) -> Buffering {
    let section = fields.section_or_empty(reader, "buffering");
    let mut size = section.size(reader, "size");
    let requests = destination.is_some_and(|destination| destination.objects().is_none());
    let object_size = section.size_if_given(reader, "object_size");
    if section.place_of("size").is_none() {
        size = match object_size {
            _ if requests => REQUEST_BYTES,
            Some(_) => CHUNK_BYTES,
            None => size,
        };
    }
    Buffering { size, object_size, interval: section.duration(reader, "interval") }
}

fn log(fields: &Fields<'_>, reader: &mut Reader<'_>) -> LogPolicy {
    let section = fields.section_or_empty(reader, "log");
    let compression = match section.word(reader, "compression") {
        "lz4" => LogCompression::Lz4,
        "zstd" => LogCompression::Zstd,
        _ => LogCompression::None,
    };
    LogPolicy {
        compression,
        retention: section.duration(reader, "retention"),
        size_max: section.size(reader, "size_max"),
        expire_undelivered: section.boolean(reader, "expire_undelivered").unwrap_or(false),
    }
}

fn history(fields: &Fields<'_>, reader: &mut Reader<'_>) -> HistoryPolicy {
    let section = fields.section_or_empty(reader, "history");
    HistoryPolicy { retention: section.duration(reader, "retention"), size_max: section.size(reader, "size_max") }
}

/// `None` if a plugin is wrong: then nothing can be said about partition keys.
fn processing(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    format: Option<&Format>,
    destination: Option<&Destination>,
) -> Option<Processing> {
    let section = fields.section_or_empty(reader, "processing");
    let deaggregate = deaggregate(&section, reader);
    let items = section.items(reader, "plugins");
    let plugins: Vec<Option<Plugin>> = items
        .iter()
        .map(|item| item.fields(reader).and_then(|fields| sections::plugin(&fields, reader, "path")))
        .collect();
    let delimiter = section.boolean(reader, "append_delimiter");
    let lines = !matches!(format, Some(Format::Parquet(_)));
    if delimiter.is_some() && !lines {
        let path = format!("{}.append_delimiter", section.path);
        let message = "only the `lines` format has delimiters, got `parquet`";
        let hint = Some("remove the key".to_owned());
        reader.findings.problem(section.place_of("append_delimiter"), &path, message, hint);
    }
    let plugins = plugins.into_iter().collect::<Option<Vec<Plugin>>>()?;
    let in_lines = match destination {
        None | Some(Destination::Objects(_)) => lines,
        Some(Destination::Splunk(splunk)) => splunk.endpoint_type == SplunkEndpoint::Raw,
        Some(Destination::HttpEndpoint(_) | Destination::OpenSearch(_)) => false,
    };
    Some(Processing { deaggregate: deaggregate?, plugins, append_delimiter: delimiter.unwrap_or(in_lines) })
}

/// Outer `None`: wrong. Inner `None`: absent.
fn deaggregate(processing: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Option<SubRecords>> {
    let Some((kind, section)) = processing.choice(reader, "deaggregate") else {
        return processing.place_of("deaggregate").is_none().then_some(None);
    };
    if kind == "json" {
        return Some(Some(SubRecords::Json));
    }
    let delimited = |text: &str| SubRecords::delimited(text.as_bytes().to_vec()).ok_or_else(String::new);
    section.parsed(reader, "delimiter", delimited).map(Some)
}

/// Outer `None`: wrong. Inner `None`: absent.
fn partitioning(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Option<Partitioning>> {
    if fields.place_of("partitioning").is_none() {
        fields.take(reader, "partitioning");
        return Some(None);
    }
    let section = fields.section(reader, "partitioning")?;
    let partitions_max = u32::try_from(section.integer(reader, "partitions_max")).unwrap_or(u32::MAX);
    let jq = match section.take(reader, "jq") {
        Some(map) => Some(jq_keys(&map, reader)?),
        None if section.place_of("jq").is_some() => return None,
        None => None,
    };
    Some(Some(Partitioning { jq, partitions_max }))
}

/// Each filter by itself, so that a problem stands at its own line.
fn jq_keys(map: &Value<'_>, reader: &mut Reader<'_>) -> Option<JqKeys> {
    let mut filters = Vec::new();
    let mut valid = true;
    for (entry, value) in map.entries(reader) {
        let Some(filter) = value.text(reader) else {
            valid = false;
            continue;
        };
        let pair = (entry.key.clone(), filter);
        if let Err(error) = JqKeys::from_filters(std::slice::from_ref(&pair)) {
            reader.problem(
                &value,
                error.to_string(),
                "a filter gives one scalar for each record, such as `.customer_id`",
            );
            valid = false;
        }
        filters.push(pair);
    }
    if valid && filters.is_empty() {
        reader.problem(map, "must have at least one key, got none", "remove `jq`");
        return None;
    }
    if !valid {
        return None;
    }
    JqKeys::from_filters(&filters).map_err(|error| reader.problem(map, error.to_string(), "")).ok()
}

fn format(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Format> {
    let Some((kind, section)) = fields.choice(reader, "format") else {
        let lines = Format::Lines { compression: LineCompression::None };
        return fields.place_of("format").is_none().then_some(lines);
    };
    if kind == "lines" {
        let compression = match section.word(reader, "compression") {
            "gzip" => LineCompression::Gzip,
            _ => LineCompression::None,
        };
        return Some(Format::Lines { compression });
    }
    let schema = sections::columns(&section, reader);
    let compression = match section.word(reader, "compression") {
        "none" => ParquetCompression::None,
        "gzip" => ParquetCompression::Gzip,
        "zstd" => ParquetCompression::Zstd,
        "lz4" => ParquetCompression::Lz4,
        _ => ParquetCompression::Snappy,
    };
    let row_group = section.size(reader, "row_group");
    Some(Format::Parquet(Parquet { schema: schema?, compression, row_group }))
}
