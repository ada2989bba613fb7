//! A plugin that does what each record's text tells it, for the tests of the host: `trap`, `loop`, `grow`, ...

use std::cell::Cell;
use std::hint::black_box;

wit_bindgen::generate!({ path: "../../../wit", world: "transform" });

use hydrant::transform::host;
use hydrant::transform::types::OutputRecord;

struct Misbehave;
export!(Misbehave);

thread_local! {
    /// Lives as long as the instance does.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

impl Guest for Misbehave {
    fn process(records: Vec<InputRecord>) -> Result<Vec<Outcome>, BatchError> {
        CALLS.set(CALLS.get() + 1);
        host::count("batches", 1);
        let mut outcomes = Vec::with_capacity(records.len());
        for (index, record) in (0..).zip(&records) {
            let asked = std::str::from_utf8(&record.data).unwrap_or("");
            let (verb, argument) = asked.split_once(' ').unwrap_or((asked, ""));
            match verb {
                "count" => continue,
                "retry" => return Err(BatchError::Retry(argument.to_owned())),
                "fatal" => return Err(BatchError::Fatal(argument.to_owned())),
                "subsequence" => outcomes.push(text(format!("{:?}", host::subsequence(index)))),
                _ => outcomes.push(answer(record, verb, argument)),
            }
        }
        Ok(outcomes)
    }
}

fn answer(record: &InputRecord, verb: &str, argument: &str) -> Outcome {
    match verb {
        "trap" => unreachable!("asked for"),
        "loop" => loop {
            black_box(());
        },
        "stack" => text(deep(1).to_string()),
        "grow" => leak(usize::MAX),
        "leak" => leak(argument.parse().unwrap_or(0)),
        "spin" => text(spin(argument.parse().unwrap_or(0)).to_string()),
        "drop" => Outcome::Dropped,
        "fail" => Outcome::Failed(argument.to_owned()),
        "big" => data(vec![b'x'; argument.parse::<usize>().unwrap_or(0) << 20], Vec::new()),
        "keys" => {
            let keys = argument.split(',').filter_map(|pair| pair.split_once('='));
            data(record.data.clone(), keys.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
        }
        "many-keys" => data(record.data.clone(), (0..51).map(|n| (format!("k{n}"), n.to_string())).collect()),
        "calls" => text(CALLS.get().to_string()),
        "config" => text(host::config(argument).unwrap_or_else(|| "none".to_owned())),
        "time" => text(host::batch_time_ms().to_string()),
        "stream" => text(host::stream_name()),
        "id" => text(format!("{} {}", record.id, record.arrival_ms)),
        "source" => text(record.source.as_ref().map_or("none".to_owned(), |source| {
            format!("{} {} {:?}", source.shard, source.sequence, source.partition_key)
        })),
        "tally" => {
            host::count(argument, 1);
            Outcome::Dropped
        }
        "log" => {
            (0..1000).for_each(|_| host::log(host::Level::Warn, argument));
            Outcome::Dropped
        }
        _ => data(record.data.clone(), Vec::new()),
    }
}

fn data(data: Vec<u8>, partition_keys: Vec<(String, String)>) -> Outcome {
    Outcome::Ok(OutputRecord { data, partition_keys })
}

fn text(text: String) -> Outcome {
    data(text.into_bytes(), Vec::new())
}

/// Takes memory, a MiB at a time, and never gives it back.
fn leak(mebibytes: usize) -> Outcome {
    for _ in 0..mebibytes {
        std::mem::forget(black_box(vec![1_u8; 1 << 20]));
    }
    text(format!("leaked {mebibytes}"))
}

fn spin(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, n| black_box(sum ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[allow(unconditional_recursion)]
fn deep(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    deep(frame[7] + 1) + frame[8]
}
