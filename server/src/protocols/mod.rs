//! The protocols: what the bytes of a connection can mean.
//!
//! One folder or file per protocol. Each implements [`crate::protocol::Protocol`] for its connections and
//! [`crate::http::Endpoint`] for its paths, and none knows another. [`REGISTRY`] has a line for each. `page_rooms` has what
//! those share whose clients belong to pages.
//!
//! A new protocol is one folder and one line here. `CONTRIBUTING.md` has the recipe.

pub mod action_cable;
pub mod engine_io;
mod page_rooms;
pub mod pakyow;
pub mod plain;
pub mod socket_io;
pub mod sse;

use crate::config::Config;
use crate::config::report::Report;
use crate::http::Endpoint;
use crate::namespace::Namespaces;
use std::sync::Arc;

/// The values from which a protocol builds its endpoint.
#[derive(Debug)]
pub struct Mount<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The namespaces of the process.
    pub namespaces: &'a Arc<Namespaces>,
}

/// A protocol of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    /// Its name in the configuration, under `protocol`. `None`: it serves every namespace.
    pub name: Option<&'static str>,
    /// Builds its endpoint. `None`: no namespace uses it.
    pub mount: fn(&Mount<'_>) -> Option<Arc<dyn Endpoint>>,
}

/// All protocols.
pub const REGISTRY: &[Registration] = &[
    Registration { name: Some("socket_io"), mount: socket_io::mount },
    Registration { name: Some("plain"), mount: plain::mount },
    Registration { name: Some("action_cable"), mount: action_cable::mount },
    Registration { name: None, mount: sse::mount },
    Registration { name: None, mount: socket_io::dialects::mount_page },
    // Last, because it serves any path.
    Registration { name: Some("pakyow"), mount: pakyow::mount },
];

/// Checks that the protocols and dialects of a configuration exist. `file` is named in the report.
///
/// # Errors
/// Returns the report with every unknown name.
pub fn validate(config: &Config, file: &str) -> Result<(), Report> {
    let protocols: Vec<_> = REGISTRY.iter().filter_map(|registration| registration.name).collect();
    let dialects: Vec<_> = socket_io::dialects::REGISTRY.iter().map(|(name, _)| *name).collect();
    config.check_names(file, &protocols, &dialects)
}

// === impl Mount ===

impl Mount<'_> {
    /// The ids of the namespaces that use a protocol.
    pub fn namespaces_with<'a>(&'a self, protocol: &'a str) -> impl Iterator<Item = u16> + 'a {
        self.namespaces
            .iter()
            .filter(move |namespace| namespace.protocols.iter().any(|name| name == protocol))
            .map(|namespace| namespace.id)
    }
}
