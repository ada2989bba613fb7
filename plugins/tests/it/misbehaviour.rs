//! Whatever a guest does, every record is answered, and only those at fault are failed.

use hydrant_config::OnError;
use hydrant_plugins::{Host, HostOptions};

use crate::{MISBEHAVE, inputs, load, misbehave, plugin, run, told};

#[test]
fn a_record_that_traps_fails_alone() {
    let mut texts = vec!["fine"; 500];
    texts[123] = "trap";
    let told = run(&misbehave(), &texts);
    assert_eq!(told.len(), 500);
    insta::assert_snapshot!(told[123], @"error: wasm trap: wasm `unreachable` instruction executed");
    assert!(told.iter().enumerate().all(|(n, told)| n == 123 || told == "ok: fine"));
}

#[test]
fn several_kinds_of_poison_in_one_batch_are_all_found() {
    let mut plugin = plugin(MISBEHAVE);
    plugin.cpu_per_batch = std::time::Duration::from_millis(100);
    let told = run(&load(&plugin), &["trap", "a", "loop", "drop", "grow", "fail no luck", "stack", "b"]);
    insta::assert_snapshot!(told.join("\n"), @r"
error: wasm trap: wasm `unreachable` instruction executed
ok: a
error: used more CPU time than its `cpu_per_batch` of 100ms
dropped
error: wasm trap: wasm `unreachable` instruction executed, after it asked for more than its `memory` of 32 MiB
failed: no luck
error: wasm trap: out of bounds memory access
ok: b
");
}

#[test]
fn a_stream_of_nothing_but_loops_ends_within_the_search_budget() {
    let mut plugin = plugin(MISBEHAVE);
    plugin.cpu_per_batch = std::time::Duration::from_millis(20);
    let told = run(&load(&plugin), &["loop"; 200]);
    assert_eq!(told.len(), 200);
    assert!(told.iter().all(|told| told.starts_with("error: used more CPU time")), "{told:#?}");
    insta::assert_snapshot!(told[199], @"error: used more CPU time than its `cpu_per_batch` of 20ms; the search for the one record took too long, so its neighbours fail too");
}

#[test]
fn a_wrong_number_of_answers_fails_the_batch() {
    insta::assert_snapshot!(run(&misbehave(), &["a", "count", "b"]).join("\n"), @r"
error: gave 2 answers for 3 records
error: gave 2 answers for 3 records
error: gave 2 answers for 3 records
");
}

#[test]
fn a_retry_is_granted_three_times() {
    let loaded = misbehave();
    insta::assert_snapshot!(run(&loaded, &["a", "retry not yet"]).join("\n"), @r"
error: asked for a retry 4 times: not yet
error: asked for a retry 4 times: not yet
");
    assert_eq!(loaded.counters()["batches"], 4);
}

#[test]
fn a_fatal_answer_fails_the_batch_at_once() {
    let loaded = misbehave();
    insta::assert_snapshot!(run(&loaded, &["a", "fatal no table"]).join("\n"), @r"
error: failed the batch: no table
error: failed the batch: no table
");
    assert_eq!(loaded.counters()["batches"], 1);
}

#[test]
fn after_a_trap_the_next_batch_has_a_fresh_instance() {
    let mut transform = misbehave().transform();
    let mut calls = |text| told(&transform.transform(&inputs(&[text])).unwrap()[0]);
    assert_eq!(calls("calls"), "ok: 1");
    assert_eq!(calls("calls"), "ok: 2");
    assert!(calls("trap").starts_with("error: wasm trap"));
    assert_eq!(calls("calls"), "ok: 1");
}

#[test]
fn an_instance_is_replaced_after_its_number_of_batches() {
    let host = Host::new(HostOptions { batches_per_instance: 2, ..HostOptions::default() }).unwrap();
    let mut transform = host.load(&plugin(MISBEHAVE), "s").unwrap().transform();
    let mut calls = || told(&transform.transform(&inputs(&["calls"])).unwrap()[0]);
    assert_eq!([calls(), calls(), calls()], ["ok: 1", "ok: 2", "ok: 1"]);
}

#[test]
fn a_leak_that_fills_the_memory_costs_no_record() {
    let mut transform = misbehave().transform();
    for _ in 0..20 {
        assert_eq!(told(&transform.transform(&inputs(&["leak 5"])).unwrap()[0]), "ok: leaked 5");
    }
}

#[test]
fn with_on_error_stop_nothing_is_answered() {
    let mut plugin = plugin(MISBEHAVE);
    plugin.on_error = OnError::Stop;
    let mut transform = load(&plugin).transform();
    let mut error = |texts: &[&str]| transform.transform(&inputs(texts)).unwrap_err().to_string();
    let errors =
        [error(&["a", "trap"]), error(&["count"]), error(&["fatal x"]), error(&["retry y"]), error(&["many-keys"])];
    insta::assert_snapshot!(errors.join("\n"), @r"
plugin `tests/guests/misbehave.wasm`: wasm trap: wasm `unreachable` instruction executed
plugin `tests/guests/misbehave.wasm`: gave 0 answers for 1 records
plugin `tests/guests/misbehave.wasm`: failed the batch: x
plugin `tests/guests/misbehave.wasm`: asked for a retry 4 times: y
plugin `tests/guests/misbehave.wasm`: gave 51 partition keys; at most 50 are allowed
");
    assert_eq!(told(&transform.transform(&inputs(&["fail by itself"])).unwrap()[0]), "failed: by itself");
}

#[test]
fn no_records_no_call() {
    let loaded = misbehave();
    assert_eq!(run(&loaded, &[]), Vec::<String>::new());
    assert!(loaded.counters().is_empty());
}
