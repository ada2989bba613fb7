//! `hydrant put`: the lines of a file or of stdin, by the signed AWS API.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hydrant_config::Config;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Certificate;
use url::Url;

use crate::cli::{ConfigFile, say};
use crate::client::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Client, RECORD_BYTES_MAX};
use crate::exit::{Exit, Failure, chain};

#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The delivery stream
    stream: String,
    /// One record a line; stdin without it
    file: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
    #[command(flatten)]
    config: ConfigFile,
}

impl Put {
    pub(crate) async fn execute(self) -> Result<(), Failure> {
        let config = self.config.load()?;
        let client = self.endpoint.client(&config, config.api)?;
        let (input, length): (Box<dyn BufRead>, _) = match &self.file {
            Some(path) => {
                let file = File::open(path).map_err(|error| {
                    Failure::new(Exit::Runtime, format!("cannot read `{}`: {error}", path.display()))
                })?;
                let length = file.metadata()?.len();
                (Box::new(BufReader::new(file)), Some(length))
            }
            None => (Box::new(BufReader::new(std::io::stdin())), None),
        };
        let sent = put_lines(&client, &self.stream, input, length).await?;
        let noun = if sent == 1 { "record is" } else { "records are" };
        say(format_args!("{sent} {noun} durable in `{}`", self.stream));
        Ok(())
    }
}

/// Where the API is, as a client of it sees it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Endpoint {
    /// Where the API is, as its certificate names it [default: `api.listen` of the configuration]
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// The authority of its certificate (PEM), if this machine does not trust it already
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    ca: Option<PathBuf>,
}

impl Endpoint {
    /// A client for the daemon of this configuration, which listens at `api` unless an endpoint was given.
    pub(crate) fn client(&self, config: &Config, api: SocketAddr) -> Result<Client, Failure> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            // No certificate is good for an address that is only listened at, such as 0.0.0.0.
            None if config.tls.is_some() => {
                let text =
                    "the API speaks TLS (`api.tls`), and its certificate is good for a name that is not known here";
                return Err(Failure::new(Exit::Usage, text).hint(format!(
                    "name the daemon as its certificate does: `--endpoint https://NAME:{}`, with `--ca FILE` if this machine \
                     does not know the authority",
                    api.port()
                )));
            }
            None => Url::parse(&format!("http://{api}/"))?,
        };
        // Without credentials in the YAML any well-formed signature is accepted.
        let (key, secret) = match config.credentials.as_deref().and_then(<[_]>::first) {
            Some(credential) => (credential.access_key_id.clone(), credential.secret_access_key.reveal().to_owned()),
            None => ("AKIAHYDRANTLOCAL".to_owned(), "not-checked".to_owned()),
        };
        let ca = self.ca.as_deref().map(authority).transpose()?;
        Ok(Client::new(endpoint, (key, secret), ca.unwrap_or_default())?)
    }
}

fn authority(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let certificates = read.and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(|error| chain(&error)));
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        other => {
            let why = other.err().unwrap_or_else(|| "there is no certificate in it".to_owned());
            let text = format!("--ca `{}` cannot be used: {why}", path.display());
            Err(Failure::new(Exit::Usage, text).hint("give a PEM file with the certificate of the authority"))
        }
    }
}

/// Sends every line in batches and shows how far it is on a terminal. Returns the number of records, all of them durable.
pub(crate) async fn put_lines(
    client: &Client,
    stream: &str,
    mut input: impl BufRead,
    length: Option<u64>,
) -> Result<u64, Failure> {
    let progress = progress(length);
    let (mut batch, mut batch_bytes) = (Vec::with_capacity(BATCH_RECORDS_MAX), 0);
    let (mut sent, mut line_number) = (0, 0_u64);
    loop {
        let mut line = Vec::new();
        let read = input.read_until(b'\n', &mut line)?;
        line_number += u64::from(read > 0);
        let end = line.strip_suffix(b"\n").map_or(line.len(), |text| text.strip_suffix(b"\r").unwrap_or(text).len());
        line.truncate(end);
        if line.len() > RECORD_BYTES_MAX {
            let text = format!("line {line_number} has {} bytes, a record at most {RECORD_BYTES_MAX}", line.len());
            return Err(Failure::new(Exit::Runtime, text).hint(format!("{sent} records before it were sent")));
        }
        let full = batch.len() == BATCH_RECORDS_MAX || batch_bytes + line.len() > BATCH_BYTES_MAX;
        if !batch.is_empty() && (full || read == 0) {
            client.put(stream, &batch).await?;
            sent += batch.len() as u64;
            batch.clear();
            batch_bytes = 0;
        }
        if read == 0 {
            progress.finish_and_clear();
            return Ok(sent);
        }
        progress.inc(read as u64);
        batch_bytes += line.len();
        batch.push(Bytes::from(line));
    }
}

fn progress(length: Option<u64>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let style = match length {
        Some(_) => ProgressStyle::with_template("  sending   [{bar:40}] {bytes}/{total_bytes}  {bytes_per_sec}"),
        None => ProgressStyle::with_template("  sending   {spinner} {bytes}  {bytes_per_sec}"),
    };
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
