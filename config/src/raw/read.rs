//! The typed walk over the tree. A reader never stops at a problem: it notes it and goes on with the default, because
//! a file with any problem yields no configuration at all.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Entry, Kind, Node, Scalar};
use crate::environment::Environment;
use crate::keys::{self, Key, KeyKind};
use crate::problem::{At, Findings, quoted};
use crate::quantity::{parse_duration, parse_size};
use crate::secret::Secret;

/// What the walk carries along.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) env: &'a Environment,
    /// Relative paths begin here: the directory of the YAML file.
    pub(crate) base: PathBuf,
    pub(crate) findings: Findings,
    /// Every path the loader asked for, so that a test can compare them with the table.
    pub(crate) asked: BTreeSet<String>,
}

/// A node with the path to it.
#[derive(Clone, Debug)]
pub(crate) struct Value<'n> {
    pub(crate) node: &'n Node,
    /// As people read it: `delivery_streams[0].name`.
    pub(crate) path: String,
    /// As the table of keys has it: `delivery_streams[].name`.
    pattern: String,
}

/// The keys of one map; an absent section is a map without keys.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    pub(crate) at: At,
    pub(crate) path: String,
    pattern: String,
    entries: &'n [Entry],
}

impl Reader<'_> {
    pub(crate) fn problem(&mut self, value: &Value<'_>, message: impl Into<String>, hint: impl Into<String>) {
        let hint = hint.into();
        self.findings.problem(Some(value.node.at), &value.path, message, (!hint.is_empty()).then_some(hint));
    }

    pub(crate) fn resolve(&self, text: &str) -> PathBuf {
        // Without the inner `./`, so that messages show what people would type.
        self.base.join(text).components().collect()
    }
}

impl<'n> Value<'n> {
    pub(crate) fn root(node: &'n Node) -> Value<'n> {
        Value { node, path: String::new(), pattern: String::new() }
    }

    /// The keys of a map. Reports keys that the table lacks.
    pub(crate) fn fields(&self, reader: &mut Reader<'_>) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &self.node.kind else {
            self.wrong_kind(reader, "a map of keys");
            return None;
        };
        let fields = Fields {
            at: self.node.at,
            path: self.path.clone(),
            pattern: self.pattern.clone(),
            entries: entries.as_slice(),
        };
        fields.report_unknown(reader);
        Some(fields)
    }

