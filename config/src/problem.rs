//! What is wrong with a file, as its author reads it. One [`Problems`] holds everything that was found, in file order.

use std::fmt;

/// Line and column, both from 1, as editors count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub line: usize,
    pub column: usize,
}

/// One thing to repair, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named on the command line.
    pub file: String,
    /// `None` when it concerns the file as a whole.
    pub at: Option<At>,
    /// YAML path such as `delivery_streams[0].buffering.size`; empty for the file as a whole.
    pub path: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Everything that is wrong with a file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub(crate) Vec<Problem>);

/// The file is valid, but its author should know this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Problem);

impl Problems {
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(at) = self.at {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "config error: {problem}")?;
        }
        let noun = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(f, "{} {noun}; nothing was started", self.0.len())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config warning: {}", self.0)
    }
}

/// Collects while a file is read.
#[derive(Debug)]
pub(crate) struct Findings {
    file: String,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Findings {
    pub(crate) fn new(file: String) -> Findings {
        Findings { file, problems: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn problem(&mut self, at: Option<At>, path: &str, message: impl Into<String>, hint: Option<String>) {
        let finding = self.finding(at, path, message.into(), hint);
        self.problems.push(finding);
    }

    pub(crate) fn warn(&mut self, at: Option<At>, path: &str, message: impl Into<String>, hint: Option<String>) {
        let finding = self.finding(at, path, message.into(), hint);
        self.warnings.push(Warning(finding));
    }

    /// The warnings, if there is no problem.
    pub(crate) fn conclude(mut self) -> Result<Vec<Warning>, Problems> {
        self.problems.sort_by_key(|problem| problem.at);
        self.warnings.sort_by_key(|warning| warning.0.at);
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(Problems(self.problems)) }
    }

    fn finding(&self, at: Option<At>, path: &str, message: String, hint: Option<String>) -> Problem {
        Problem { file: self.file.clone(), at, path: path.to_owned(), message, hint }
    }
}

/// `a`, `b` and `c`, each in backticks.
pub(crate) fn quoted(words: &[&str], last: &str) -> String {
    let ticked: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match ticked.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}
