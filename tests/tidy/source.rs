//! The rules about Rust code. Comments and strings are never looked at: the rules see tokens.

use std::ops::RangeInclusive;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Finding;

const FUNCTION_LINES_MAX: usize = 70;
/// Here every byte goes through a `Disk`, so that tests can put faults under it.
const ONLY_BY_DISK: &[&str] = &["daemon/shardlog/", "daemon/delivery/", "sinks/"];

/// One parsed file.
pub(crate) struct Source<'a> {
    path: &'a str,
    tokens: Vec<Token>,
    functions: Vec<Function>,
    /// Lines of `#[cfg(test)]` items.
    tests: Vec<RangeInclusive<usize>>,
}

struct Token {
    text: String,
    line: usize,
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// A run of tokens that may not stand in the code.
struct Ban {
    tokens: &'static str,
    allowed: fn(&Source, usize) -> bool,
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban { tokens: "todo !", allowed: nowhere, instead: "a stub reaches users; finish it or leave the option out" },
    Ban {
        tokens: "unimplemented !",
        allowed: nowhere,
        instead: "a stub reaches users; finish it or leave the option out",
    },
    Ban {
        tokens: "# [ ignore",
        allowed: nowhere,
        instead: "a test that does not run proves nothing; repair or delete it",
    },
    Ban {
        tokens: "thread : : sleep",
        allowed: nowhere,
        instead: "wait for the condition itself, with a deadline: a pause is too long on one machine, too short on another",
    },
    Ban {
        tokens: "time : : sleep",
        allowed: |source, line| !source.is_test(line) || source.has("start_paused"),
        instead: "tests run under paused time (`start_paused = true`) or wait for the condition itself",
    },
    Ban {
        tokens: "sync_all",
        allowed: in_disk,
        instead: "only `hydrant-disk` syncs, so that a failed sync poisons its file",
    },
    Ban {
        tokens: "fsync",
        allowed: in_disk,
        instead: "only `hydrant-disk` syncs, so that a failed sync poisons its file",
    },
    Ban {
        tokens: "fdatasync",
        allowed: in_disk,
        instead: "only `hydrant-disk` syncs, so that a failed sync poisons its file",
    },
    Ban {
        tokens: "sync_file_range",
        allowed: in_disk,
        instead: "only `hydrant-disk` syncs, so that a failed sync poisons its file",
    },
    Ban { tokens: "std : : fs", allowed: outside_the_durable, instead: "open the file through `hydrant_disk::Disk`" },
    Ban { tokens: "tokio : : fs", allowed: outside_the_durable, instead: "open the file through `hydrant_disk::Disk`" },
    Ban {
        tokens: "serde_saphyr",
        allowed: |source, _| source.path.starts_with("config/src/raw"),
        instead: "YAML types live in `config::raw` only; take a validated `Config`",
    },
];

fn nowhere(_: &Source, _: usize) -> bool {
    false
}

fn in_disk(source: &Source, line: usize) -> bool {
    // The benchmark measures the same syncs without the product.
    source.path.starts_with("daemon/disk/") || source.path.starts_with("tests/bench/") || source.is_test(line)
}

fn outside_the_durable(source: &Source, line: usize) -> bool {
    !ONLY_BY_DISK.iter().any(|room| source.path.starts_with(room)) || source.is_test(line)
}

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let long = source.functions.iter().filter(|function| function.lines >= FUNCTION_LINES_MAX).map(|function| {
        Finding(format!(
            "{}:{}: function `{}` has {} lines, must be under {FUNCTION_LINES_MAX}; give its steps names of their own",
            source.path, function.line, function.name, function.lines
        ))
    });
    let banned = BANS.iter().flat_map(|ban| {
        source.lines_with(ban.tokens).filter(|line| !(ban.allowed)(source, *line)).map(|line| {
            Finding(format!("{}:{line}: `{}` here; {}", source.path, ban.tokens.replace(' ', ""), ban.instead))
        })
    });
    long.chain(banned).collect()
}

