//! The diagnostics of a configuration: all errors and warnings at once, each with its location and a hint.
//!
//! Owns how they are printed. Knows nothing of files or keys. Every other file of `config` reports here.
//!
//! **Architecture Invariant:** a diagnostic contains no value of the configuration, because any value may be a secret in
//! the wrong place. It has the location, the name of the key, and what to write. Names of keys are shown as
//! [`super::tree::shown_key`] returns them, and paths as [`super::reader::shown_path`] does.

use std::fmt;

/// A location in a file, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, if it is another one than the report's.
    pub file: Option<String>,
    /// Location, if it concerns one.
    pub location: Option<Location>,
    /// The problem, naming the key.
    pub what: String,
    /// The fix: text to write instead.
    pub hint: String,
}

/// The diagnostics of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The file's name, as it was given.
    pub file: String,
    /// Errors: the configuration cannot be used.
    pub errors: Vec<Diagnostic>,
    /// Warnings: probably not intended, but usable.
    pub warnings: Vec<Diagnostic>,
    /// The first secret that is written in the file itself, not taken from the environment or another file.
    pub(super) literal_secret: Option<Location>,
}

// === impl Location ===

impl Location {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

// === impl Report ===

impl Report {
    /// Returns an empty report about `file`.
    pub fn about(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// Adds an error.
    pub fn error(&mut self, location: Location, what: impl Into<String>, hint: impl Into<String>) {
        self.errors.push(Diagnostic { file: None, location: Some(location), what: what.into(), hint: hint.into() });
    }

    /// Whether there is an error about this place already.
    pub(super) fn has_error_at(&self, location: Location) -> bool {
        self.errors.iter().any(|error| error.location == Some(location))
    }

    /// Adds an error that concerns the whole file.
    pub fn error_without_location(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.errors.push(Diagnostic { file: None, location: None, what: what.into(), hint: hint.into() });
    }

    /// Adds a warning.
    pub fn warn(&mut self, location: Location, what: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Diagnostic {
            file: None,
            location: Some(location),
            what: what.into(),
            hint: hint.into(),
        });
    }

    /// Adds a warning that concerns the whole file.
    pub fn warn_without_location(&mut self, what: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Diagnostic { file: None, location: None, what: what.into(), hint: hint.into() });
    }

    /// Returns one line for each warning.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.warnings.iter().map(|diagnostic| self.line(diagnostic))
    }

    fn line(&self, diagnostic: &Diagnostic) -> String {
        let location =
            diagnostic.location.map_or(String::new(), |location| format!(":{}:{}", location.line, location.column));
        let file = diagnostic.file.as_ref().unwrap_or(&self.file);
        format!("{file}{location}: {}; {}", diagnostic.what, diagnostic.hint)
    }
}

impl fmt::Display for Report {
    /// Writes one line for each error, in the order of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors: Vec<&Diagnostic> = self.errors.iter().collect();
        errors.sort_by_key(|error| (error.file.as_deref(), error.location));
        for (index, error) in errors.into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(&self.line(error))?;
        }
        Ok(())
    }
}
