//! JSON members read as AWS's front end reads them: `null` is absent, unknown members are ignored, a wrong JSON type is a
//! `SerializationException` at once, and broken constraints are collected into one `ValidationException`.

use serde_json::{Map, Value};

use crate::ApiError;

/// The front end stops counting here.
const VIOLATIONS_MAX: usize = 10;
/// Of a value in an error, so that no answer and no line of a log is as long as what a client sent.
const SHOWN_CHARS_MAX: usize = 1000;

/// One structure of a request, with the path that errors name.
#[derive(Clone, Debug)]
pub(crate) struct Shape<'a> {
    members: &'a Map<String, Value>,
    path: String,
}

/// Constraints that the request breaks.
#[derive(Debug, Default)]
pub(crate) struct Violations(Vec<String>);

impl<'a> Shape<'a> {
    pub(crate) fn root(value: &'a Value) -> Result<Shape<'a>, ApiError> {
        Shape::of(value, String::new())
    }

    /// What an error calls the member: lower-case first letters, joined by dots.
    pub(crate) fn at(&self, member: &str) -> String {
        let mut name = member.to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        if self.path.is_empty() { name } else { format!("{}.{name}", self.path) }
    }

    pub(crate) fn has(&self, member: &str) -> bool {
        self.get(member).is_some()
    }

    pub(crate) fn get(&self, member: &str) -> Option<&'a Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.members.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    pub(crate) fn text(&self, member: &str) -> Result<Option<&'a str>, ApiError> {
        self.get(member).map(|value| value.as_str().ok_or_else(|| mistyped(value, "a String"))).transpose()
    }

    /// A fraction is cut off.
    pub(crate) fn integer(&self, member: &str) -> Result<Option<i64>, ApiError> {
        #[expect(clippy::cast_possible_truncation, reason = "AWS truncates a number with a fraction; `as` saturates")]
        let read = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(|number| number as i64));
        self.get(member).map(|value| read(value).ok_or_else(|| mistyped(value, "an Integer"))).transpose()
    }

    pub(crate) fn flag(&self, member: &str) -> Result<Option<bool>, ApiError> {
        self.get(member).map(|value| value.as_bool().ok_or_else(|| mistyped(value, "a Boolean"))).transpose()
    }

    pub(crate) fn part(&self, member: &str) -> Result<Option<Shape<'a>>, ApiError> {
        self.get(member).map(|value| Shape::of(value, self.at(member))).transpose()
    }

    /// The structures of a list; empty if the list is absent.
    pub(crate) fn parts(&self, member: &str) -> Result<Vec<Shape<'a>>, ApiError> {
        let Some(value) = self.get(member) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| match value {
            Value::Object(_) => ApiError::serialization("Start of structure or map found where not expected."),
            _ => ApiError::serialization("Expected list or null"),
        })?;
        let place = |index: usize| format!("{}.{}.member", self.at(member), index + 1);
        list.iter().enumerate().map(|(index, one)| Shape::of(one, place(index))).collect()
    }

    fn of(value: &'a Value, path: String) -> Result<Shape<'a>, ApiError> {
        match value {
            Value::Object(members) => Ok(Shape { members, path }),
            Value::Array(_) => Err(ApiError::serialization("Unexpected list found where a structure was expected.")),
            _ => Err(ApiError::serialization("Expected null")),
        }
    }
}

impl Violations {
    pub(crate) fn push(&mut self, value: &str, at: &str, constraint: &str) {
        if self.0.len() < VIOLATIONS_MAX {
            let end = value.char_indices().nth(SHOWN_CHARS_MAX).map(|(end, _)| end);
            let (value, more) = end.map_or((value, ""), |end| (&value[..end], "…"));
            self.0.push(format!("Value '{value}{more}' at '{at}' failed to satisfy constraint: {constraint}"));
        }
    }

