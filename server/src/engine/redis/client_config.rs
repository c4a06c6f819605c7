//! Translates the Redis settings of a namespace for the Redis client.
//!
//! `config::redis` is plain data and does not know the client. Only this folder does.

use crate::config::redis::{Kind, Redis};
use crate::tls_client;
use fred::types::config::{ClusterDiscoveryPolicy, Config, Server, ServerConfig, TlsConnector};
use std::sync::Arc;

/// Returns the client's configuration.
///
/// # Errors
/// Returns a message if a certificate cannot be used.
pub(super) fn client_config(redis: &Redis) -> Result<Config, String> {
    let mut config = Config { server: server(redis), fail_fast: false, ..Config::default() };
    config.username.clone_from(&redis.username);
    config.password = redis.password.as_ref().map(|password| password.reveal().to_owned());
    config.database = redis.db;
    if redis.tls {
        let tls = tls_client::config(redis.ssl.ca.as_deref(), redis.ssl.client.as_ref())?;
        config.tls = Some(TlsConnector::Rustls(tokio_rustls::TlsConnector::from(Arc::new(tls))).into());
    }
    Ok(config)
}

fn server(redis: &Redis) -> ServerConfig {
    let hosts = || redis.hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect::<Vec<_>>();
    match &redis.kind {
        Kind::Single => ServerConfig::Centralized { server: hosts().swap_remove(0) },
        Kind::Sentinel(name) => ServerConfig::Sentinel {
            hosts: hosts(),
            service_name: name.clone(),
            username: redis.sentinel.0.clone(),
            password: redis.sentinel.1.as_ref().map(|password| password.reveal().to_owned()),
        },
        Kind::Cluster => ServerConfig::Clustered { hosts: hosts(), policy: ClusterDiscoveryPolicy::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config as ServerSettings;

    #[test]
    fn sentinels_receive_their_own_password_and_never_that_of_redis() {
        let received = |sentinel: &str, more: &str| {
            let text = format!("/a: {{redis: {{{more}password: inner, sentinel: {{{sentinel}}}}}}}");
            let config = ServerSettings::from_yaml(&text).unwrap();
            match server(config.namespaces[0].redis.as_ref().unwrap()) {
                ServerConfig::Sentinel { username, password, .. } => (username, password),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(received("hosts: [s1]", ""), (None, None));
        let own = (Some("watcher".to_owned()), Some("outer".to_owned()));
        assert_eq!(received("hosts: [s1], username: watcher, password: outer", ""), own);
        let url = "url: \"redis-sentinel://s1:26379?sentinelServiceName=main\", ";
        assert_eq!(received("username: watcher, password: outer", url), own, "with a URL");
    }
}