    /// The items of a list.
    pub(crate) fn items(&self, reader: &mut Reader<'_>) -> Vec<Value<'n>> {
        let Kind::List(items) = &self.node.kind else {
            self.wrong_kind(reader, "a list");
            return Vec::new();
        };
        let item = |(index, node)| Value {
            node,
            path: format!("{}[{index}]", self.path),
            pattern: format!("{}[]", self.pattern),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The entries of a map with free keys, in the order of the file.
    pub(crate) fn entries(&self, reader: &mut Reader<'_>) -> Vec<(&'n Entry, Value<'n>)> {
        let Kind::Map(entries) = &self.node.kind else {
            self.wrong_kind(reader, "a map");
            return Vec::new();
        };
        let value = |entry: &'n Entry| {
            let path = format!("{}.{}", self.path, shown_key(&entry.key));
            (entry, Value { node: &entry.value, path, pattern: format!("{}.*", self.pattern) })
        };
        entries.iter().map(value).collect()
    }

    /// The text of a scalar with its variables put in.
    pub(crate) fn text(&self, reader: &mut Reader<'_>) -> Option<String> {
        self.text_for(reader, "text")
    }

    fn text_for(&self, reader: &mut Reader<'_>, allowed: &str) -> Option<String> {
        let Kind::Scalar(scalar) = &self.node.kind else {
            self.wrong_kind(reader, allowed);
            return None;
        };
        match reader.env.interpolate(&scalar.text) {
            Ok(text) => Some(text),
            Err((message, hint)) => {
                reader.problem(self, message, hint);
                None
            }
        }
    }

    /// Reports `must be …, got …`.
    pub(crate) fn refuse(&self, reader: &mut Reader<'_>, allowed: &str, hint: impl Into<String>) {
        let got = self.got(reader);
        reader.problem(self, format!("must be {allowed}, got {got}"), hint);
    }

    fn wrong_kind(&self, reader: &mut Reader<'_>, allowed: &str) {
        if !matches!(self.node.kind, Kind::Refused) {
            self.refuse(reader, allowed, "");
        }
    }

    fn got(&self, reader: &Reader<'_>) -> String {
        let Kind::Scalar(scalar) = &self.node.kind else { return self.node.described() };
        match reader.env.interpolate(&scalar.text) {
            Ok(text) if text != scalar.text => format!("`{text}` from `{}`", scalar.text),
            _ => self.node.described(),
        }
    }
}

impl<'n> Fields<'n> {
    /// The value of a key. Reports a missing key that is required, and a key without a value.
    pub(crate) fn take(&self, reader: &mut Reader<'_>, name: &str) -> Option<Value<'n>> {
        let key = self.key(name);
        reader.asked.insert(key.path.to_owned());
        let path = join(&self.path, name);
        let Some(entry) = self.entries.iter().find(|entry| entry.key == name) else {
            if key.required {
                let hint = Some(format!("must be {}", key.allowed()));
                reader.findings.problem(Some(self.at), &path, "is missing", hint);
            }
            return None;
        };
        let value = Value { node: &entry.value, path, pattern: key.path.to_owned() };
        if value.node.is_nothing() {
            let hint = match key.kind {
                KeyKind::Section => "write `{}` for the defaults, or remove the key",
                _ if key.required => "give it a value",
                _ => "give it a value, or remove the key",
            };
            value.refuse(reader, &key.allowed(), hint);
            return None;
        }
        (!matches!(value.node.kind, Kind::Refused)).then_some(value)
    }

    /// Where the value of a key stands, if the key is there.
    pub(crate) fn place_of(&self, name: &str) -> Option<At> {
        self.entries.iter().find(|entry| entry.key == name).map(|entry| entry.value.at)
    }

    /// Where the value at a path below stands, or the nearest key above it that is there.
    pub(crate) fn nearest_place(&self, path: &str) -> At {
        let mut at = self.at;
        let mut entries = self.entries;
        for part in path.split('.') {
            let Some(entry) = entries.iter().find(|entry| entry.key == part) else { break };
            at = entry.value.at;
            entries = if let Kind::Map(below) = &entry.value.kind { below.as_slice() } else { &[] };
        }
        at
    }

    pub(crate) fn section(&self, reader: &mut Reader<'_>, name: &str) -> Option<Fields<'n>> {
        self.take(reader, name)?.fields(reader)
    }

    /// An absent section is one without keys, so that its keys take their defaults.
    pub(crate) fn section_or_empty(&self, reader: &mut Reader<'_>, name: &str) -> Fields<'n> {
        self.section(reader, name).unwrap_or_else(|| Fields {
            at: self.at,
            path: join(&self.path, name),
            pattern: join(&self.pattern, name),
            entries: &[],
        })
    }

    pub(crate) fn items(&self, reader: &mut Reader<'_>, name: &str) -> Vec<Value<'n>> {
        self.take(reader, name).map(|value| value.items(reader)).unwrap_or_default()
    }

    /// The one key of a choice and what stands below it.
    pub(crate) fn choice(&self, reader: &mut Reader<'_>, name: &str) -> Option<(&'static str, Fields<'n>)> {
        let value = self.take(reader, name)?;
        let names = keys::children(self.key(name).path);
        let allowed = format!("a map with exactly one of {}", quoted(&names, "or"));
        let Kind::Map(entries) = &value.node.kind else {
            let hint = match &value.node.kind {
                Kind::Scalar(Scalar { text, .. }) if names.contains(&text.as_str()) => {
                    format!("the choice is a key: write `{name}: {{ {text}: {{ … }} }}`")
                }
                _ => String::new(),
            };
            value.refuse(reader, &allowed, hint);
            return None;
        };
        let below = value.fields(reader)?;
        for name in &names {
            reader.asked.insert(join(&below.pattern, name));
        }
        match entries.as_slice() {
            [entry] => {
                let name = names.into_iter().find(|name| **name == entry.key)?;
                below.section(reader, name).map(|fields| (name, fields))
            }
            _ => {
                let got: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
                let got = if got.is_empty() { "none".to_owned() } else { quoted(&got, "and") };
                reader.problem(&value, format!("must be {allowed}, got {got}"), "");
                None
            }
        }
    }

    /// The one section among `names` that is there, beside keys that are no part of the choice.
    pub(crate) fn one_of(&self, reader: &mut Reader<'_>, names: &[&'static str]) -> Option<(&'static str, Fields<'n>)> {
        for name in names {
            reader.asked.insert(self.key(name).path.to_owned());
        }
        let there: Vec<&'static str> = names.iter().copied().filter(|name| self.place_of(name).is_some()).collect();
        if let [name] = there.as_slice() {
            return self.section(reader, name).map(|fields| (*name, fields));
        }
        let got = if there.is_empty() { "none".to_owned() } else { quoted(&there, "and") };
        let message = format!("must have exactly one of {}, got {got}", quoted(names, "or"));
        reader.findings.problem(Some(self.at), &self.path, message, None);
        None
    }

    pub(crate) fn text(&self, reader: &mut Reader<'_>, name: &str) -> Option<(Value<'n>, String)> {
        let value = self.take(reader, name)?;
        let text = value.text_for(reader, &self.key(name).allowed())?;
        Some((value, text))
    }

    /// A text that becomes a `T`; the error of `parse` is a hint.
    pub(crate) fn parsed<T>(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (value, text) = self.text(reader, name)?;
        parse(&text).map_err(|hint| value.refuse(reader, &self.key(name).allowed(), hint)).ok()
    }

    /// As [`Fields::parsed`], with the default of the table.
    pub(crate) fn parsed_or_default<T>(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.parsed(reader, name, &parse).unwrap_or_else(|| {
            parse(self.key(name).default)
                .unwrap_or_else(|hint| unreachable!("the default of `{name}` is valid: {hint}"))
        })
    }

    pub(crate) fn size(&self, reader: &mut Reader<'_>, name: &str) -> u64 {
        let KeyKind::Size { min, max } = self.key(name).kind else { unreachable!("`{name}` is a size") };
        self.ranged(reader, name, (min, max), parse_size)
    }

    /// Of a key that has no size as its default; `None` if it is absent or wrong.
    pub(crate) fn size_if_given(&self, reader: &mut Reader<'_>, name: &str) -> Option<u64> {
        let KeyKind::Size { min, max } = self.key(name).kind else { unreachable!("`{name}` is a size") };
        let key = self.key(name);
        self.parsed(reader, name, |text| {
            let size = parse_size(text)?;
            if (min..=max).contains(&size) { Ok(size) } else { Err(key.hint.to_owned()) }
        })
    }

    pub(crate) fn duration(&self, reader: &mut Reader<'_>, name: &str) -> Duration {
        let KeyKind::Duration { min, max } = self.key(name).kind else { unreachable!("`{name}` is a duration") };
        self.ranged(reader, name, (Duration::from_millis(min), Duration::from_millis(max)), parse_duration)
    }

    pub(crate) fn integer(&self, reader: &mut Reader<'_>, name: &str) -> u64 {
        let KeyKind::Integer { min, max } = self.key(name).kind else { unreachable!("`{name}` is an integer") };
        self.ranged(reader, name, (min, max), whole_number)
    }

    /// `None` for `off`.
    pub(crate) fn limit(&self, reader: &mut Reader<'_>, name: &str) -> Option<u64> {
        let kind = self.key(name).kind;
        let (KeyKind::Count { min, max } | KeyKind::Rate { min, max }) = kind else {
            unreachable!("`{name}` is a limit")
        };
        self.parsed_or_default(reader, name, |text| {
            if text == "off" {
                return Ok(None);
            }
            let value = if matches!(kind, KeyKind::Rate { .. }) { parse_size(text)? } else { whole_number(text)? };
            if (min..=max).contains(&value) { Ok(Some(value)) } else { Err(String::new()) }
        })
    }

    pub(crate) fn word(&self, reader: &mut Reader<'_>, name: &str) -> &'static str {
        let KeyKind::Word(words) = self.key(name).kind else { unreachable!("`{name}` is a word") };
        let parse = |text: &str| {
            let found = words.iter().copied().find(|word| *word == text);
            found.ok_or_else(|| nearest(text, words).map(|word| format!("did you mean `{word}`?")).unwrap_or_default())
        };
        self.parsed_or_default(reader, name, parse)
    }

    pub(crate) fn boolean(&self, reader: &mut Reader<'_>, name: &str) -> Option<bool> {
        self.parsed(reader, name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" | "1" => {
                Err("write `true`".to_owned())
            }
            "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" | "0" => {
                Err("write `false`".to_owned())
            }
            _ => Err(String::new()),
        })
    }

    pub(crate) fn path(&self, reader: &mut Reader<'_>, name: &str) -> Option<PathBuf> {
        let (value, text) = self.text(reader, name)?;
        if text.is_empty() {
            value.refuse(reader, &self.key(name).allowed(), "");
            return None;
        }
        Some(reader.resolve(&text))
    }

    /// A secret by reference. What was written is never shown, as it may be the secret itself.
    pub(crate) fn secret(&self, reader: &mut Reader<'_>, name: &str) -> Option<Secret> {
        let (value, text) = self.text(reader, name)?;
        match Secret::resolve(&text, &|path: &str| reader.resolve(path), reader.env) {
            Ok(secret) => {
                if text.starts_with("plain:") && name != "access_key_id" {
                    let hint = Some("keep it outside: `env:NAME`, `file:PATH` or `credential:NAME`".to_owned());
                    reader.findings.warn(Some(value.node.at), &value.path, "the secret stands in this file", hint);
                }
                Some(secret)
            }
            Err((message, hint)) => {
                reader.problem(&value, message, hint);
                None
            }
        }
    }

    fn ranged<T: PartialOrd>(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        (min, max): (T, T),
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let key = self.key(name);
        self.parsed_or_default(reader, name, |text| {
            let value = parse(text)?;
            if value < min || value > max { Err(key.hint.to_owned()) } else { Ok(value) }
        })
    }

    fn key(&self, name: &str) -> &'static Key {
        keys::find(&join(&self.pattern, name))
    }

    fn report_unknown(&self, reader: &mut Reader<'_>) {
        let known = keys::children(&self.pattern);
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let path = join(&self.path, &shown_key(&entry.key));
            let (message, hint) = if keys::is_not_built_yet(&join(&self.pattern, &entry.key)) {
                ("not supported yet by this version", "remove the key".to_owned())
            } else {
                ("unknown key", did_you_mean(&entry.key, &known))
            };
            reader.findings.problem(Some(entry.at), &path, message, Some(hint));
        }
    }
}

/// The nearest word, or all of them when none is near.
fn whole_number(text: &str) -> Result<u64, String> {
    let number = text.parse::<u64>().map_err(|_| "write a whole number in digits".to_owned())?;
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("a leading zero means octal to some and nothing to others: write `{number}`"));
    }
    Ok(number)
}

fn did_you_mean(text: &str, words: &[&str]) -> String {
    match nearest(text, words) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known here: {}", quoted(words, "and")),
    }
}

fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    let distance = |word: &str| strsim::damerau_levenshtein(text, word);
    words.iter().copied().min_by_key(|word| distance(word)).filter(|word| distance(word) <= 1 + word.len() / 4)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn shown_key(key: &str) -> String {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '<');
    if !key.is_empty() && key.chars().all(simple) { key.to_owned() } else { format!("{key:?}") }
}