impl<'a> Source<'a> {
    pub(crate) fn parse(path: &'a str, text: &str) -> syn::Result<Source<'a>> {
        let file = syn::parse_file(text)?;
        let mut source = Source { path, tokens: Vec::new(), functions: Vec::new(), tests: Vec::new() };
        source.collect_tokens(text.parse::<TokenStream>()?);
        source.visit_file(&file);
        Ok(source)
    }

    /// Inside a `#[cfg(test)]` item, or in a file that holds nothing but tests.
    fn is_test(&self, line: usize) -> bool {
        let whole = self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/examples/")
            || self.path.ends_with("tests.rs");
        whole || self.tests.iter().any(|range| range.contains(&line))
    }

    fn has(&self, token: &str) -> bool {
        self.tokens.iter().any(|found| found.text == token)
    }

    fn lines_with(&self, tokens: &'static str) -> impl Iterator<Item = usize> {
        let wanted: Vec<&str> = tokens.split(' ').collect();
        self.tokens
            .windows(wanted.len())
            .filter(move |window| window.iter().map(|token| token.text.as_str()).eq(wanted.iter().copied()))
            .map(|window| window[0].line)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn collect_tokens(&mut self, stream: TokenStream) {
        for tree in stream {
            let line = tree.span().start().line;
            match tree {
                TokenTree::Ident(ident) => self.tokens.push(Token { text: ident.to_string(), line }),
                TokenTree::Punct(punct) => self.tokens.push(Token { text: punct.as_char().to_string(), line }),
                TokenTree::Literal(_) => self.tokens.push(Token { text: String::new(), line }),
                TokenTree::Group(group) => {
                    let open = match group.delimiter() {
                        proc_macro2::Delimiter::Parenthesis => "(",
                        proc_macro2::Delimiter::Brace => "{",
                        proc_macro2::Delimiter::Bracket => "[",
                        proc_macro2::Delimiter::None => "",
                    };
                    self.tokens.push(Token { text: open.to_owned(), line });
                    self.collect_tokens(group.stream());
                }
            }
        }
    }

    fn add_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.span().start().line;
        let lines = block.brace_token.span.close().end().line + 1 - line;
        self.functions.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'ast> Visit<'ast> for Source<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add_function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add_function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add_function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let only_tests = item.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
        });
        if only_tests {
            let span = item.span();
            self.tests.push(span.start().line..=span.end().line);
        }
        visit::visit_item_mod(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> String {
        let source = Source::parse(path, text).unwrap();
        check(&source).into_iter().map(|finding| finding.0).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_long_function() {
        let body = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines));
        assert!(found("config/src/a.rs", &body(68)).contains("`f` has 70 lines"));
        assert_eq!(found("config/src/a.rs", &body(67)), "");
        let method = format!("struct S;\nimpl S {{\n{}}}\n", body(80));
        assert!(found("config/src/a.rs", &method).contains("config/src/a.rs:3: function `f`"));
    }

    #[test]
    fn stubs_and_tests_that_do_not_run() {
        assert!(found("config/src/a.rs", "fn f() { todo!() }").contains("`todo!` here"));
        assert!(found("config/src/a.rs", "fn f() { unimplemented!(\"x\") }").contains("`unimplemented!` here"));
        assert!(found("config/src/a.rs", "#[test]\n#[ignore]\nfn f() {}").contains("a.rs:2: `#[ignore` here"));
        assert_eq!(found("config/src/a.rs", "// todo!()\nfn f() { let _ = \"todo!()\"; }"), "");
    }

    #[test]
    fn pauses() {
        assert!(found("config/src/a.rs", "fn f() { std::thread::sleep(d) }").contains("wait for the condition"));
        let test = "#[cfg(test)]\nmod tests {\n async fn f() { tokio::time::sleep(d).await }\n}";
        assert!(found("sinks/src/a.rs", test).contains("a.rs:3: `time::sleep`"));
        assert_eq!(found("sinks/src/a.rs", "async fn f() { tokio::time::sleep(d).await }"), "");
        let paused = format!("#[tokio::test(start_paused = true)]\nasync fn t() {{}}\n{test}");
        assert_eq!(found("sinks/src/a.rs", &paused), "");
    }

    #[test]
    fn who_may_sync() {
        assert!(found("sinks/src/a.rs", "fn f() { file.sync_all() }").contains("only `hydrant-disk` syncs"));
        assert!(found("daemon/src/a.rs", "fn f() { rustix::fs::fsync(&file) }").contains("only `hydrant-disk` syncs"));
        assert_eq!(found("daemon/disk/src/a.rs", "fn f() { file.sync_all() }"), "");
        assert_eq!(found("daemon/shardlog/src/a.rs", "fn f() { file.sync_data() }"), "");
        let opens = "use std::fs::File;\nfn f() {}";
        assert!(found("daemon/shardlog/src/a.rs", opens).contains("a.rs:1: `std::fs` here; open the file through"));
        assert_eq!(found("daemon/shardlog/src/tests.rs", opens), "");
        assert_eq!(found("plugins/src/a.rs", opens), "");
    }

    #[test]
    fn yaml_stays_in_raw() {
        assert!(found("config/src/load.rs", "use serde_saphyr::Error;").contains("YAML types"));
        assert_eq!(found("config/src/raw.rs", "use serde_saphyr::Error;"), "");
    }
}
