//! One record as JSON objects, token by token. Nothing is accepted that is not JSON: a skipped value is checked as
//! strictly as one that is read, and no input can exhaust the stack.

use sonic_rs::Read;
use sonic_rs::parser::{Parser, Reference};

/// Deepest nesting inside one value. sonic's checking skip recurses once per level.
const DEPTH_MAX: usize = 128;

/// A value of an object's member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    Null,
    Boolean(bool),
    /// As written.
    Number(&'a str),
    /// Unescaped.
    Text(&'a str),
    /// An object or array, as written.
    Nested(&'a str),
}

/// The record is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Syntax(pub(crate) String);

/// What stands where an object may begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Top<'a> {
    End,
    /// [`RecordReader::next_key`] goes on.
    Object,
    /// Valid JSON, but an array or a scalar; it was skipped.
    Other(&'a str),
}

/// Reads a record's text from front to back.
pub(crate) struct RecordReader<'a> {
    text: &'a str,
    parser: Parser<Read<'a>>,
    /// Whether the rest can neither nest too deeply nor hide a bad escape; known once it was looked at.
    shallow: Option<bool>,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Result<RecordReader<'a>, Syntax> {
        let text =
            std::str::from_utf8(data).map_err(|error| Syntax(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
        Ok(RecordReader { text, parser: Parser::new(Read::from(text)), shallow: None })
    }

    pub(crate) fn next_top(&mut self) -> Result<Top<'a>, Syntax> {
        match self.parser.skip_space_peek() {
            None => Ok(Top::End),
            Some(b'{') => {
                self.parser.skip_space();
                Ok(Top::Object)
            }
            Some(_) => Ok(Top::Other(self.skip_value()?)),
        }
    }

    /// The next member's name, unescaped into `buffer` if need be; `None` at the object's end.
    pub(crate) fn next_key<'b>(&mut self, first: bool, buffer: &'b mut Vec<u8>) -> Result<Option<&'b str>, Syntax>
    where
        'a: 'b,
    {
        let mut next = self.parser.skip_space();
        if next == Some(b'}') {
            return Ok(None);
        }
        if !first {
            if next != Some(b',') {
                return Err(self.fault("expected `,` or `}`"));
            }
            next = self.parser.skip_space();
        }
        if next != Some(b'"') {
            return Err(self.fault("expected a quoted name"));
        }
        let key = self.parser.parse_str(buffer).map_err(|error| syntax(&error))?;
        self.parser_colon()?;
        Ok(Some(match key {
            Reference::Borrowed(text) => text,
            Reference::Copied(text) => text,
        }))
    }

    /// The value after a name; a string is unescaped into `buffer` if need be.
    pub(crate) fn value<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<Token<'b>, Syntax>
    where
        'a: 'b,
    {
        match self.parser.skip_space_peek() {
            Some(b'"') => {
                self.parser.skip_space();
                let text = self.parser.parse_str(buffer).map_err(|error| syntax(&error))?;
                Ok(Token::Text(match text {
                    Reference::Borrowed(text) => text,
                    Reference::Copied(text) => text,
                }))
            }
            Some(b'{' | b'[') => Ok(Token::Nested(self.skip_value()?)),
            _ => Ok(match self.skip_value()? {
                "null" => Token::Null,
                "true" => Token::Boolean(true),
                "false" => Token::Boolean(false),
                number => Token::Number(number),
            }),
        }
    }

    /// Steps over the value after a name, or at the top, and returns it as written.
    pub(crate) fn skip_value(&mut self) -> Result<&'a str, Syntax> {
        let first = self.parser.skip_space_peek();
        let start = self.parser.offset();
        if matches!(first, Some(b'{' | b'[')) && !self.is_shallow(start) {
            check_depth(&self.text[start..])?;
        }
        self.parser.skip_one(true).map_err(|error| syntax(&error))?;
        let value = &self.text[start..self.parser.offset()];
        if matches!(first, Some(b'{' | b'[' | b'"')) && !self.is_shallow(start) {
            check_escapes(value, start)?;
        }
        Ok(value)
    }

    /// One fast pass over what is left settles it for the usual record.
    fn is_shallow(&mut self, start: usize) -> bool {
        *self.shallow.get_or_insert_with(|| {
            let rest = &self.text.as_bytes()[start..];
            let openers = rest.iter().filter(|byte| **byte | 0x20 == b'{').count();
            openers <= DEPTH_MAX && !rest.contains(&b'\\')
        })
    }

    fn parser_colon(&mut self) -> Result<(), Syntax> {
        if self.parser.skip_space() == Some(b':') { Ok(()) } else { Err(self.fault("expected `:`")) }
    }

    fn fault(&self, expected: &str) -> Syntax {
        if self.parser.offset() >= self.text.len() {
            return Syntax(format!("not JSON: {expected}, got the end of the record"));
        }
        Syntax(format!("not JSON at byte {}: {expected}", self.parser.offset().saturating_sub(1)))
    }
}

