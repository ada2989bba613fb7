//! Who may reach the daemon, and how: addresses, TLS, credentials. Nobody is let in from elsewhere without a credential.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::model::{Credential, TlsFiles};
use crate::policy::{Pattern, Policy, Statement, parse_action, parse_resource};
use crate::problem::At;
use crate::raw::{Fields, Reader, Value};

const ACTION: &str = "an operation such as `firehose:PutRecord`, `*` standing for any text";
const RESOURCE: &str = "`delivery_stream/NAME`, `stream/NAME` or an ARN, `*` standing for any text";

/// An address to listen on and where it was written.
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    at: Option<At>,
}

/// How the API is reached.
pub(super) struct Api {
    pub(super) listen: Listen,
    pub(super) tls: Option<TlsFiles>,
}

/// Of the API and of the admin port.
pub(super) fn addresses(root: &Fields<'_>, reader: &mut Reader<'_>) -> (Api, Listen) {
    let section = root.section_or_empty(reader, "api");
    let (api, tls) = (listen(&section, reader), tls(&section, reader));
    let section = root.section_or_empty(reader, "admin");
    let admin = listen(&section, reader);
    if api.address == admin.address && api.address.port() != 0 {
        let message = format!("must differ from `api.listen`, got `{}` for both", admin.address);
        reader.findings.problem(admin.at.or(api.at), "admin.listen", message, Some("choose another port".to_owned()));
    }
    if !admin.address.ip().is_loopback() {
        let hint = Some("keep it on loopback, or behind a firewall".to_owned());
        let message = format!("everybody who reaches {} can read metrics and state", admin.address);
        reader.findings.warn(admin.at, "admin.listen", message, hint);
    }
    (Api { listen: api, tls }, admin)
}

fn listen(section: &Fields<'_>, reader: &mut Reader<'_>) -> Listen {
    let address = section.parsed_or_default(reader, "listen", |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| "write it as `127.0.0.1:4567`, `0.0.0.0:4567` or `[::1]:4567`".to_owned())
    });
    Listen { address, at: section.place_of("listen") }
}

/// That the files are certificates is the front door's to tell.
fn tls(api: &Fields<'_>, reader: &mut Reader<'_>) -> Option<TlsFiles> {
    let section = api.section(reader, "tls")?;
    let [certificate, key, client_ca] =
        ["certificate", "key", "client_ca"].map(|name| existing_file(&section, reader, name));
    Some(TlsFiles { certificate: certificate?, key: key?, client_ca })
}

fn existing_file(section: &Fields<'_>, reader: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
    let path = section.path(reader, name)?;
    if !path.is_file() {
        let hint = Some("the path is relative to the YAML file".to_owned());
        let message = format!("file not found, got `{}`", path.display());
        reader.findings.problem(section.place_of(name), &format!("{}.{name}", section.path), message, hint);
    }
    Some(path)
}

/// `None` without the section.
pub(super) fn credentials(root: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Vec<Credential>> {
    let list = root.take(reader, "credentials")?;
    let items = list.items(reader);
    if items.is_empty() {
        reader.problem(
            &list,
            "must name at least one credential, got none",
            "without the section anybody may call, on loopback only",
        );
    }
    let mut credentials: Vec<Credential> = Vec::new();
    for item in items {
        let Some(fields) = item.fields(reader) else { continue };
        let id = fields.parsed(reader, "access_key_id", |text| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let valid = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
            if valid { Ok(text.to_owned()) } else { Err("for a variable write `${NAME}`".to_owned()) }
        });
        let secret = fields.secret(reader, "secret_access_key");
        let session_token = fields.secret(reader, "session_token");
        let policy = policy(&fields, reader);
        let (Some(access_key_id), Some(secret_access_key)) = (id, secret) else { continue };
        if credentials.iter().any(|other| other.access_key_id == access_key_id) {
            reader.problem(&item, format!("the key id `{access_key_id}` stands twice"), "remove one of them");
        }
        credentials.push(Credential { access_key_id, secret_access_key, session_token, policy });
    }
    Some(credentials)
}

fn policy(credential: &Fields<'_>, reader: &mut Reader<'_>) -> Policy {
    let allow = credential.take(reader, "allow").map(|list| statements(&list, reader));
    let deny = credential.take(reader, "deny").map(|list| statements(&list, reader));
    Policy { allow, deny: deny.unwrap_or_default() }
}

fn statements(list: &Value<'_>, reader: &mut Reader<'_>) -> Vec<Statement> {
    let mut statements = Vec::new();
    for item in list.items(reader) {
        let Some(fields) = item.fields(reader) else { continue };
        let actions = patterns(&fields, reader, ("actions", parse_action));
        let resources = patterns(&fields, reader, ("resources", parse_resource));
        statements.push(Statement { actions, resources });
    }
    statements
}

type Parse = fn(&str) -> Result<Pattern, String>;

/// Everything, if the list is absent; an empty one is a mistake.
fn patterns(fields: &Fields<'_>, reader: &mut Reader<'_>, (name, parse): (&str, Parse)) -> Vec<Pattern> {
    let Some(list) = fields.take(reader, name) else { return vec![Pattern::new("*")] };
    let items = list.items(reader);
    if items.is_empty() {
        reader.problem(&list, "must name at least one, got none", format!("without `{name}` the statement covers all"));
    }
    let mut patterns = Vec::new();
    for item in items {
        let Some(text) = item.text(reader) else { continue };
        match parse(&text) {
            Ok(pattern) => patterns.push(pattern),
            Err(hint) => item.refuse(reader, if name == "actions" { ACTION } else { RESOURCE }, hint),
        }
    }
    patterns
}

/// Without credentials the API must not be reachable from elsewhere.
pub(super) fn check_access(
    root: &Fields<'_>,
    reader: &mut Reader<'_>,
    api: &Listen,
    credentials: Option<&[Credential]>,
) {
    if credentials.is_some() || root.place_of("credentials").is_some() {
        return;
    }
    if api.address.ip().is_loopback() {
        let message = format!("no `credentials`: everybody on this machine who reaches {} may write", api.address);
        reader.findings.warn(None, "", message, Some("add `credentials` before others share the machine".to_owned()));
    } else {
        let message = format!("must be a loopback address without `credentials`, got `{}`", api.address);
        let hint = "add `credentials: [{ access_key_id: …, secret_access_key: env:NAME }]`".to_owned();
        reader.findings.problem(api.at, "api.listen", message, Some(hint));
    }
}
