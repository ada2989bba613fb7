//! Every file that is no plugin is told why; a compiled plugin comes back from the cache only if it can be trusted.

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use hydrant_config::Plugin;
use hydrant_plugins::{Host, HostOptions, Outcome};

use crate::{ACCESS_LOG, MISBEHAVE, host, load, plugin};

/// The error with its causes, and the test's own directory taken out.
fn refusal(plugin: &Plugin) -> String {
    let error = host().load(plugin, "s").unwrap_err();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}\n  {next}");
        cause = next.source();
    }
    let dir = plugin.path.parent().unwrap().display().to_string();
    if dir.starts_with('/') { text.replace(&dir, "plugins") } else { text }
}

fn refusal_of(bytes: impl AsRef<[u8]>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.wasm");
    fs::write(&path, bytes).unwrap();
    refusal(&plugin(path))
}

#[test]
fn no_file() {
    insta::assert_snapshot!(refusal(&plugin("gone.wasm")), @r"
plugin `gone.wasm`: cannot be read; check `path` and the file's permissions
  No such file or directory (os error 2)
");
}

#[test]
fn a_directory() {
    insta::assert_snapshot!(refusal(&plugin("tests")), @r"
plugin `tests`: cannot be read; check `path` and the file's permissions
  Is a directory (os error 21)
");
}

#[test]
fn not_webassembly() {
    insta::assert_snapshot!(refusal_of("(component)"), @r#"plugin `plugins/p.wasm`: is not WebAssembly: it does not begin with `\0asm`; name a compiled component"#);
    insta::assert_snapshot!(refusal_of(""), @r#"plugin `plugins/p.wasm`: is not WebAssembly: it does not begin with `\0asm`; name a compiled component"#);
}

#[test]
fn a_core_module() {
    insta::assert_snapshot!(refusal_of(wat::parse_str("(module)").unwrap()), @"plugin `plugins/p.wasm`: is a core module, not a component; make it one with `wasm-tools component new plugins/p.wasm -o plugin.wasm`, or see examples/plugins/README.md");
}

#[test]
fn a_damaged_component() {
    let mut bytes = fs::read(ACCESS_LOG).unwrap();
    bytes.truncate(20_000);
    let text = refusal_of(bytes);
    insta::assert_snapshot!(text.lines().next().unwrap(), @"plugin `plugins/p.wasm`: cannot be compiled; the file is damaged or uses a proposal that is not supported");
}

#[test]
fn another_world() {
    insta::assert_snapshot!(refusal_of(wat::parse_str("(component)").unwrap()), @"plugin `plugins/p.wasm`: does not export `process` of the world `hydrant:transform/transform@0.1.0`; it exports nothing; build it against plugins/wit/transform.wit");
    let other = r#"(component
        (core module $m (func (export "main")))
        (core instance $i (instantiate $m))
        (func (export "main") (canon lift (core func $i "main"))))"#;
    insta::assert_snapshot!(refusal_of(wat::parse_str(other).unwrap()), @"plugin `plugins/p.wasm`: does not export `process` of the world `hydrant:transform/transform@0.1.0`; it exports `main`; build it against plugins/wit/transform.wit");
}

#[test]
fn the_right_name_with_the_wrong_type() {
    let wrong = r#"(component
        (core module $m (func (export "process")))
        (core instance $i (instantiate $m))
        (func (export "process") (canon lift (core func $i "process"))))"#;
    let text = refusal_of(wat::parse_str(wrong).unwrap());
    insta::assert_snapshot!(text.lines().next().unwrap(), @"plugin `plugins/p.wasm`: does not fit the world `hydrant:transform/transform@0.1.0`; build it against plugins/wit/transform.wit");
}

#[test]
fn an_import_that_is_not_given() {
    let wasi = r#"(component
        (import "wasi:cli/exit@0.2.0" (instance (export "exit-with-code" (func (param "code" u8)))))
        (core module $m (func (export "process")))
        (core instance $i (instantiate $m))
        (func (export "process") (canon lift (core func $i "process"))))"#;
    insta::assert_snapshot!(refusal_of(wat::parse_str(wasi).unwrap()), @"plugin `plugins/p.wasm`: imports `wasi:cli/exit@0.2.0`, which a plugin is not given; only `hydrant:transform/host@0.1.0` is there, no WASI: build for wasm32-unknown-unknown");
}

#[test]
fn another_file_than_the_pinned_one() {
    let mut pinned = plugin(ACCESS_LOG);
    pinned.sha256 = Some([7; 32]);
    let actual = hex::encode(load(&plugin(ACCESS_LOG)).info().sha256);
    insta::assert_snapshot!(refusal(&pinned).replace(&actual, "ACTUAL"), @"plugin `../examples/plugins/access_log.wasm`: has sha256 ACTUAL, but the configuration pins 0707070707070707070707070707070707070707070707070707070707070707; put the pinned file back, or change `sha256` if the new file is meant");
    pinned.sha256 = Some(load(&plugin(ACCESS_LOG)).info().sha256);
    assert!(host().load(&pinned, "s").is_ok());
}

#[test]
fn too_little_memory_to_start() {
    let mut small = plugin(MISBEHAVE);
    small.memory = 64 << 10;
    insta::assert_snapshot!(refusal(&small), @r"
plugin `tests/guests/misbehave.wasm`: does not start under its limits; raise `memory` or `cpu_per_batch`
  memory minimum size of 17 pages exceeds memory limits
");
}

#[test]
fn what_check_shows() {
    let mut named = plugin(MISBEHAVE);
    let by_digest = load(&named).info().clone();
    assert_eq!(by_digest.size_bytes, fs::metadata(MISBEHAVE).unwrap().len());
    assert_eq!(&*by_digest.name.0, format!("urn:hydrant:plugin:{}", hex::encode(by_digest.sha256)));
    named.arn = Some("arn:aws:lambda:us-east-1:123456789012:function:clean".to_owned());
    assert_eq!(&*load(&named).info().name.0, "arn:aws:lambda:us-east-1:123456789012:function:clean");
    assert!(matches!(load(&named).sample(), Ok(Outcome::Ok { data, .. }) if data == "{}"));
    assert!(matches!(load(&plugin(ACCESS_LOG)).sample(), Ok(Outcome::ProcessingFailed { .. })));
}

fn cached(dir: &Path) -> (bool, String) {
    let host = Host::new(HostOptions { cache_dir: Some(dir.to_owned()), ..HostOptions::default() }).unwrap();
    let loaded = host.load(&plugin(MISBEHAVE), "s").unwrap();
    (loaded.info().from_cache, crate::run(&loaded, &["fine"]).remove(0))
}

#[test]
fn a_plugin_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    assert_eq!(cached(&cache), (false, "ok: fine".to_owned()));
    assert_eq!(cached(&cache), (true, "ok: fine".to_owned()));
    assert_eq!(fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn damaged_code_is_compiled_anew_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("compiled");
    cached(&cache);
    let file = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bad in [&whole[..whole.len() - 1], &whole[..10], b"", &flipped] {
        fs::write(&file, bad).unwrap();
        assert_eq!(cached(&cache), (false, "ok: fine".to_owned()));
        assert_eq!(fs::read(&file).unwrap().len(), whole.len(), "repaired");
    }
}

#[test]
fn a_cache_that_others_could_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |cache: &Path| {
        let options = HostOptions { cache_dir: Some(cache.to_owned()), ..HostOptions::default() };
        Host::new(options).unwrap_err().to_string().replace(&dir.path().display().to_string(), "data")
    };
    let cache = dir.path().join("compiled");
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
    let owner = rustix::process::geteuid().as_raw().to_string();
    insta::assert_snapshot!(refused(&cache).replace(&format!("user {owner} "), "user OWNER "), @"plugin cache `data/compiled`: belongs to user OWNER with mode 770; code is only read from a directory of this user with mode 700: run `chmod 700`, or name another");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&cache, dir.path().join("link")).unwrap();
    insta::assert_snapshot!(refused(&dir.path().join("link")), @"plugin cache `data/link`: is not a directory; name another");
}
