//! `hydrant log dump`: records as they are stored.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

use base64_simd::STANDARD;
use chrono::DateTime;
use hydrant_disk::RealDisk;
use hydrant_record::{Lsn, Record, ShardIx, Timestamp};
use hydrant_shardlog::{Dumped, Selection, dump};
use serde_json::json;

use super::show::told;
use super::{DataDir, rfc3339, unreadable};
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    /// The name or id of a delivery stream, `catalog`, `journal/NAME`, or a path
    #[arg(value_name = "STREAM")]
    log: String,
    #[command(flatten)]
    data: DataDir,
    /// The first record
    #[arg(long, value_name = "LSN", value_parser = lsn)]
    from: Option<Lsn>,
    /// The last record
    #[arg(long, value_name = "LSN", value_parser = lsn)]
    to: Option<Lsn>,
    /// Only records of this shard
    #[arg(long, value_name = "N")]
    shard: Option<u32>,
    /// Only records that arrived then or later, like 2026-05-17T08:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only records that arrived before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One JSON object a line, the data in base64
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Only the data, and a newline behind each record
    #[arg(long)]
    raw: bool,
}

impl Dump {
    pub(super) fn execute(self) -> Result<(), Failure> {
        let place = self.data.places()?.one(&self.log)?;
        let selection = Selection {
            from: self.from,
            to: self.to,
            shard: self.shard.map(ShardIx),
            since: self.since,
            until: self.until,
        };
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut damaged = 0;
        let mut written = Ok(());
        let mut take = |met| {
            match met {
                Dumped::Record(_) if left == 0 => return ControlFlow::Break(()),
                Dumped::Record(record) => {
                    left -= 1;
                    written = self.print(&record, &mut out);
                }
                Dumped::Lost { first, last } => tracing::warn!("LSNs {first} to {last} were lost and given up earlier"),
                Dumped::Damage(damage) => {
                    damaged += 1;
                    tracing::error!("damaged: {}", told(&damage));
                }
            }
            if written.is_err() || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        dump(&RealDisk::new(), &place.dir, &selection, &mut take).map_err(|error| unreadable(&place.dir, &error))?;
        match written.and_then(|()| out.flush()) {
            // A reader that went away, as `head` does, has what it wanted.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(Failure::new(Exit::Io, format!("cannot write to stdout: {error}")));
            }
            _ => {}
        }
        if damaged == 0 {
            return Ok(());
        }
        let places = if damaged == 1 { "place" } else { "places" };
        Err(Failure::new(Exit::CorruptStore, format!("`{}` is damaged in {damaged} {places}", place.name))
            .hint("every record that can be read was printed; `hydrant log verify` tells all that cannot"))
    }

    fn print(&self, record: &Record, out: &mut impl Write) -> std::io::Result<()> {
        if self.raw {
            out.write_all(&record.data)?;
            return out.write_all(b"\n");
        }
        let (lsn, epoch, shard) = (record.lsn, record.epoch, record.shard.0);
        let arrived = rfc3339(record.arrived_at);
        if self.json {
            let key = record.partition_key.as_deref();
            let text = key.and_then(|key| std::str::from_utf8(key).ok());
            let mut line = json!({
                "lsn": lsn.get(),
                "epoch": epoch.to_string(),
                "shard": shard,
                "arrived_at": arrived,
                "partition_key": text,
                "data": STANDARD.encode_to_string(&record.data),
            });
            if let Some(key) = key.filter(|_| text.is_none()) {
                line["partition_key_base64"] = STANDARD.encode_to_string(key).into();
            }
            return writeln!(out, "{line}");
        }
        write!(out, "lsn={lsn} epoch={epoch} shard={shard} arrived={arrived}")?;
        if let Some(key) = &record.partition_key {
            field(out, "key", key)?;
        }
        field(out, "data", &record.data)?;
        writeln!(out)
    }
}

/// Quoted text, so that nothing in it can drive a terminal; base64 if it is no text.
fn field(out: &mut impl Write, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => write!(out, " {name}={text:?}"),
        Err(_) => write!(out, " {name}_base64={}", STANDARD.encode_to_string(bytes)),
    }
}

fn lsn(text: &str) -> Result<Lsn, String> {
    text.parse().ok().and_then(Lsn::new).ok_or_else(|| "an LSN is a whole number from 1 on".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time = DateTime::parse_from_rfc3339(text).ok();
    let millis = time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    let wanted = "a time is like 2026-05-17T08:30:00Z or 2026-05-17T10:30:00.250+02:00";
    millis.map(Timestamp::from_millis).ok_or_else(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lsns_are_read_as_people_write_them() {
        let at = Timestamp::from_millis(1_779_006_600_250);
        assert_eq!(time("2026-05-17T08:30:00.250Z"), Ok(at));
        assert_eq!(time("2026-05-17T10:30:00.250+02:00"), Ok(at));
        assert_eq!(rfc3339(at), "2026-05-17T08:30:00.250Z");
        assert!(time("yesterday").is_err() && time("1969-01-01T00:00:00Z").is_err());
        assert_eq!(lsn("7"), Ok(Lsn::new(7).unwrap()));
        assert!(lsn("0").is_err() && lsn("-1").is_err() && lsn("x").is_err());
    }

    #[test]
    fn what_producers_sent_cannot_drive_a_terminal() {
        let shown = |bytes: &[u8]| {
            let mut out = Vec::new();
            field(&mut out, "data", bytes).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(b"a\x1b[2J\"\n"), r#" data="a\u{1b}[2J\"\n""#);
        assert_eq!(shown("grün".as_bytes()), " data=\"grün\"");
        assert_eq!(shown(&[0xff, 0xfe]), " data_base64=//4=");
    }
}
