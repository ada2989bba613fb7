//! Which prefixes are in force, by Firehose's rules. A [`Naming`] that exists can name every object and error object.

use chrono_tz::Tz;

use crate::model::Naming;
use crate::{Prefix, PrefixKind};

/// What Firehose appends to a prefix that tells no time.
const TIME: &str = "!{timestamp:yyyy/MM/dd/HH}/";
const ERROR_TYPE: &str = "!{firehose:error-output-type}/";
/// AWS's text letter by letter, its slip included: clients match it.
const ERROR_PREFIX_MISSING: &str = "Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when Prefix contains expressions";
const PREFIX_BYTES_MAX: usize = 1024;
const EXTENSION_BYTES_MAX: usize = 128;

/// Which of the two prefixes a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamingMember {
    Prefix,
    ErrorOutputPrefix,
}

/// Why two prefixes cannot name objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NamingProblem {
    pub member: NamingMember,
    /// Byte offset in the text of the member, where one expression is at fault.
    pub offset: Option<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl Naming {
    /// The prefixes in force for what was written; absent and empty are the same. `partitioned`: the caller turned dynamic
    /// partitioning on; a prefix with partition keys is partitioned anyway. UTC and the format's extension, until the
    /// caller sets the fields.
    ///
    /// - A prefix without a timestamp and without partitioning gets `!{timestamp:yyyy/MM/dd/HH}/` appended, no slash
    ///   before it; the default prefix is that text alone.
    /// - Without an error output prefix a prefix without expressions gives
    ///   `<prefix>!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/`; one with expressions is refused.
    /// - An error output prefix gets nothing appended; with expressions it must ask for the error output type.
    pub fn new(
        prefix: Option<&str>,
        error_output_prefix: Option<&str>,
        partitioned: bool,
    ) -> Result<Naming, Vec<NamingProblem>> {
        let mut problems = Vec::new();
        let prefix = prefix.filter(|text| !text.is_empty()).unwrap_or_default();
        let written = read(prefix, NamingMember::Prefix, &mut problems);
        let given = error_output_prefix.filter(|text| !text.is_empty());
        let error = match (given, &written) {
            (Some(text), _) => read(text, NamingMember::ErrorOutputPrefix, &mut problems),
            (None, Some(written)) if written.has_expressions() => {
                let hint = Some(format!("add `error_output_prefix: \"errors/{ERROR_TYPE}\"`"));
                problems.push(NamingProblem {
                    member: NamingMember::ErrorOutputPrefix,
                    offset: None,
                    message: ERROR_PREFIX_MISSING.to_owned(),
                    hint,
                });
                None
            }
            (None, _) => Prefix::parse(&format!("{prefix}{ERROR_TYPE}{TIME}"), PrefixKind::ErrorOutput).ok(),
        };
        if let (Some(text), Some(error)) = (given, &error)
            && error.has_expressions()
            && !error.has_error_output_type()
        {
            problems.push(NamingProblem {
                member: NamingMember::ErrorOutputPrefix,
                offset: None,
                message: format!("with expressions it must hold `!{{firehose:error-output-type}}`, got `{text}`"),
                hint: Some(format!("write `{ERROR_TYPE}` before the others")),
            });
        }
        let effective = written.and_then(|written| {
            let complete = written.has_timestamp() || partitioned || !written.keys().is_empty();
            if complete { Some(written) } else { Prefix::parse(&format!("{prefix}{TIME}"), PrefixKind::Output).ok() }
        });
        match (effective, error) {
            (Some(prefix), Some(error_output_prefix)) if problems.is_empty() => {
                Ok(Naming { prefix, error_output_prefix, time_zone: Tz::UTC, file_extension: None })
            }
            _ => Err(problems),
        }
    }

    /// Whether a text may replace the format's extension: empty, or a dot and at least one of `0-9 a-z ! - _ . * ' ( )`.
    #[must_use]
    pub fn allows_file_extension(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || b"!-_.*'()".contains(&byte);
        let long_enough = (2..=EXTENSION_BYTES_MAX).contains(&text.len());
        text.is_empty() || long_enough && text.starts_with('.') && text.bytes().all(allowed)
    }
}

