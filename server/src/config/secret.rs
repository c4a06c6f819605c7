//! A text that cannot print itself.

use std::fmt;

/// A password or another secret of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

// === impl Hidden ===

impl Hidden {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}
