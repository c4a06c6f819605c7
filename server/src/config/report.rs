//! What is wrong with a configuration: every mistake at once, each with its place and its remedy.

use std::fmt;

/// A place in a file, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where, if it has a place.
    pub place: Option<Place>,
    /// What is wrong, naming the key.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// Everything that was found while reading one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The file's name, as it was given.
    pub file: String,
    /// What makes the configuration unusable.
    pub mistakes: Vec<Remark>,
    /// What is probably not meant, but harms nothing.
    pub warnings: Vec<Remark>,
}

// === impl Report ===

impl Report {
    /// An empty report about `file`.
    pub fn about(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// Adds a mistake.
    pub fn mistake(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Remark { place: Some(place), what: what.into(), remedy: remedy.into() });
    }

    /// Adds a mistake that has no line.
    pub fn general(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Remark { place: None, what: what.into(), remedy: remedy.into() });
    }

    /// Adds a warning.
    pub fn warn(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.push(Remark { place: Some(place), what: what.into(), remedy: remedy.into() });
    }

    /// One line for each warning.
    pub fn warning_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.warnings.iter().map(|remark| self.line(remark))
    }

    fn line(&self, remark: &Remark) -> String {
        let place = remark.place.map_or(String::new(), |place| format!(":{}:{}", place.line, place.column));
        format!("{}{place}: {}; {}", self.file, remark.what, remark.remedy)
    }
}

impl fmt::Display for Report {
    /// One line for each mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, remark) in self.mistakes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            f.write_str(&self.line(remark))?;
        }
        Ok(())
    }
}
