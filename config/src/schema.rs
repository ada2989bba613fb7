//! Columns with Glue's type names. A [`Schema`] is never empty, and its names are lower case and distinct.

use std::fmt;

use crate::model::{Column, ColumnKind, Schema};

/// Name and kind of every type without parameters.
const PLAIN: &[(&str, ColumnKind)] = &[
    ("boolean", ColumnKind::Boolean),
    ("tinyint", ColumnKind::Tinyint),
    ("smallint", ColumnKind::Smallint),
    ("int", ColumnKind::Int),
    ("bigint", ColumnKind::Bigint),
    ("float", ColumnKind::Float),
    ("double", ColumnKind::Double),
    ("string", ColumnKind::String),
    ("binary", ColumnKind::Binary),
    ("date", ColumnKind::Date),
    ("timestamp", ColumnKind::Timestamp),
];

impl Schema {
    /// The error tells what is wrong with the columns as a whole.
    pub fn new(columns: Vec<Column>) -> Result<Schema, String> {
        if columns.is_empty() {
            return Err("must have at least one column, got none".to_owned());
        }
        for (index, column) in columns.iter().enumerate() {
            check_name(&column.name)?;
            if columns[..index].iter().any(|other| other.name == column.name) {
                return Err(format!("column names must be distinct, got `{}` twice", column.name));
            }
        }
        Ok(Schema { columns })
    }
}

impl ColumnKind {
    /// As Glue writes it: `bigint`, `decimal(10,2)`. The error is a hint.
    pub fn parse(text: &str) -> Result<ColumnKind, String> {
        if let Some((_, kind)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(*kind);
        }
        if let Some(parameters) = text.strip_prefix("decimal") {
            return parse_decimal(parameters).ok_or_else(|| {
                "a decimal is `decimal(precision,scale)`, precision 1 to 38, scale 0 to precision".to_owned()
            });
        }
        Err(match text.to_ascii_lowercase().as_str() {
            "integer" | "int32" => "write `int`".to_owned(),
            "long" | "int64" | "integer64" => "write `bigint`".to_owned(),
            "bool" => "write `boolean`".to_owned(),
            "text" | "str" | "char" | "varchar" | "utf8" => "write `string`".to_owned(),
            "datetime" | "timestamptz" => "write `timestamp`".to_owned(),
            "bytes" => "write `binary`".to_owned(),
            "real" => "write `float`".to_owned(),
            _ => "nested values go into a `string` column as JSON text".to_owned(),
        })
    }

    /// All types, for messages.
    pub(crate) fn allowed() -> String {
        let names: Vec<String> = PLAIN.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("{} or `decimal(p,s)`", names.join(", "))
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ColumnKind::Decimal { precision, scale } = self {
            return write!(f, "decimal({precision},{scale})");
        }
        let name = PLAIN.iter().find(|(_, kind)| kind == self).map(|(name, _)| *name);
        f.write_str(name.expect("every kind but decimal is in the list"))
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Column { name, kind }) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {kind}")?;
        }
        Ok(())
    }
}

fn parse_decimal(parameters: &str) -> Option<ColumnKind> {
    let (precision, scale) = match parameters {
        // Hive's default.
        "" => return Some(ColumnKind::Decimal { precision: 10, scale: 0 }),
        _ => {
            let inner = parameters.strip_prefix('(')?.strip_suffix(')')?;
            inner.split_once(',').unwrap_or((inner, "0"))
        }
    };
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: i8 = scale.trim().parse().ok()?;
    let fits = (1..=38).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision);
    fits.then_some(ColumnKind::Decimal { precision, scale })
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("column names must not be empty".to_owned());
    }
    if name.chars().any(char::is_uppercase) {
        return Err(format!("column names must be lower case, got `{name}`; write `{}`", name.to_lowercase()));
    }
    if name.contains('.') {
        return Err(format!("column names must not hold a full stop, got `{name}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column { name: name.to_owned(), kind: ColumnKind::String }
    }

    #[test]
    fn kinds_are_shown_as_they_are_read() {
        for text in ["boolean", "tinyint", "int", "bigint", "timestamp", "decimal(10,2)", "decimal(38,38)"] {
            assert_eq!(ColumnKind::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ColumnKind::parse("decimal"), Ok(ColumnKind::Decimal { precision: 10, scale: 0 }));
        for wrong in ["decimal(39,1)", "decimal(0,0)", "decimal(5,6)", "decimal(5,-1)", "decimal[5]", "", "INT"] {
            assert!(ColumnKind::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(ColumnKind::parse("long"), Err("write `bigint`".to_owned()));
    }

    #[test]
    fn a_schema_has_distinct_lower_case_names() {
        let schema = Schema::new(vec![column("b"), column("a")]).unwrap();
        assert_eq!(schema.to_string(), "b: string, a: string");
        for (names, message) in [
            (&[][..], "must have at least one column, got none"),
            (&["a", "a"], "column names must be distinct, got `a` twice"),
            (&["Ab"], "column names must be lower case, got `Ab`; write `ab`"),
            (&["a.b"], "column names must not hold a full stop, got `a.b`"),
            (&[""], "column names must not be empty"),
        ] {
            assert_eq!(Schema::new(names.iter().map(|name| column(name)).collect()), Err(message.to_owned()));
        }
    }
}
