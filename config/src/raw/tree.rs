//! From text to the tree. What could surprise (duplicate keys, aliases, merge keys, tags, several documents) is a
//! problem here; a syntax error ends the reading, everything else does not.

use serde_saphyr::granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::borrow::Cow;

use crate::problem::{At, Findings};

/// One YAML node and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    /// Keys are distinct.
    Map(Vec<Entry>),
    /// Its problem was reported already.
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Without quotes: only then may it be a number, a boolean or nothing.
    pub(crate) plain: bool,
    /// Columns from the node's place to the first character of the text, if the text stands in the file letter by letter.
    pub(crate) text_column: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: At,
    pub(crate) key: String,
    pub(crate) value: Node,
}

/// The root of the one document in the text. `None` when that cannot be told; the problem is reported then.
pub(crate) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    let mut builder = Builder { source: text, parser: Parser::new_from_str_with_options(text, options), findings };
    let root = builder.document()?;
    if root.is_none() {
        findings.problem(None, "", "the file is empty", Some("`hydrant init` writes one to start from".to_owned()));
    }
    root
}

struct Builder<'a, 'f> {
    source: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    findings: &'f mut Findings,
}

impl<'a> Builder<'a, '_> {
    /// Outer `None`: a syntax error. Inner `None`: nothing is there.
    fn document(&mut self) -> Option<Option<Node>> {
        let mut root: Option<Node> = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Some(root.filter(|node| !node.is_nothing())),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let hint = "remove the `---`; one file holds one configuration".to_owned();
                    self.findings.problem(Some(at(span)), "", "a second YAML document begins here", Some(hint));
                    return Some(root);
                }
                Event::DocumentStart(..) => {}
                node => root = Some(self.node(node, span)?),
            }
        }
    }

    fn next(&mut self) -> Option<(Event<'a>, Span)> {
        match self.parser.next_event()? {
            Ok(pair) => Some(pair),
            Err(error) => {
                let marker = error.marker();
                let at = At { line: marker.line(), column: marker.col() + 1 };
                let (message, hint) = syntax(&error);
                self.findings.problem(Some(at), "", message, hint);
                None
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Option<Node> {
        let at = at(span);
        let tag = event.tag().map(Tag::original);
        let kind = match event {
            Event::Scalar(text, style, ..) => self.scalar(text, style, span),
            Event::SequenceStart(..) => self.list()?,
            Event::MappingStart(..) => self.map()?,
            // Aliases, resolved or not.
            _ => {
                let message = "YAML anchors and aliases are not supported";
                self.findings.problem(Some(at), "", message, Some("write the value out".to_owned()));
                Kind::Refused
            }
        };
        if let Some(tag) = tag {
            let message = format!("YAML tags are not supported, got `{tag}`");
            self.findings.problem(Some(at), "", message, Some("remove the tag; quote what must be text".to_owned()));
            return Some(Node { at, kind: Kind::Refused });
        }
        Some(Node { at, kind })
    }

    fn scalar(&self, text: Cow<'a, str>, style: ScalarStyle, span: Span) -> Kind {
        let source = span.slice(self.source).unwrap_or_default();
        let text_column = source.find(&*text).filter(|start| *start <= 1 && text.is_ascii() && !text.contains('\n'));
        Kind::Scalar(Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain, text_column })
    }

    fn list(&mut self) -> Option<Kind> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(Kind::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Option<Kind> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Some(Kind::Map(entries));
            }
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let Node { at, kind } = self.node(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            let key = match kind {
                Kind::Scalar(scalar) => scalar.text,
                Kind::Refused => continue,
                Kind::List(_) | Kind::Map(_) => {
                    self.findings.problem(Some(at), "", "a key must be text, got a list or a map", None);
                    continue;
                }
            };
            if plain && key == "<<" {
                let hint = "write the keys out".to_owned();
                self.findings.problem(Some(at), "", "YAML merge keys (`<<`) are not supported", Some(hint));
            } else if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("the key `{key}` stands twice, first in line {}", first.at.line);
                self.findings.problem(Some(at), "", message, Some("remove one of them".to_owned()));
            } else {
                entries.push(Entry { at, key, value });
            }
        }
    }
}

impl Node {
    /// A key without a value, `~` or `null`.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.plain && matches!(scalar.text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// In a few words, for `got …`.
    pub(crate) fn described(&self) -> String {
        match &self.kind {
            _ if self.is_nothing() => "nothing".to_owned(),
            Kind::Scalar(scalar) => scalar.described(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Refused => "something else".to_owned(),
        }
    }
}

impl Scalar {
    /// Quantities read better without quotes.
    fn described(&self) -> String {
        let quantity = self.text.starts_with(|c: char| c.is_ascii_digit())
            && self.text.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
        match self.text.as_str() {
            "" => "an empty text".to_owned(),
            text if quantity && self.plain => text.to_owned(),
            text => format!("`{text}`"),
        }
    }
}

fn at(span: Span) -> At {
    At { line: span.start.line(), column: span.start.col() + 1 }
}

fn syntax(error: &ScanError) -> (String, Option<String>) {
    use ErrorKind::{TabAtBlockScalarStart, TabInBlockIndentation, TabInIndentation, TabInPlainScalar, TabNotAllowed};
    match error.kind() {
        TabNotAllowed | TabInBlockIndentation | TabInIndentation | TabAtBlockScalarStart | TabInPlainScalar => {
            ("a tab cannot indent YAML".to_owned(), Some("use spaces".to_owned()))
        }
        ErrorKind::MappingValueNotAllowed => (
            "not valid YAML: a `:` stands where no key can be".to_owned(),
            Some("check the indentation of this line, or quote the text that holds `: `".to_owned()),
        ),
        kind => (format!("not valid YAML: {kind}"), None),
    }
}
