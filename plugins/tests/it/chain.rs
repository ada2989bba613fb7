//! Several plugins on one stream.

use hydrant_config::OnError;
use hydrant_plugins::{Chain, Transform};

use crate::{ACCESS_LOG, MISBEHAVE, host, inputs, plugin, told};

const LINE: &str = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 7 "-" "x""#;

#[test]
fn no_plugins_no_chain() {
    assert!(Chain::load(&host(), &[], "s").unwrap().is_none());
}

#[test]
fn the_second_sees_what_the_first_answered() {
    let both = [plugin(MISBEHAVE), plugin(ACCESS_LOG)];
    let mut chain = Chain::load(&host(), &both, "s").unwrap().unwrap();
    assert_eq!(chain.plugins().len(), 2);
    let outcomes = chain.transform(&inputs(&["drop", LINE, "fail early", "trap", "not a line"])).unwrap();
    let told: Vec<String> = outcomes.iter().map(told).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
dropped
ok: {"ts":"2015-05-17T10:05:03Z","client":"83.149.9.0","method":"GET","path":"/a","protocol":"HTTP/1.1","status":200,"bytes":7,"referer":null,"user_agent":"x"} status_class=2xx day=2015-05-17
failed: early
error: wasm trap: wasm `unreachable` instruction executed
failed: not a combined access log line: no user, or nothing after it
"#);
}

#[test]
fn partition_keys_of_both_are_kept() {
    let both = [plugin(ACCESS_LOG), plugin(MISBEHAVE)];
    let mut chain = Chain::load(&host(), &both, "s").unwrap().unwrap();
    // The second passes JSON through and adds nothing.
    let outcomes = chain.transform(&inputs(&[LINE])).unwrap();
    insta::assert_snapshot!(told(&outcomes[0]), @r#"ok: {"ts":"2015-05-17T10:05:03Z","client":"83.149.9.0","method":"GET","path":"/a","protocol":"HTTP/1.1","status":200,"bytes":7,"referer":null,"user_agent":"x"} status_class=2xx day=2015-05-17"#);

    let twice = [plugin(MISBEHAVE), plugin(MISBEHAVE)];
    let mut chain = Chain::load(&host(), &twice, "s").unwrap().unwrap().another();
    let outcomes = chain.transform(&inputs(&["keys a=1,b=2"])).unwrap();
    assert_eq!(told(&outcomes[0]), "ok: keys a=1,b=2 a=1 b=2");
}

#[test]
fn a_plugin_that_stops_stops_the_chain() {
    let mut second = plugin(MISBEHAVE);
    second.on_error = OnError::Stop;
    let mut chain = Chain::load(&host(), &[plugin(MISBEHAVE), second], "s").unwrap().unwrap();
    // The first fails its own record; the second never sees it.
    assert!(chain.transform(&inputs(&["trap", "a"])).is_ok());
}

#[test]
fn the_first_that_cannot_be_loaded_is_the_error() {
    let error = Chain::load(&host(), &[plugin(MISBEHAVE), plugin("gone.wasm")], "s").unwrap_err();
    insta::assert_snapshot!(error, @"plugin `gone.wasm`: cannot be read; check `path` and the file's permissions");
}
