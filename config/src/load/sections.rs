//! The sections above the delivery streams but `access`, and the pieces that occur in several places: plugins, columns,
//! connections.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::destination::{Authorities, Profile, S3Connection, S3Keys};
use crate::model::{AccountId, Column, ColumnKind, OnError, Plugin, Schema};
use crate::raw::{Fields, Reader, Value};

const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

pub(super) fn data_dir(root: &Fields<'_>, reader: &mut Reader<'_>) -> PathBuf {
    // systemd gives several directories separated by colons; the first is the unit's own.
    let state = reader.env.get("STATE_DIRECTORY").ok();
    let state =
        state.as_deref().and_then(|list| list.split(':').next()).filter(|first| !first.is_empty()).map(PathBuf::from);
    root.path(reader, "data_dir").or(state).unwrap_or_else(|| reader.resolve("./hydrant-data"))
}

pub(super) fn account(root: &Fields<'_>, reader: &mut Reader<'_>) -> AccountId {
    root.parsed_or_default(reader, "account", |text| AccountId::parse(text).ok_or_else(String::new))
}

pub(super) fn s3(root: &Fields<'_>, reader: &mut Reader<'_>) -> Option<S3Connection> {
    let section = root.section(reader, "s3")?;
    Some(connection(&section, reader, None))
}

/// What `fields` say, else what is inherited, else the default. Keys and profile are inherited together or not at all.
pub(super) fn connection(
    fields: &Fields<'_>,
    reader: &mut Reader<'_>,
    inherited: Option<&S3Connection>,
) -> S3Connection {
    let endpoint = fields.parsed(reader, "endpoint", parse_endpoint);
    let region = fields.parsed(reader, "region", parse_region);
    let path_style = fields.boolean(reader, "path_style");
    let own_endpoint = endpoint.is_some();
    let endpoint = endpoint.or_else(|| inherited.and_then(|s3| s3.endpoint.clone()));
    let inherited_style = inherited.map(|s3| s3.path_style).filter(|_| !own_endpoint);
    let path_style = path_style.or(inherited_style).unwrap_or(endpoint.is_some());
    let region = region.or_else(|| inherited.map(|s3| s3.region.clone())).unwrap_or_else(|| "us-east-1".to_owned());
    let (own_keys, own_profile) = (keys(fields, reader), profile(fields, reader));
    if let (Some(at), Some(_)) = (fields.place_of("profile"), fields.place_of("access_key_id")) {
        let hint = Some("remove `profile`, or the keys".to_owned());
        let path = format!("{}.profile", fields.path);
        reader.findings.problem(Some(at), &path, "keys stand beside it, and only one of both can sign", hint);
    }
    let (keys, profile) = match (own_keys, own_profile) {
        (None, None) => inherited.map(|s3| (s3.keys.clone(), s3.profile.clone())).unwrap_or_default(),
        own => own,
    };
    let ca = authorities(fields, reader, "ca").or_else(|| inherited.and_then(|s3| s3.ca.clone()));
    S3Connection { endpoint, region, keys, profile, ca, path_style }
}