    pub(crate) fn required<T>(&mut self, shape: &Shape<'_>, member: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.missing(&shape.at(member));
        }
        value
    }

    pub(crate) fn missing(&mut self, at: &str) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(format!("Value null at '{at}' failed to satisfy constraint: Member must not be null"));
        }
    }

    /// Characters of a text.
    pub(crate) fn length(&mut self, at: &str, value: &str, allowed: std::ops::RangeInclusive<usize>) {
        if let Some(constraint) = wrong_length(value, allowed) {
            self.push(value, at, &constraint);
        }
    }

    /// The same of a secret, which no error shows.
    pub(crate) fn secret_length(&mut self, at: &str, value: &str, allowed: std::ops::RangeInclusive<usize>) {
        if let Some(constraint) = wrong_length(value, allowed).filter(|_| self.0.len() < VIOLATIONS_MAX) {
            self.0.push(format!("Value at '{at}' failed to satisfy constraint: {constraint}"));
        }
    }

    pub(crate) fn range(&mut self, at: &str, value: i64, allowed: std::ops::RangeInclusive<i64>) {
        if value > *allowed.end() {
            let most = allowed.end();
            self.push(&value.to_string(), at, &format!("Member must have value less than or equal to {most}"));
        } else if value < *allowed.start() {
            let least = allowed.start();
            self.push(&value.to_string(), at, &format!("Member must have value greater than or equal to {least}"));
        }
    }

    pub(crate) fn choice(&mut self, at: &str, value: &str, allowed: &[&str]) {
        if !allowed.contains(&value) {
            let set = allowed.join(", ");
            self.push(value, at, &format!("Member must satisfy enum value set: [{set}]"));
        }
    }

    /// `pattern` is what the text shows; `matches` decides.
    pub(crate) fn pattern(&mut self, at: &str, value: &str, (pattern, matches): (&str, bool)) {
        if !matches {
            self.push(value, at, &format!("Member must satisfy regular expression pattern: {pattern}"));
        }
    }

    /// Members of a required list.
    pub(crate) fn count(&mut self, at: &str, count: Option<usize>, most: usize) {
        match count {
            None => self.missing(at),
            Some(0) => self.push("[]", at, "Member must have length greater than or equal to 1"),
            Some(count) if count > most => {
                self.push("[...]", at, &format!("Member must have length less than or equal to {most}"));
            }
            Some(_) => {}
        }
    }

    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let (count, list) = (self.0.len(), self.0.join("; "));
        match count {
            0 => Ok(()),
            1 => Err(ApiError::validation(format!("1 validation error detected: {list}"))),
            _ => Err(ApiError::validation(format!("{count} validation errors detected: {list}"))),
        }
    }
}

fn wrong_length(value: &str, allowed: std::ops::RangeInclusive<usize>) -> Option<String> {
    let (length, least, most) = (value.chars().count(), allowed.start(), allowed.end());
    if length > *most {
        Some(format!("Member must have length less than or equal to {most}"))
    } else {
        (length < *least).then(|| format!("Member must have length greater than or equal to {least}"))
    }
}

fn mistyped(value: &Value, wanted: &str) -> ApiError {
    let found = match value {
        Value::String(_) => "STRING_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Array(_) => return ApiError::serialization("Unrecognized collection type found where not expected."),
        _ => return ApiError::serialization("Start of structure or map found where not expected."),
    };
    ApiError::serialization(format!("{found} can not be converted to {wanted}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_coerced_as_at_aws() {
        let value = json!({ "Limit": 2.9, "Name": null, "Flag": true, "Part": { "Inner": [{}, 3] }, "Text": "x" });
        let root = Shape::root(&value).unwrap();
        assert_eq!(root.integer("Limit"), Ok(Some(2)));
        assert_eq!(root.text("Name"), Ok(None));
        assert_eq!(root.integer("Text").unwrap_err().message, "STRING_VALUE can not be converted to an Integer");
        assert_eq!(root.text("Flag").unwrap_err().message, "TRUE_VALUE can not be converted to a String");
        assert_eq!(root.flag("Part").unwrap_err().message, "Start of structure or map found where not expected.");
        let part = root.part("Part").unwrap().unwrap();
        assert_eq!(part.at("Inner"), "part.inner");
        assert_eq!(part.parts("Inner").unwrap_err().code, "SerializationException");
        assert_eq!(root.parts("Text").unwrap_err().message, "Expected list or null");
    }

    #[test]
    fn violations_are_counted_up_to_ten() {
        let mut violations = Violations::default();
        violations.range("limit", 0, 1..=10);
        violations.length("name", "", 1..=64);
        let text = violations.finish().unwrap_err().message;
        assert_eq!(
            text,
            "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1; Value '' at 'name' failed to satisfy constraint: Member must have length \
             greater than or equal to 1"
        );
        let mut long = Violations::default();
        long.length("name", &"é".repeat(5000), 1..=64);
        let text = long.finish().unwrap_err().message;
        assert!(text.contains("é…' at 'name'") && text.len() < 2200, "{text}");
        let mut secret = Violations::default();
        secret.secret_length("token", "hush", 0..=3);
        assert_eq!(
            secret.finish().unwrap_err().message,
            "1 validation error detected: Value at 'token' failed to satisfy constraint: Member must have length less than \
             or equal to 3"
        );
        let mut many = Violations::default();
        (0..20).for_each(|_| many.missing("x"));
        assert!(many.finish().unwrap_err().message.starts_with("10 validation errors detected: "));
        assert!(Violations::default().finish().is_ok());
    }
}
