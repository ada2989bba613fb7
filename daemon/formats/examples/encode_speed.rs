//! Nanoseconds per record from JSON to object bytes, on records of about 515 bytes as an access log has them.
//! `cargo run --release -p hydrant-formats --example encode_speed [RECORDS]`

use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hydrant_config::{Column, ColumnKind, LineCompression, ParquetCompression};
use hydrant_formats::{Encoder, LinesEncoder, ParquetEncoder};

const ROUNDS: usize = 5;

fn main() -> io::Result<()> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let records = records(count);
    let mut out = io::stdout().lock();
    let bytes: usize = records.iter().map(Bytes::len).sum();
    writeln!(out, "{count} records, {} bytes each", bytes / count.max(1))?;
    let parquet =
        |compression| -> Box<dyn Encoder> { Box::new(ParquetEncoder::new(&columns(), compression, 128 << 20)) };
    let encoders: [(&str, Box<dyn Encoder>); 6] = [
        ("lines", Box::new(LinesEncoder::new(LineCompression::None, true))),
        ("lines gzip", Box::new(LinesEncoder::new(LineCompression::Gzip, true))),
        ("parquet none", parquet(ParquetCompression::None)),
        ("parquet snappy", parquet(ParquetCompression::Snappy)),
        ("parquet zstd", parquet(ParquetCompression::Zstd)),
        ("parquet gzip", parquet(ParquetCompression::Gzip)),
    ];
    for (name, mut encoder) in encoders {
        let (mut best, mut size) = (Duration::MAX, 0);
        for _ in 0..ROUNDS {
            let mut object = Vec::with_capacity(bytes);
            let start = Instant::now();
            let encoded = encoder
                .encode(&mut records.iter().map(|record| Ok(record.clone())), &mut object)
                .map_err(io::Error::other)?;
            best = best.min(start.elapsed());
            size = object.len();
            if encoded.records != count as u64 {
                return Err(io::Error::other(format!("{:?}", encoded.rejected.first())));
            }
        }
        let nanos = best.as_nanos() as f64 / count as f64;
        let speed = bytes as f64 / best.as_secs_f64() / 1e6;
        writeln!(
            out,
            "{name:<16} {nanos:>7.0} ns/record {speed:>7.0} MB/s, {:.3} of the size",
            size as f64 / bytes as f64
        )?;
    }
    Ok(())
}

fn columns() -> Vec<Column> {
    let columns = [
        ("ts", ColumnKind::Timestamp),
        ("request_id", ColumnKind::String),
        ("ip", ColumnKind::String),
        ("user_id", ColumnKind::Bigint),
        ("method", ColumnKind::String),
        ("host", ColumnKind::String),
        ("path", ColumnKind::String),
        ("status", ColumnKind::Int),
        ("bytes", ColumnKind::Bigint),
        ("duration", ColumnKind::Double),
        ("cached", ColumnKind::Boolean),
        ("referer", ColumnKind::String),
        ("user_agent", ColumnKind::String),
        ("region", ColumnKind::String),
    ];
    columns.into_iter().map(|(name, kind)| Column { name: name.to_owned(), kind }).collect()
}

fn records(count: usize) -> Vec<Bytes> {
    // xorshift: data that neither repeats nor differs from run to run.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|index| {
            let (a, b, c) = (next(), next(), next());
            let method = ["GET", "GET", "GET", "POST", "PUT"][(a % 5) as usize];
            let status = [200, 200, 200, 304, 404, 500][(b % 6) as usize];
            let second = index / 50 % 60;
            let minute = index / 3000 % 60;
            Bytes::from(format!(
                concat!(
                    r#"{{"ts":"2026-03-01T10:{:02}:{:02}.{:06}Z","request_id":"{:016x}-{:08x}","ip":"10.{}.{}.{}","#,
                    r#""user_id":{},"method":"{}","host":"shop-{}.example.com","path":"/catalog/{}/item/{}?ref={:x}","#,
                    r#""status":{},"bytes":{},"duration":0.{:06},"cached":{},"referer":"https://www.example.com/search?q={:x}","#,
                    r#""user_agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.{} (KHTML, like Gecko) Chrome/1{}.0.0.0 Safari/537.36","#,
                    r#""region":"eu-central-{}","trace":{{"span":"{:016x}","sampled":true}}}}"#
                ),
                minute, second, a % 1_000_000, a, b >> 32, a % 4, b % 256, c % 256, c % 100_000, method, a % 12,
                b % 40, c % 5000, b & 0xffff, status, c % 60_000, b % 1_000_000, a % 2 == 0, c & 0xfff_ffff, a % 40,
                b % 30, a % 3, c
            ))
        })
        .collect()
}
