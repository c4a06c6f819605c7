//! The dialects, one file each. A new dialect is a file here and a line of [`REGISTRY`], with its `mod`.

mod nodevent;
mod web_service;

use super::dialect::{Dialect, MakeDialect};
use std::sync::Arc;

/// All dialects, by their names in the configuration.
pub const REGISTRY: &[(&str, MakeDialect)] = &[
    ("nodevent", |_| nodevent()),
    ("web_service", |namespace| Arc::new(web_service::WebService::new(namespace.web_service.as_ref()))),
];

/// The dialect of a namespace that names none.
pub fn nodevent() -> Arc<dyn Dialect> {
    Arc::new(nodevent::NodEvent)
}
