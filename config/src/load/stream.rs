//! One delivery stream: its parts each by itself, then together by [`DeliveryStream::new`].

use chrono_tz::Tz;

use super::sections;
use crate::JqKeys;
use crate::model::{
    Buffering, DeliveryStream, DeliveryStreamSpec, Destination, Format, LineCompression, LogCompression, LogPolicy,
    Naming, Parquet, ParquetCompression, Partitioning, Plugin, Processing, S3Connection, SpecProblem, StreamName,
};
use crate::naming::{NamingMember, NamingProblem};
use crate::raw::{Fields, Kind, Reader, Value};

/// `None` if any of them is wrong.
pub(super) fn delivery_streams(
    root: &Fields<'_>,
    reader: &mut Reader<'_>,
    s3: Option<&S3Connection>,
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
        match (delivery_stream(&fields, reader, name, s3), &mut all) {
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
    s3: Option<&S3Connection>,
) -> Option<DeliveryStream> {
    let region = fields.parsed(reader, "region", sections::parse_region);
    let buffering = buffering(fields, reader);
    let log = log(fields, reader);
    let format = format(fields, reader);
    let processing = processing(fields, reader, format.as_ref());
    let partitioning = partitioning(fields, reader);
    let partitioned = matches!(&partitioning, Some(Some(_)));
    let destination = destination(fields, reader, partitioned, s3);
    let (processing, destination) = (processing?, destination?);
    let partitioning = partitioning?.or_else(|| {
        let keyed = !destination.naming().prefix.keys().is_empty();
        keyed.then_some(Partitioning { jq: None, partitions_max: 500 })
    });
    let name = name?;
    let format = format?;
    let spec = DeliveryStreamSpec {
        name,
        region,
        buffering,
        log,
        processing,
        partitioning,
        format,
        destination,
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

fn buffering(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Buffering {
    let section = fields.section_or_empty(reader, "buffering");
    Buffering { size: section.size(reader, "size"), interval: section.duration(reader, "interval") }
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

/// `None` if a plugin is wrong: then nothing can be said about partition keys.
fn processing(fields: &Fields<'_>, reader: &mut Reader<'_>, format: Option<&Format>) -> Option<Processing> {
    let section = fields.section_or_empty(reader, "processing");
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
    Some(Processing { plugins, append_delimiter: delimiter.unwrap_or(lines) })
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

fn destination(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    partitioned: bool,
    s3: Option<&S3Connection>,
) -> Option<Destination> {
    let (kind, section) = fields.choice(reader, "destination")?;
    if kind == "file" {
        let directory = section.path(reader, "directory");
        let naming = naming(&section, reader, partitioned);
        return Some(Destination::File { directory: directory?, naming: naming? });
    }
    let bucket = section.parsed(reader, "bucket", |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let valid = (1..=255).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != "..";
        if valid {
            Ok(text.to_owned())
        } else {
            Err("the name alone; what follows it belongs into `prefix`".to_owned())
        }
    });
    let naming = naming(&section, reader, partitioned);
    let connection = sections::connection(&section, reader, s3);
    Some(Destination::S3 { bucket: bucket?, connection, naming: naming? })
}

fn naming(section: &Fields<'_>, reader: &mut Reader<'_>, partitioned: bool) -> Option<Naming> {
    let prefix = section.text(reader, "prefix");
    let error_output_prefix = section.text(reader, "error_output_prefix");
    let time_zone = section.parsed_or_default(reader, "time_zone", |text| {
        text.parse::<Tz>().map_err(|_| "such as `Europe/Berlin`; `UTC` is the default".to_owned())
    });
    let file_extension = section.parsed(reader, "file_extension", |text| {
        if Naming::allows_file_extension(text) { Ok(text.to_owned()) } else { Err("such as `.json.gz`".to_owned()) }
    });
    let unread = |name: &str, got: bool| section.place_of(name).is_some() && !got;
    if unread("prefix", prefix.is_some()) || unread("error_output_prefix", error_output_prefix.is_some()) {
        return None;
    }
    let text = |pair: &Option<(Value<'_>, String)>| pair.as_ref().map(|(_, text)| text.clone());
    match Naming::new(text(&prefix).as_deref(), text(&error_output_prefix).as_deref(), partitioned) {
        Ok(mut naming) => {
            naming.time_zone = time_zone;
            naming.file_extension = file_extension.filter(|text| !text.is_empty());
            Some(naming)
        }
        Err(problems) => {
            for problem in problems {
                let value = match problem.member {
                    NamingMember::Prefix => prefix.as_ref(),
                    NamingMember::ErrorOutputPrefix => error_output_prefix.as_ref(),
                };
                report_naming(section, reader, problem, value.map(|(value, _)| value));
            }
            None
        }
    }
}

/// At the expression, if the text stands in the file as it is.
fn report_naming(section: &Fields<'_>, reader: &mut Reader<'_>, problem: NamingProblem, value: Option<&Value<'_>>) {
    let NamingProblem { member, offset, message, hint } = problem;
    let name = match member {
        NamingMember::Prefix => "prefix",
        NamingMember::ErrorOutputPrefix => "error_output_prefix",
    };
    let mut at = section.nearest_place(name);
    if let (Some(offset), Some(Value { node, .. })) = (offset, value)
        && let Kind::Scalar(scalar) = &node.kind
        && let Some(text_column) = scalar.text_column
        && !scalar.text.contains("${")
    {
        at.column += text_column + offset;
    }
    reader.findings.problem(Some(at), &format!("{}.{name}", section.path), message, hint);
}
