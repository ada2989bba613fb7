//! One JSON value into one typed cell. Liberal as OpenX where nothing is lost, otherwise a refusal that says why.

use hydrant_config::ColumnKind;

use crate::json::Token;
use crate::moment;
use crate::number::{Exact, NumberFault, parse_integer};

/// Why a value does not fit; completes "column `c` wants int, got 1.5: ".
pub(crate) type Misfit = &'static str;

const NUMBER: Misfit = "not a number";
const WHOLE: Misfit = "has a fraction";
const RANGE: Misfit = "out of range";
const MOMENT: Misfit =
    "not a timestamp: write yyyy-MM-ddTHH:mm:ssZ, yyyy-MM-dd HH:mm:ss, or epoch seconds or milliseconds";
const DAY: Misfit = "not a date: write yyyy-MM-dd or days since 1970-01-01, in the years 1 to 9999";

/// `true`, `false`, and those words in a string.
pub(crate) fn boolean(token: &Token<'_>) -> Result<bool, Misfit> {
    match token {
        Token::Boolean(value) => Ok(*value),
        Token::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Token::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("neither true nor false"),
    }
}

/// A number without a fraction, or its digits in a string.
pub(crate) fn integer<T: TryFrom<i64>>(token: &Token<'_>) -> Result<T, Misfit> {
    let value = parse_integer(number_text(token)?).map_err(misfit)?;
    T::try_from(value).map_err(|_| RANGE)
}

/// The nearest value; `NaN`, `Infinity` and `-Infinity` only as strings, since JSON has no word for them.
pub(crate) fn double(token: &Token<'_>) -> Result<f64, Misfit> {
    if let Some(value) = special(token) {
        return Ok(value);
    }
    let value: f64 = float_text(token)?.parse().map_err(|_| NUMBER)?;
    if value.is_finite() { Ok(value) } else { Err(RANGE) }
}

/// As [`double`], rounded once, from the text.
pub(crate) fn float(token: &Token<'_>) -> Result<f32, Misfit> {
    if let Some(value) = special(token) {
        return Ok(if value.is_nan() {
            f32::NAN
        } else {
            f32::INFINITY.copysign(if value < 0.0 { -1.0 } else { 1.0 })
        });
    }
    let value: f32 = float_text(token)?.parse().map_err(|_| NUMBER)?;
    if value.is_finite() { Ok(value) } else { Err(RANGE) }
}

/// A string's characters; of anything else its JSON text.
pub(crate) fn text<'a>(token: &Token<'a>) -> &'a str {
    match token {
        Token::Text(text) | Token::Number(text) | Token::Nested(text) => text,
        Token::Boolean(true) => "true",
        Token::Boolean(false) => "false",
        Token::Null => "null",
    }
}

/// Appends the bytes of base64 text, padded or not; on refusal `bytes` is as it was.
pub(crate) fn binary(token: &Token<'_>, bytes: &mut Vec<u8>) -> Result<(), Misfit> {
    let Token::Text(text) = token else { return Err("not base64 text") };
    let before = bytes.len();
    let padded = base64_simd::STANDARD.decode_append(text, bytes);
    if padded.is_ok() {
        return Ok(());
    }
    bytes.truncate(before);
    base64_simd::STANDARD_NO_PAD.decode_append(text, bytes).map_err(|_| {
        bytes.truncate(before);
        "not base64"
    })
}

/// Days since 1970-01-01.
pub(crate) fn date(token: &Token<'_>) -> Result<i32, Misfit> {
    match token {
        Token::Text(text) => moment::parse_date(text).ok_or(DAY),
        Token::Number(text) => moment::date_from_number(parse_integer(text).map_err(|_| DAY)?).map_err(|_| DAY),
        _ => Err(DAY),
    }
}

/// Microseconds since 1970-01-01T00:00:00Z.
pub(crate) fn timestamp(token: &Token<'_>) -> Result<i64, Misfit> {
    let of_number = |text| Exact::parse(text).and_then(moment::timestamp_from_number);
    match token {
        Token::Number(text) => of_number(text).map_err(|_| MOMENT),
        Token::Text(text) => moment::parse_timestamp(text).or_else(|| of_number(text).ok()).ok_or(MOMENT),
        _ => Err(MOMENT),
    }
}

/// The unscaled value of a `decimal(precision, scale)`.
pub(crate) fn decimal(token: &Token<'_>, precision: u8, scale: i8) -> Result<i128, Misfit> {
    let number = Exact::parse(number_text(token)?).map_err(misfit)?;
    let unscaled = number.scaled(i64::from(scale)).map_err(|fault| match fault {
        NumberFault::Fraction => "more decimal places than the column has",
        fault => misfit(fault),
    })?;
    let bound = 10u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
    if unscaled.unsigned_abs() < bound { Ok(unscaled) } else { Err(RANGE) }
}

/// Glue's name of the type.
pub(crate) fn kind_name(kind: ColumnKind) -> String {
    match kind {
        ColumnKind::Boolean => "boolean".into(),
        ColumnKind::Tinyint => "tinyint".into(),
        ColumnKind::Smallint => "smallint".into(),
        ColumnKind::Int => "int".into(),
        ColumnKind::Bigint => "bigint".into(),
        ColumnKind::Float => "float".into(),
        ColumnKind::Double => "double".into(),
        ColumnKind::String => "string".into(),
        ColumnKind::Binary => "binary".into(),
        ColumnKind::Date => "date".into(),
        ColumnKind::Timestamp => "timestamp".into(),
        ColumnKind::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
    }
}

/// A value for a message: at most about 80 characters, strings quoted and escaped.
pub(crate) fn excerpt(token: &Token<'_>) -> String {
    const CHARACTERS_MAX: usize = 80;
    let whole = text(token);
    let cut = whole.char_indices().nth(CHARACTERS_MAX).map_or(whole, |(at, _)| &whole[..at]);
    let dots = if cut.len() < whole.len() { "…" } else { "" };
    match token {
        Token::Text(_) => format!("{cut:?}{dots}"),
        _ => format!("{cut}{dots}"),
    }
}

fn number_text<'a>(token: &Token<'a>) -> Result<&'a str, Misfit> {
    match token {
        Token::Number(text) | Token::Text(text) => Ok(text),
        _ => Err(NUMBER),
    }
}

/// Rust's own float syntax allows more than JSON's, so a string's grammar is checked first.
fn float_text<'a>(token: &Token<'a>) -> Result<&'a str, Misfit> {
    let text = number_text(token)?;
    if matches!(token, Token::Text(_)) {
        // A long or huge number is still a float, only a rounded one.
        match Exact::parse(text) {
            Ok(_) | Err(NumberFault::OutOfRange) => {}
            Err(_) => return Err(NUMBER),
        }
    }
    Ok(text)
}

fn special(token: &Token<'_>) -> Option<f64> {
    match token {
        Token::Text("NaN") => Some(f64::NAN),
        Token::Text("Infinity") => Some(f64::INFINITY),
        Token::Text("-Infinity") => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn misfit(fault: NumberFault) -> Misfit {
    match fault {
        NumberFault::NotANumber => NUMBER,
        NumberFault::Fraction => WHOLE,
        NumberFault::OutOfRange => RANGE,
    }
}

#[cfg(test)]
mod tests;
