//! The dialects, one file or folder each. A new dialect is a file here and a line of [`REGISTRY`], with its `mod`.

mod nodevent;
mod notifications;
mod shared;
mod turted;
mod web_service;

pub(crate) use notifications::mount_page;

use super::dialect::{Dialect, MakeDialect};
use crate::namespace::Namespace;
use crate::protocols::Mount;
use shared::Shared;
use std::sync::Arc;

/// All dialects, by their names in the configuration.
pub const REGISTRY: &[(&str, MakeDialect)] = &[
    ("nodevent", |_, _| nodevent()),
    ("web_service", |_, namespace| Arc::new(web_service::WebService::new(namespace.web_service.as_ref()))),
    ("turted", turted::make),
    ("notifications", notifications::make),
];

/// Makes the dialect of a namespace, or one for all of them. `None`: a name is not known.
pub fn make(mount: &Mount<'_>, namespace: &Namespace) -> Option<Arc<dyn Dialect>> {
    let make = |named: &String| {
        let (_, make) = REGISTRY.iter().find(|(name, _)| name == named)?;
        Some(make(mount, namespace))
    };
    let mut all: Vec<_> = namespace.dialects.iter().map(make).collect::<Option<_>>()?;
    match all.len() {
        0 | 1 => all.pop(),
        _ => Some(Arc::new(Shared::new(all))),
    }
}

/// The dialect of a namespace that names none.
pub fn nodevent() -> Arc<dyn Dialect> {
    Arc::new(nodevent::NodEvent)
}
