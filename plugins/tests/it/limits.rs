//! Memory, CPU, output, keys, and what a guest may ask of the host.

use std::time::Duration;

use hydrant_plugins::SourceMeta;

use crate::{MISBEHAVE, inputs, load, misbehave, plugin, run, told};

#[test]
fn memory_beyond_the_limit_is_refused_inside_the_guest() {
    insta::assert_snapshot!(run(&misbehave(), &["leak 20", "leak 40"]).join("\n"), @r"
ok: leaked 20
error: wasm trap: wasm `unreachable` instruction executed, after it asked for more than its `memory` of 32 MiB
");
}

#[test]
fn the_limit_is_the_plugins_own() {
    let mut plugin = plugin(MISBEHAVE);
    plugin.memory = 96 << 20;
    assert_eq!(run(&load(&plugin), &["leak 20", "leak 40"]), ["ok: leaked 20", "ok: leaked 40"]);
}

#[test]
fn work_within_the_cpu_limit_is_not_disturbed_by_epochs() {
    let told = run(&misbehave(), &["spin 50000000"]);
    assert!(told[0].starts_with("ok: "), "{told:?}");
}

#[test]
fn cpu_time_is_counted_per_batch_not_per_instance() {
    let mut plugin = plugin(MISBEHAVE);
    plugin.cpu_per_batch = Duration::from_millis(400);
    let mut transform = load(&plugin).transform();
    for _ in 0..12 {
        let outcome = &transform.transform(&inputs(&["spin 50000000"])).unwrap()[0];
        assert!(told(outcome).starts_with("ok: "), "{outcome:?}");
    }
}

#[test]
fn too_much_output_fails_the_record_that_gave_it() {
    let mut plugin = plugin(MISBEHAVE);
    plugin.memory = 128 << 20;
    let told = run(&load(&plugin), &["a", "big 20", "big 1"]);
    assert_eq!(told[0], "ok: a");
    insta::assert_snapshot!(told[1], @"error: gave more than four times its input plus 16 MiB at once");
    assert_eq!(told[2].len(), "ok: ".len() + (1 << 20));
}

#[test]
fn fifty_partition_keys_and_no_more() {
    insta::assert_snapshot!(run(&misbehave(), &["many-keys", "keys a=1,b=2"]).join("\n"), @r"
error: gave 51 partition keys; at most 50 are allowed
ok: keys a=1,b=2 a=1 b=2
");
}

#[test]
fn a_guest_is_told_its_configuration_stream_and_a_time_that_stands_still() {
    let told = run(&misbehave(), &["config greeting", "config other", "stream", "time", "id", "trap", "time"]);
    insta::assert_snapshot!(told.join("\n"), @r"
ok: hello
ok: none
ok: access-logs
ok: 1007
ok: 5.0 1005
error: wasm trap: wasm `unreachable` instruction executed
ok: 1007
");
}

#[test]
fn the_source_of_a_record_is_passed_on() {
    let mut records = inputs(&["source", "source", "subsequence", "subsequence"]);
    records[1].source = Some(SourceMeta {
        shard: "shardId-000000000003".to_owned(),
        sequence: "49".to_owned(),
        subsequence: 7,
        partition_key: Some("user-7".to_owned()),
    });
    records[3].source = records[1].source.clone();
    let outcomes = misbehave().transform().transform(&records).unwrap();
    let told: Vec<String> = outcomes.iter().map(told).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
ok: none
ok: shardId-000000000003 49 Some("user-7")
ok: None
ok: Some(7)
"#);
}

#[test]
fn a_batch_that_was_repeated_is_counted_once() {
    let loaded = misbehave();
    run(&loaded, &["tally seen", "trap", "tally seen", "tally seen"]);
    assert_eq!(loaded.counters()["seen"], 3);
}

#[test]
fn names_of_counters_are_bounded() {
    let loaded = misbehave();
    let names: Vec<String> = (0..200).map(|n| format!("tally name{n}")).collect();
    let long = format!("tally {}", "x".repeat(100));
    let texts: Vec<&str> = std::iter::once(&*long).chain(names.iter().map(String::as_str)).collect();
    run(&loaded, &texts);
    let counters = loaded.counters();
    assert_eq!(counters.len(), 64);
    assert!(counters.keys().all(|name| name.len() <= 64));
}

#[test]
fn a_thousand_log_lines_hold_nobody_up() {
    assert_eq!(run(&misbehave(), &["log noise"]), ["dropped"]);
}

#[test]
fn four_threads_share_one_plugin() {
    let loaded = misbehave();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let told = run(&loaded, &["a", "trap", "b"]);
                assert_eq!([&*told[0], &*told[2]], ["ok: a", "ok: b"]);
            });
        }
    });
}
