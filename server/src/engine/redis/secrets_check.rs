//! Detects that two programs share the channel of a namespace and have different secrets: keys from one do not open
//! rooms at the other, and each receives the publications of both.
//!
//! Every program stores the fingerprints of its secrets and compares them with those of the last one, as
//! `protocol/README.md` section 6 defines it.

use super::{Shared, client};
use fred::error::Error;
use fred::interfaces::KeysInterface;
use fred::types::Expiration;
use nodevent_protocol::key::{Secret, fingerprint};
use std::sync::Arc;
use std::time::Duration;

/// Interval between checks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Expiry of the stored fingerprints. Seconds.
const TTL: i64 = 3600;
/// The value that an open namespace stores.
const OPEN: &str = "open";

/// Returns the fingerprints of a namespace's secrets, as they are stored.
pub(super) fn fingerprints(secrets: &[Secret]) -> String {
    match secrets {
        [] => OPEN.to_owned(),
        secrets => secrets.iter().map(fingerprint).collect::<Vec<_>>().join(","),
    }
}

/// Checks after the first connect, and then regularly.
///
/// `configured` are the fingerprints of the configuration at start, for namespaces without room keys.
pub(super) async fn run(shared: Arc<Shared>, configured: String) {
    loop {
        // A reload may have changed the secrets.
        let own = shared.fanout.secrets().map_or_else(|| configured.clone(), |secrets| fingerprints(&secrets));
        client::wait_connected(&shared.publisher).await;
        match check(&shared, &own).await {
            Ok(true) => {}
            Ok(false) => tracing::error!(
                namespace = shared.fanout.name(),
                redis = shared.address,
                channel = shared.channel,
                "another application or server uses this channel of Redis with other secrets; give both the same secret, or \
                 separate them with another `redis: {{db: …}}` or `redis: {{prefix: …}}`"
            ),
            Err(error) => tracing::debug!(error = error.details(), "could not compare the secrets"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Returns whether the last program had one of these secrets, and stores them.
async fn check(shared: &Shared, own: &str) -> Result<bool, Error> {
    let key = shared.scope.secrets(shared.fanout.name());
    let other: Option<String> = shared.publisher.get(&key).await?;
    shared.publisher.set::<(), _, _>(&key, own, Some(Expiration::EX(TTL)), None, false).await?;
    Ok(other.is_none_or(|other| are_compatible(own, &other)))
}

/// Returns whether two programs have a secret in common. During a rotation that is enough.
fn are_compatible(own: &str, other: &str) -> bool {
    own.split(',').any(|one| other.split(',').any(|another| another == one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_with_a_secret_in_common_are_compatible() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let (a, b) = (fingerprints(&[secret("a")]), fingerprints(&[secret("b")]));
        let both = fingerprints(&[secret("b"), secret("a")]);
        assert!(are_compatible(&a, &a) && are_compatible(&a, &both) && are_compatible(&both, &b));
        assert!(!are_compatible(&a, &b) && !are_compatible(&a, OPEN));
        assert!(are_compatible(&fingerprints(&[]), OPEN));
    }
}
