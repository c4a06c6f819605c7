//! Translates the settings of a Redis for the Redis client.
//!
//! The same settings mean the same in the server: `server/src/engine/redis/client_config.rs`.

use super::CONNECT_TIMEOUT;
use crate::target::{RedisKind, RedisTarget};
use fred::types::Builder;
use fred::types::config::{ClusterDiscoveryPolicy, Config, Server, ServerConfig, TlsConnector};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Returns the client's configuration.
///
/// # Errors
/// A certificate cannot be used; the message names its file.
pub(super) fn config(target: &RedisTarget) -> Result<Config, String> {
    let mut config = Config { server: server(target)?, fail_fast: true, ..Config::default() };
    config.username.clone_from(&target.username);
    config.password.clone_from(&target.password);
    config.database = (!matches!(target.kind, RedisKind::Cluster)).then_some(target.db);
    if target.tls {
        config.tls = Some(TlsConnector::from(tls(target)?).into());
    }
    Ok(config)
}

fn server(target: &RedisTarget) -> Result<ServerConfig, String> {
    let hosts: Vec<_> = target.hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect();
    Ok(match &target.kind {
        RedisKind::Single => {
            ServerConfig::Centralized { server: hosts.into_iter().next().ok_or("redis has no host")? }
        }
        RedisKind::Sentinel(name) => ServerConfig::Sentinel {
            hosts,
            service_name: name.clone(),
            username: target.sentinel_username.clone(),
            password: target.sentinel_password.clone(),
        },
        RedisKind::Cluster => ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::default() },
    })
}

/// Returns a builder for clients that send each command once, and give up after [`CONNECT_TIMEOUT`].
pub(super) fn builder(config: Config) -> Builder {
    let mut builder = Builder::from_config(config);
    builder.with_connection_config(|connection| {
        connection.connection_timeout = CONNECT_TIMEOUT;
        connection.internal_command_timeout = CONNECT_TIMEOUT;
        connection.max_command_attempts = 1;
        connection.tcp.nodelay = Some(true);
    });
    builder
}

fn tls(target: &RedisTarget) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &target.ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
            }
        }
        // Certificates that cannot be parsed are skipped. Without any, the handshake reports an unknown issuer.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((cert, key)) = &target.client else { return Ok(builder.with_no_client_auth()) };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    builder
        .with_client_auth_cert(certificates(cert)?, private)
        .map_err(|error| format!("{}: {error}", cert.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: rustls::pki_types::pem::Error| format!("{}: {error}", file.display());
    let all: Vec<_> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(unreadable)?;
    match all.is_empty() {
        true => Err(format!("{}: there is no certificate in it", file.display())),
        false => Ok(all),
    }
}
