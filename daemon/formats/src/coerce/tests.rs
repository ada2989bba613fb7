use super::*;

/// `Ok` of the cell's debug text, or the reason of refusal.
fn cell(kind: ColumnKind, token: Token<'_>) -> Result<String, Misfit> {
    Ok(match kind {
        ColumnKind::Boolean => boolean(&token)?.to_string(),
        ColumnKind::Tinyint => integer::<i8>(&token)?.to_string(),
        ColumnKind::Smallint => integer::<i16>(&token)?.to_string(),
        ColumnKind::Int => integer::<i32>(&token)?.to_string(),
        ColumnKind::Bigint => integer::<i64>(&token)?.to_string(),
        ColumnKind::Float => float(&token)?.to_string(),
        ColumnKind::Double => double(&token)?.to_string(),
        ColumnKind::String => text(&token).to_owned(),
        ColumnKind::Binary => {
            let mut bytes = b"kept".to_vec();
            let verdict = binary(&token, &mut bytes);
            assert!(bytes.starts_with(b"kept") && (verdict.is_ok() || bytes.len() == 4));
            verdict?;
            format!("{:?}", &bytes[4..])
        }
        ColumnKind::Date => date(&token)?.to_string(),
        ColumnKind::Timestamp => timestamp(&token)?.to_string(),
        ColumnKind::Decimal { precision, scale } => decimal(&token, precision, scale)?.to_string(),
    })
}

