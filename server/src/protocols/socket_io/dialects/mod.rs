//! The dialects, one file each. A new dialect is a file here and a line of [`REGISTRY`], with its `mod`.

mod nodevent;

use super::dialect::{Dialect, MakeDialect};
use std::sync::Arc;

/// All dialects, by their names in the configuration.
pub const REGISTRY: &[(&str, MakeDialect)] = &[("nodevent", |_| nodevent())];

/// The dialect of a namespace that names none.
pub fn nodevent() -> Arc<dyn Dialect> {
    Arc::new(nodevent::NodEvent)
}
