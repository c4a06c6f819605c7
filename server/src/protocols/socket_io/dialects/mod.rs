//! The dialects, one file each. A new dialect is a file here and a line of [`REGISTRY`], with its `mod`.

mod nodevent;

use super::dialect::MakeDialect;
use std::sync::Arc;

/// All dialects, by their names in the configuration.
pub const REGISTRY: &[(&str, MakeDialect)] = &[("nodevent", || Arc::new(nodevent::NodEvent))];
