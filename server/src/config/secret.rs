//! A text that cannot print itself.

use std::fmt;

/// A password or another secret of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

// === impl Redacted ===

impl Redacted {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one place that needs it. Never print it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redacted(…)")
    }
}
