//! Text to filters: parsed by jaq, guarded, and compiled as the body of a definition of ours.

use std::thread;

use jaq_core::Compiler;
use jaq_core::load::lex::{StrPart, Token};
use jaq_core::load::parse::{Def, Term};
use jaq_core::load::{Arena, File, Lexer, Loader, Parser, parse};
use jaq_core::path::Part;

use super::budget::{CHARGE, Filter, functions};
use super::guard::guarded;
use super::{JqError, KEYS_MAX};

/// AWS takes a `MetadataExtractionQuery` of so many characters.
const TEXT_BYTES_MAX: usize = 5_120;
/// The parser recurses as deep as the text nests, which is at most once a byte.
const STACK_BYTES: usize = 128 << 20;
/// The definition that holds a key's filter.
const KEY: &str = "hydrant_key";

pub(super) struct Compiled {
    pub(super) filter: Filter,
    /// The members to walk, if the filter does no more than that.
    pub(super) path: Option<Vec<String>>,
}

pub(super) fn filter(text: &str) -> Result<Compiled, JqError> {
    with_stack(text, |text| parsed(text).and_then(compiled))
}

/// The keys of an object constructor, in its order.
pub(super) fn query(text: &str) -> Result<Vec<(String, Compiled)>, JqError> {
    with_stack(text, |text| {
        let Term::Obj(members) = parsed(text)? else {
            return Err(JqError("got no object of keys, allowed is a query like `{customer_id:.customer_id}`".into()));
        };
        if members.len() > KEYS_MAX {
            return Err(JqError(format!("got {} partition keys, allowed are 1 to {KEYS_MAX}", members.len())));
        }
        members.into_iter().map(|(key, value)| member(key, value)).collect()
    })
}

fn member<'s>(key: Term<&'s str>, value: Option<Term<&'s str>>) -> Result<(String, Compiled), JqError> {
    let Some(name) = constant(&key) else {
        return Err(JqError(
            "got a key whose name depends on the record or a variable, allowed are names like `a:`, `\"a b\":` and `{a}`".into(),
        ));
    };
    // `{a}` is `{a: .a}`.
    let value = value.unwrap_or_else(|| {
        let part = (Part::Index(key), jaq_core::path::Opt::Essential);
        Term::Path(Box::new(Term::Id), jaq_core::path::Path(vec![part]))
    });
    let compiled = compiled(value).map_err(|e| JqError(format!("key `{name}`: {e}")))?;
    Ok((name, compiled))
}

fn with_stack<T: Send>(text: &str, work: impl FnOnce(&str) -> Result<T, JqError> + Send) -> Result<T, JqError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(JqError(format!("got {} bytes of jq, allowed are at most {TEXT_BYTES_MAX}", text.len())));
    }
    thread::scope(|scope| {
        let worker = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || work(text));
        match worker.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(JqError("jq's parser stopped at its own fault, write the filter in another way".into())),
            Err(e) => Err(JqError(format!("no thread to compile jq on: {e}"))),
        }
    })
}

fn parsed(text: &str) -> Result<Term<&str>, JqError> {
    let tokens = Lexer::new(text).lex().map_err(|errors| {
        let first = errors.first().map(|(expected, found)| syntax(text, expected.as_str(), found));
        first.unwrap_or_else(|| JqError("got no jq".into()))
    })?;
    Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| {
        let first =
            errors.first().map(|(expected, found)| syntax(text, expected.as_str(), Token::opt_as_str(*found, text)));
        first.unwrap_or_else(|| JqError("got no jq".into()))
    })
}

/// `found` is a part of `text`.
fn syntax(text: &str, expected: &str, found: &str) -> JqError {
    let at = jaq_core::load::span(text, found).start;
    let found: String = found.chars().take(20).collect();
    let found = if found.is_empty() { "the end".into() } else { format!("`{found}`") };
    JqError(format!("at byte {at}: got {found}, expected {expected}"))
}

fn compiled(term: Term<&str>) -> Result<Compiled, JqError> {
    let path = members(&term);
    let key = Def { name: KEY, args: Vec::new(), body: guarded(term)? };
    let charge = Def { name: "charge", args: Vec::new(), body: Term::Call(CHARGE, Vec::new()) };
    let more = parse(include_str!("more.jq"), |parser| parser.defs()).expect("a test compiles it");
    let given = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let prelude = given.map(shortened).chain([charge]).chain(more).chain([key]);
    let arena = Arena::default();
    let modules = Loader::new(prelude).load(&arena, File { code: KEY, path: () });
    let modules = modules.map_err(|_| JqError("jq's parser stopped at its own fault".into()))?;
    let compiled = Compiler::default().with_funs(functions()).compile(modules).map_err(|files| {
        let unknown = files.iter().flat_map(|(_, errors)| errors).next();
        let unknown = unknown.map(|(name, kind)| {
            format!("got the {} `{name}`, which jq 1.6 does not have or this jq does not allow", kind.as_str())
        });
        JqError(unknown.unwrap_or_else(|| "got what jq does not have".into()))
    });
    compiled.map(|filter| Compiled { filter, path })
}

/// Definitions that live for ever may live shorter.
fn shortened<'s>(def: Def<&'static str>) -> Def<&'s str> {
    def
}

/// `.a.b`, `."a"`, `.["a"]`, as the names on the way.
fn members(term: &Term<&str>) -> Option<Vec<String>> {
    let Term::Path(from, path) = term else {
        return None;
    };
    let mut names = match **from {
        Term::Id => Vec::new(),
        _ => members(from)?,
    };
    for (part, _) in &path.0 {
        let Part::Index(index) = part else {
            return None;
        };
        names.push(constant(index)?);
    }
    (!names.is_empty()).then_some(names)
}

fn constant(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else {
        return None;
    };
    let mut text = String::new();
    for part in parts {
        match part {
            StrPart::Str(part) => text.push_str(part),
            StrPart::Char(c) => text.push(*c),
            StrPart::Term(_) => return None,
        }
    }
    Some(text)
}
