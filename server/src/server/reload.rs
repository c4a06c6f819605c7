//! Reload: a running server uses a new configuration without dropping a connection.
//!
//! Owns the order: everything is checked before anything is changed. What is used at once is listed in
//! [`crate::config::changes`]. It does not read files; `nodevent serve` does, on SIGHUP and `POST /reload`.

use crate::address_limits::AddressLimits;
use crate::authorize::RoomKeyRules;
use crate::byte_budget::ByteBudget;
use crate::config::changes::{Changes, Written};
use crate::config::namespace::{BoundKeys, Namespace};
use crate::config::{Config, limits::Limits};
use crate::deflate::Deflate;
use crate::http::{Certificate, Http, ReloadRequest, Settings};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// Makes a running server use another configuration.
#[derive(Clone)]
pub struct Reloader {
    pub(super) http: Arc<Http>,
    pub(super) addresses: Arc<AddressLimits>,
    pub(super) poll_responses: Arc<ByteBudget>,
    pub(super) deflate: Option<Arc<Deflate>>,
    pub(super) certificates: Vec<Arc<Certificate>>,
    /// Makes the listeners read their certificates again.
    pub(super) signal: watch::Sender<()>,
    pub(super) used: Arc<Mutex<Used>>,
}

/// The configuration that is in use.
#[derive(Debug)]
pub(super) struct Used {
    /// What the file says of it.
    written: Written,
    limits: Limits,
    namespaces: Vec<Namespace>,
}

// === impl Used ===

impl Used {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            written: config.written.clone(),
            limits: config.limits.clone(),
            namespaces: config.namespaces.clone(),
        }
    }

    /// The namespace of this name, if it has the same ways in as in `newer`. Others need a restart.
    fn same_access(&self, newer: &Namespace) -> bool {
        self.namespaces.iter().find(|one| one.name == newer.name).is_some_and(|one| {
            one.is_open() == newer.is_open()
                && one.secrets.is_empty() == newer.secrets.is_empty()
                && one.token.is_some() == newer.token.is_some()
        })
    }
}

// === impl Reloader ===

impl Reloader {
    /// The requests of `POST /reload`, which the caller carries out.
    pub fn requests(&self) -> mpsc::Receiver<ReloadRequest> {
        self.http.reload_requests()
    }

    /// Uses `config` as far as a running server can, and reads the certificates again. `set_level` changes the level of the
    /// log.
    ///
    /// # Errors
    /// Returns why nothing was changed.
    pub fn reload(
        &self,
        config: Config,
        set_level: impl FnOnce(&str) -> Result<(), String>,
    ) -> Result<Changes, String> {
        for certificate in &self.certificates {
            certificate.check().map_err(|error| format!("the old certificate stays in use: {error}"))?;
        }
        set_level(&config.log)?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let applicable: Vec<&Namespace> = config.namespaces.iter().filter(|one| used.same_access(one)).collect();
        let may_apply = |name: &str| match name.starts_with('/') {
            true => applicable.iter().any(|one| one.name == name),
            // The flat form: the keys of the only namespace.
            false => applicable.len() == config.namespaces.len(),
        };
        let changes = used.written.update(&config.written, may_apply);
        used.limits = used.limits.reloaded(&config.limits);
        self.set_limits(&used.limits);
        for one in applicable {
            self.set_keys(one);
        }
        let settings = Settings {
            max_notified_users: used.limits.max_notified_users,
            keep_alive_timeout: used.limits.keep_alive_timeout,
            write_timeout: used.limits.write_timeout,
            ..(*self.http.settings()).clone()
        };
        // Those of the file are right for its namespaces: without an open one, for example, any host is allowed.
        self.http.set_settings(match changes.keeps_origins {
            true => settings,
            false => Settings {
                origins: config.origins,
                publish_origins: config.publish_origins,
                hosts: config.hosts,
                trusted_proxies: config.trusted_proxies,
                ..settings
            },
        });
        self.signal.send_replace(());
        Ok(changes)
    }

    fn set_limits(&self, limits: &Limits) {
        let max_connections = super::possible_connections(limits.max_connections, self.http.settings().open_files);
        let limits = Limits { max_connections, ..limits.clone() };
        self.addresses.set(&super::address_settings(&limits));
        let settings = super::shard_settings(&limits, &self.addresses, &self.poll_responses, self.deflate.as_ref());
        self.http.shards.set_settings(&Arc::new(settings));
    }

    /// Uses the secrets and keys of a namespace.
    fn set_keys(&self, config: &Namespace) {
        let Some(namespace) = self.http.namespaces.find(&config.name) else { return };
        namespace.authorizers.set_room_key_rules(RoomKeyRules {
            secrets: config.secrets.clone(),
            max_lifetime: config.max_key_lifetime,
            requires_bound: config.bound_keys == BoundKeys::Require,
        });
        namespace.publish.set_keys(config.publish_keys.clone());
        if let (Some(tokens), Some(token)) = (&namespace.tokens, &config.token) {
            tokens.set_keys(token.keys.clone());
        }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}
