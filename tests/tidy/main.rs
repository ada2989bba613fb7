//! Holds the habits of the code base: sizes, dependency direction, who may sync, names, the top level.
//!
//! A rule that nothing enforces rots. Each rule is a function from what was read to a list of findings, and has a
//! test with a bad sample; the test at the end runs all of them over the tracked files.

mod manifest;
mod source;
mod tree;

use std::path::Path;

use source::Source;
use tree::Tree;

/// What a rule found: where, what, and what to do instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding(pub(crate) String);

/// All rules over one tree.
fn findings(tree: &Tree) -> Vec<Finding> {
    let mut found = tree::check(tree);
    for (path, text) in tree.texts("Cargo.toml") {
        found.extend(manifest::check_manifest(path, text));
    }
    if let Some((_, lock)) = tree.texts("Cargo.lock").find(|(path, _)| *path == "Cargo.lock") {
        found.extend(manifest::check_lock(lock));
    }
    for (path, text) in tree.texts(".rs") {
        match Source::parse(path, text) {
            Ok(source) => found.extend(source::check(&source)),
            Err(error) => found.push(Finding(format!("{path}: is not Rust that can be parsed: {error}"))),
        }
    }
    found
}

#[test]
fn the_tree_is_tidy() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let found = findings(&Tree::read(top).expect("the tree can be read"));
    let list: String = found.iter().map(|finding| format!("  {}\n", finding.0)).collect();
    assert!(found.is_empty(), "{} findings\n{list}", found.len());
}

#[test]
fn a_bad_tree_is_found_out() {
    let tree = Tree::of(&[("daemon/record/src/lib.rs", "fn main() { todo!() }"), ("daemon/record/src/bad.rs", "fn (")]);
    let found = findings(&tree);
    assert_eq!(found.len(), 2, "{found:?}");
}