fn profile(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Profile> {
    let name = fields.parsed(reader, "profile", |text| {
        let valid = (1..=128).contains(&text.len()) && !text.contains(']') && text.trim() == text;
        if valid { Ok(text.to_owned()) } else { Err("the name alone, such as `default`".to_owned()) }
    })?;
    let home = |home: String| PathBuf::from(home).join(".aws/credentials");
    let env = reader.env;
    let file = env.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(|_| env.get("HOME").map(home));
    let Ok(file) = file else {
        let hint = Some("set `$AWS_SHARED_CREDENTIALS_FILE` to the file that holds the profile".to_owned());
        let path = format!("{}.profile", fields.path);
        let message = "neither `$AWS_SHARED_CREDENTIALS_FILE` nor `$HOME` is set";
        reader.findings.problem(fields.place_of("profile"), &path, message, hint);
        return None;
    };
    Some(Profile { name, file })
}

fn keys(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<S3Keys> {
    let access_key_id = fields.secret(reader, "access_key_id");
    let secret_access_key = fields.secret(reader, "secret_access_key");
    let session_token = fields.secret(reader, "session_token");
    let names = ["access_key_id", "secret_access_key", "session_token"];
    let [id, secret, token] = names.map(|name| fields.place_of(name));
    let lone = match (id, secret, token) {
        (Some(at), None, _) => Some((at, names[0], names[1])),
        (None, Some(at), _) => Some((at, names[1], names[0])),
        (None, None, Some(at)) => Some((at, names[2], names[0])),
        _ => None,
    };
    if let Some((at, name, partner)) = lone {
        let path = format!("{}.{name}", fields.path);
        let hint = Some(format!("add `{partner}`, or remove `{name}`"));
        reader.findings.problem(Some(at), &path, format!("needs `{partner}` beside it"), hint);
    }
    Some(S3Keys { access_key_id: access_key_id?, secret_access_key: secret_access_key?, session_token })
}

/// A file of certificates in PEM. It is read here, so that a wrong path is a problem of the file that names it.
pub(super) fn authorities(fields: &Fields<'_>, reader: &mut Reader<'_>, name: &str) -> Option<Authorities> {
    let path = fields.path(reader, name)?;
    let wrong = match std::fs::read(&path) {
        Ok(pem) if pem.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) => {
            return Some(Authorities { path, pem: pem.into() });
        }
        Ok(_) => {
            (format!("no certificate is in `{}`", path.display()), "it must be PEM, with `-----BEGIN CERTIFICATE-----`")
        }
        Err(error) => (format!("cannot read `{}`: {error}", path.display()), "the path is relative to the YAML file"),
    };
    let (message, hint) = wrong;
    reader.findings.problem(fields.place_of(name), &format!("{}.{name}", fields.path), message, Some(hint.to_owned()));
    None
}

pub(super) fn lambda(root: &Fields<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, Plugin> {
    let Some(map) = root.take(reader, "lambda") else { return BTreeMap::new() };
    let mut plugins = BTreeMap::new();
    for (entry, value) in map.entries(reader) {
        if !is_function_arn(&entry.key) {
            let message = format!("the key must be a Lambda function ARN, got `{}`", entry.key);
            let hint = "write `\"arn:aws:lambda:us-east-1:123456789012:function:NAME\"`".to_owned();
            reader.findings.problem(Some(entry.at), &value.path, message, Some(hint));
        }
        let Some(fields) = value.fields(reader) else { continue };
        if let Some(mut plugin) = plugin(&fields, reader, "plugin") {
            plugin.arn = Some(entry.key.clone());
            plugins.insert(entry.key.clone(), plugin);
        }
    }
    plugins
}

pub(super) fn glue(root: &Fields<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, Schema> {
    let Some(map) = root.take(reader, "glue") else { return BTreeMap::new() };
    let mut tables = BTreeMap::new();
    for (entry, value) in map.entries(reader) {
        let named =
            entry.key.split_once('.').is_some_and(|(database, table)| !database.is_empty() && !table.is_empty());
        if !named || entry.key.matches('.').count() != 1 {
            let message = format!("the key must be `database.table`, got `{}`", entry.key);
            reader.findings.problem(Some(entry.at), &value.path, message, None);
        }
        let Some(fields) = value.fields(reader) else { continue };
        if let Some(schema) = columns(&fields, reader) {
            tables.insert(entry.key.clone(), schema);
        }
    }
    tables
}

/// The `columns` of a section.
pub(super) fn columns(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Schema> {
    let map = fields.take(reader, "columns")?;
    let entries = map.entries(reader);
    let count = entries.len();
    let mut columns = Vec::with_capacity(count);
    for (entry, value) in entries {
        let Some(text) = value.text(reader) else { continue };
        match ColumnKind::parse(&text) {
            Ok(kind) => columns.push(Column { name: entry.key.clone(), kind }),
            Err(hint) => value.refuse(reader, &ColumnKind::allowed(), hint),
        }
    }
    if columns.len() < count {
        return None;
    }
    Schema::new(columns).map_err(|message| reader.problem(&map, message, "")).ok()
}

/// A plugin whose file stands under `path_key`. That the file is WASM, and the right one, is the plugin host's to tell.
pub(super) fn plugin(fields: &Fields<'_>, reader: &mut Reader<'_>, path_key: &str) -> Option<Plugin> {
    let path = plugin_path(fields, reader, path_key);
    let sha256 = fields.parsed(reader, "sha256", parse_sha256);
    let config = texts(fields, reader, "config");
    let memory = fields.size(reader, "memory");
    let cpu_per_batch: Duration = fields.duration(reader, "cpu_per_batch");
    let on_error = match fields.word(reader, "on_error") {
        "stop" => OnError::Stop,
        _ => OnError::FailRecord,
    };
    Some(Plugin { path: path?, sha256, config, memory, cpu_per_batch, on_error, arn: None })
}

fn plugin_path(fields: &Fields<'_>, reader: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
    let path = fields.path(reader, name)?;
    if !path.is_file() {
        let at = fields.place_of(name);
        let hint = Some("the path is relative to the YAML file".to_owned());
        let message = format!("plugin file not found, got `{}`", path.display());
        reader.findings.problem(at, &format!("{}.{name}", fields.path), message, hint);
    }
    Some(path)
}

fn texts(fields: &Fields<'_>, reader: &mut Reader<'_>, name: &str) -> BTreeMap<String, String> {
    let Some(map) = fields.take(reader, name) else { return BTreeMap::new() };
    let entries: Vec<(_, Value<'_>)> = map.entries(reader);
    entries.into_iter().filter_map(|(entry, value)| Some((entry.key.clone(), value.text(reader)?))).collect()
}

fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let hint = || "`sha256sum FILE` prints it".to_owned();
    if text.len() != 64 || !text.is_ascii() {
        return Err(hint());
    }
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| hint())?;
    }
    Ok(digest)
}

fn parse_endpoint(text: &str) -> Result<Url, String> {
    let hint = || "write it as `http://127.0.0.1:9000`; the bucket has its own key".to_owned();
    let url = Url::parse(text).map_err(|_| hint())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if bare && web && anonymous { Ok(url) } else { Err(hint()) }
}

pub(super) fn parse_region(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
    if valid { Ok(text.to_owned()) } else { Err("lower-case letters, digits and `-`".to_owned()) }
}

fn is_function_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts.as_slice(), ["arn", partition, "lambda", region, account, "function", name, ..]
        if partition.starts_with("aws") && !region.is_empty() && AccountId::parse(account).is_some() && !name.is_empty())
}