#[cold]
fn syntax(error: &sonic_rs::Error) -> Syntax {
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    let what = what.split(" at line ").next().unwrap_or(what);
    Syntax(format!("not JSON at byte {}: {}", error.offset(), what.trim_end_matches('.').to_lowercase()))
}

/// Follows brackets outside strings until the value at the front ends. Whether they match is sonic's to say.
fn check_depth(text: &str) -> Result<(), Syntax> {
    let (mut depth, mut in_string) = (0usize, false);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Syntax(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if depth == 0 {
            break;
        }
    }
    Ok(())
}

/// sonic's skip steps over `\u` and four bytes without a look at them.
fn check_escapes(value: &str, start: usize) -> Result<(), Syntax> {
    let bytes = value.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += found;
        if bytes.get(at + 1) == Some(&b'u') {
            let digits = bytes.get(at + 2..at + 6);
            if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                return Err(Syntax(format!("not JSON at byte {}: bad unicode escape", start + at)));
            }
        }
        at += 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Vec<(String, String)>, Syntax> {
        let mut reader = RecordReader::new(text.as_bytes())?;
        let (mut key_buffer, mut value_buffer) = (Vec::new(), Vec::new());
        let mut members = Vec::new();
        loop {
            match reader.next_top()? {
                Top::End => return Ok(members),
                Top::Other(text) => members.push(("top".to_owned(), text.to_owned())),
                Top::Object => {
                    let mut first = true;
                    while let Some(key) = reader.next_key(first, &mut key_buffer)? {
                        let value = reader.value(&mut value_buffer)?;
                        members.push((key.to_owned(), format!("{value:?}")));
                        first = false;
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_keep_their_text() {
        let text = "\n{\"a\": 1.50, \"b\\n\" :\"x\\u0041\\ud83d\\ude00\"}{ } {\"c\":[1, {\"d\":\"]\"}],\"e\":null,\"f\":true}\n";
        let expected = [
            ("a", "Number(\"1.50\")"),
            ("b\n", "Text(\"xA😀\")"),
            ("c", "Nested(\"[1, {\\\"d\\\":\\\"]\\\"}]\")"),
            ("e", "Null"),
            ("f", "Boolean(true)"),
        ];
        let got = read_all(text).unwrap();
        let got: Vec<_> = got.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_is_not_json_is_refused_also_where_it_is_skipped() {
        let bad = [
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{,}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":-}",
            "{\"a\":NaN}",
            "{\"a\":tru}",
            "{\"a\":truex}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\u\"}",
            "{\"a\":[1,]}",
            "{\"a\":[1}",
            "{\"a\":[\"\\u00zz\"]}",
            "{\"a\":{\"b\":tru}}",
            "{\"a\":1}}",
            "{\"a\":1},",
            "hello",
            "'a'",
            "2024-01-01",
        ];
        for text in bad {
            assert!(read_all(text).is_err(), "{text:?} was read");
            let mut reader = RecordReader::new(text.as_bytes()).unwrap();
            let mut skip_all = || -> Result<(), Syntax> {
                loop {
                    match reader.next_top()? {
                        Top::End => return Ok(()),
                        Top::Other(_) => {}
                        Top::Object => {
                            let mut first = true;
                            while reader.next_key(first, &mut Vec::new())?.is_some() {
                                reader.skip_value()?;
                                first = false;
                            }
                        }
                    }
                }
            };
            assert!(skip_all().is_err(), "{text:?} was skipped");
        }
        assert!(RecordReader::new(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_all(&nested(DEPTH_MAX)).is_ok());
        assert!(read_all(&nested(DEPTH_MAX + 1)).is_err());
        assert!(read_all(&nested(1_000_000)).is_err());
        assert!(read_all(&"[".repeat(1_000_000)).is_err());
        assert!(read_all(&format!("{{\"a\":[\"{}\"]}}", "[".repeat(1000))).is_ok());
        assert!(read_all(&format!("{{\"a\":[{}1]}}", "[1],".repeat(1000))).is_ok());
    }
}