fn read(text: &str, member: NamingMember, problems: &mut Vec<NamingProblem>) -> Option<Prefix> {
    if text.len() > PREFIX_BYTES_MAX {
        let message = format!("must be up to {PREFIX_BYTES_MAX} bytes long, got {}", text.len());
        problems.push(NamingProblem { member, offset: None, message, hint: None });
        return None;
    }
    let kind = match member {
        NamingMember::Prefix => PrefixKind::Output,
        NamingMember::ErrorOutputPrefix => PrefixKind::ErrorOutput,
    };
    match Prefix::parse(text, kind) {
        Ok(prefix) => Some(prefix),
        Err(error) => {
            let crate::PrefixError { offset, message, hint } = error;
            problems.push(NamingProblem { member, offset: Some(offset), message, hint });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_force(prefix: Option<&str>, error: Option<&str>) -> (String, String) {
        let naming = Naming::new(prefix, error, false).unwrap();
        (naming.prefix.text().to_owned(), naming.error_output_prefix.text().to_owned())
    }

    fn refused(prefix: Option<&str>, error: Option<&str>) -> Vec<(NamingMember, String)> {
        let problems = Naming::new(prefix, error, false).unwrap_err();
        problems.into_iter().map(|problem| (problem.member, problem.message)).collect()
    }

    #[test]
    fn defaults_follow_firehose() {
        let default_error = format!("{ERROR_TYPE}{TIME}");
        for prefix in [None, Some("")] {
            assert_eq!(in_force(prefix, None), (TIME.to_owned(), default_error.clone()));
        }
        assert_eq!(in_force(Some("logs/"), None), (format!("logs/{TIME}"), format!("logs/{default_error}")));
        // No slash is put in.
        assert_eq!(in_force(Some("legacy"), None).0, format!("legacy{TIME}"));
        let random = "x/!{firehose:random-string}/";
        assert_eq!(in_force(Some(random), Some(ERROR_TYPE)), (format!("{random}{TIME}"), ERROR_TYPE.to_owned()));
        let day = "dt=!{timestamp:yyyy-MM-dd}/";
        assert_eq!(in_force(Some(day), Some("errors/")), (day.to_owned(), "errors/".to_owned()));
    }

    #[test]
    fn a_partitioned_prefix_is_left_alone() {
        let keyed = "c=!{partitionKeyFromQuery:c}/";
        assert_eq!(in_force(Some(keyed), Some(ERROR_TYPE)).0, keyed);
        assert_eq!(Naming::new(Some("plain/"), None, true).unwrap().prefix.text(), "plain/");
    }

    #[test]
    fn an_error_prefix_is_needed_and_tells_the_type() {
        let day = Some("dt=!{timestamp:yyyy-MM-dd}/");
        for error in [None, Some("")] {
            assert_eq!(refused(day, error), [(NamingMember::ErrorOutputPrefix, ERROR_PREFIX_MISSING.to_owned())]);
        }
        let got = refused(day, Some("errors/!{timestamp:yyyy}/"));
        assert_eq!(got[0].0, NamingMember::ErrorOutputPrefix);
        insta::assert_snapshot!(got[0].1, @"with expressions it must hold `!{firehose:error-output-type}`, got `errors/!{timestamp:yyyy}/`");
    }

    #[test]
    fn both_prefixes_are_judged_at_once() {
        let members: Vec<NamingMember> =
            refused(Some("!{nope:x}"), Some("!{nope:y}")).into_iter().map(|(m, _)| m).collect();
        assert_eq!(members, [NamingMember::Prefix, NamingMember::ErrorOutputPrefix]);
        let long = "x".repeat(1025);
        assert_eq!(
            refused(Some(&long), None),
            [(NamingMember::Prefix, "must be up to 1024 bytes long, got 1025".to_owned())]
        );
    }

    #[test]
    fn extensions_begin_with_a_dot() {
        for good in ["", ".gz", ".json.gz", ".a!-_.*'()9"] {
            assert!(Naming::allows_file_extension(good), "{good}");
        }
        for bad in [".", "gz", ".GZ", ".a/b", &format!(".{}", "x".repeat(128))] {
            assert!(!Naming::allows_file_extension(bad), "{bad}");
        }
    }
}