fn check(kind: ColumnKind, cases: &[(Token<'_>, Result<&str, Misfit>)]) {
    for (token, expected) in cases {
        let expected = expected.map(str::to_owned);
        assert_eq!(cell(kind, *token), expected, "{token:?} into {}", kind_name(kind));
    }
}

use Token::{Boolean, Nested, Number, Text};

#[test]
fn booleans() {
    const NO: Misfit = "neither true nor false";
    check(
        ColumnKind::Boolean,
        &[
            (Boolean(true), Ok("true")),
            (Text("false"), Ok("false")),
            (Text("TRUE"), Ok("true")),
            (Text("yes"), Err(NO)),
            (Text(""), Err(NO)),
            (Number("1"), Err(NO)),
            (Nested("[true]"), Err(NO)),
        ],
    );
}

#[test]
fn integers() {
    for (kind, least, most, below, above) in [
        (ColumnKind::Tinyint, "-128", "127", "-129", "128"),
        (ColumnKind::Smallint, "-32768", "32767", "-32769", "32768"),
        (ColumnKind::Int, "-2147483648", "2147483647", "-2147483649", "2147483648"),
        (
            ColumnKind::Bigint,
            "-9223372036854775808",
            "9223372036854775807",
            "-9223372036854775809",
            "9223372036854775808",
        ),
    ] {
        check(
            kind,
            &[
                (Number(least), Ok(least)),
                (Number(most), Ok(most)),
                (Text(most), Ok(most)),
                (Number(below), Err(RANGE)),
                (Number(above), Err(RANGE)),
                (Text(above), Err(RANGE)),
                (Number("1.0"), Ok("1")),
                (Number("1e2"), Ok("100")),
                (Text("08"), Ok("8")),
                (Number("1.5"), Err(WHOLE)),
                (Text("1.5"), Err(WHOLE)),
                (Text(""), Err(NUMBER)),
                (Text(" 1"), Err(NUMBER)),
                (Text("+1"), Err(NUMBER)),
                (Text("0x1"), Err(NUMBER)),
                (Text("one"), Err(NUMBER)),
                (Boolean(true), Err(NUMBER)),
                (Nested("{}"), Err(NUMBER)),
                (Nested("[1]"), Err(NUMBER)),
            ],
        );
    }
}

#[test]
fn floats() {
    for kind in [ColumnKind::Float, ColumnKind::Double] {
        check(
            kind,
            &[
                (Number("1.5"), Ok("1.5")),
                (Number("-0.25e1"), Ok("-2.5")),
                (Number("3"), Ok("3")),
                (Text("1.5"), Ok("1.5")),
                (Text("NaN"), Ok("NaN")),
                (Text("Infinity"), Ok("inf")),
                (Text("-Infinity"), Ok("-inf")),
                (Number("0.00000000000000000000000000000000000000000000000000000000001e59"), Ok("1")),
                (Number("1e400"), Err(RANGE)),
                (Text("-1e400"), Err(RANGE)),
                (Text("inf"), Err(NUMBER)),
                (Text("nan"), Err(NUMBER)),
                (Text(".5"), Err(NUMBER)),
                (Text(""), Err(NUMBER)),
                (Boolean(false), Err(NUMBER)),
                (Nested("[]"), Err(NUMBER)),
            ],
        );
    }
    check(ColumnKind::Float, &[(Number("3.5e38"), Err(RANGE)), (Number("0.1"), Ok("0.1"))]);
    check(ColumnKind::Double, &[(Number("0.1"), Ok("0.1")), (Number("9007199254740993"), Ok("9007199254740992"))]);
    let digits = "1".repeat(60);
    check(ColumnKind::Double, &[(Text(&digits), Ok(&digits.parse::<f64>().unwrap().to_string()))]);
}

#[test]
fn strings_take_everything_as_written() {
    check(
        ColumnKind::String,
        &[
            (Text("x\n"), Ok("x\n")),
            (Text(""), Ok("")),
            (Number("1.50"), Ok("1.50")),
            (Number("123456789012345678901234567890"), Ok("123456789012345678901234567890")),
            (Boolean(true), Ok("true")),
            (Nested("{\"a\": [1, 2.0]}"), Ok("{\"a\": [1, 2.0]}")),
        ],
    );
}

#[test]
fn binaries() {
    check(
        ColumnKind::Binary,
        &[
            (Text("AP8="), Ok("[0, 255]")),
            (Text("AP8"), Ok("[0, 255]")),
            (Text(""), Ok("[]")),
            (Text("A"), Err("not base64")),
            (Text("AP8=="), Err("not base64")),
            (Text("A P8="), Err("not base64")),
            (Text("_-8="), Err("not base64")),
            (Number("1234"), Err("not base64 text")),
        ],
    );
}

#[test]
fn moments() {
    check(
        ColumnKind::Date,
        &[
            (Text("2024-02-29"), Ok("19782")),
            (Number("19782"), Ok("19782")),
            (Number("-1"), Ok("-1")),
            (Text("2023-02-29"), Err(DAY)),
            (Text("19782"), Err(DAY)),
            (Number("1.5"), Err(DAY)),
            (Number("20240229"), Err(DAY)),
            (Boolean(true), Err(DAY)),
        ],
    );
    check(
        ColumnKind::Timestamp,
        &[
            (Text("2023-11-14T22:13:20Z"), Ok("1700000000000000")),
            (Text("2023-11-14 22:13:20.000001"), Ok("1700000000000001")),
            (Text("2023-11-15T00:13:20+02:00"), Ok("1700000000000000")),
            (Number("1700000000"), Ok("1700000000000000")),
            (Number("1700000000000"), Ok("1700000000000000")),
            (Number("1700000000.25"), Ok("1700000000250000")),
            (Text("1700000000"), Ok("1700000000000000")),
            (Text("14/Nov/2023:22:13:20 +0000"), Err(MOMENT)),
            (Text(""), Err(MOMENT)),
            (Number("1e30"), Err(MOMENT)),
            (Boolean(true), Err(MOMENT)),
            (Nested("{}"), Err(MOMENT)),
        ],
    );
}

#[test]
fn decimals() {
    const PLACES: Misfit = "more decimal places than the column has";
    check(
        ColumnKind::Decimal { precision: 5, scale: 2 },
        &[
            (Number("123.45"), Ok("12345")),
            (Number("-123.4"), Ok("-12340")),
            (Text("1.5"), Ok("150")),
            (Number("1.5000"), Ok("150")),
            (Number("1e2"), Ok("10000")),
            (Number("999.99"), Ok("99999")),
            (Number("1000"), Err(RANGE)),
            (Number("0.001"), Err(PLACES)),
            (Text("a"), Err(NUMBER)),
            (Boolean(true), Err(NUMBER)),
        ],
    );
    let most = "9".repeat(38);
    check(ColumnKind::Decimal { precision: 38, scale: 0 }, &[(Number(&most), Ok(&most))]);
    let above = format!("1{}", "0".repeat(38));
    check(ColumnKind::Decimal { precision: 38, scale: 0 }, &[(Number(&above), Err(RANGE))]);
}

#[test]
fn excerpts_are_short() {
    let long = "é".repeat(100);
    assert_eq!(excerpt(&Text(&long)), format!("\"{}\"…", "é".repeat(80)));
    assert_eq!(excerpt(&Text("a\n")), "\"a\\n\"");
    assert_eq!(excerpt(&Number("12")), "12");
    assert_eq!(excerpt(&Nested("[1]")), "[1]");
}
