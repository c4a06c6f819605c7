//! `connection_state_recovery`: whether clients of Socket.IO are restored after a reconnect.

use super::credentials;
use super::keys;
use super::reader::MapReader;
use super::report::{Location, Report};
use super::tree::Node;
use crate::connection_state::Settings;
use nodevent_protocol::key::Secret;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may be disconnected, by default.
const MAX_DISCONNECTION: Duration = Duration::from_secs(120);
/// The range of that time. Its half is the interval at which quiet clients receive new states.
const RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// What is written.
#[derive(Debug, Clone)]
pub(super) struct ConnectionState {
    is_on: bool,
    max_disconnection: Duration,
    secret: Option<Secret>,
    location: Location,
}

// === impl ConnectionState ===

impl ConnectionState {
    /// Reads the key. What is wrong is reported, and off.
    pub(super) fn read(node: &Node, path: &str, location: Location, folder: &Path, report: &mut Report) -> Self {
        let mut read = Self { is_on: false, max_disconnection: MAX_DISCONNECTION, secret: None, location };
        if node.is_off() {
            return read;
        }
        if let Some(text) = node.scalar() {
            read.is_on = ["on", "true", "yes"].iter().any(|on| text.eq_ignore_ascii_case(on));
            if !read.is_on {
                let what = format!("{path} is neither true nor false");
                report.error(node.location, what, "write `true`, or `{max_disconnection: 2m}`");
            }
            return read;
        }
        let Some(mut map) = MapReader::open(node, path, &keys::CONNECTION_STATE, report) else { return read };
        let location = map.location_of("max_disconnection");
        read.max_disconnection = map.duration("max_disconnection", report).unwrap_or(MAX_DISCONNECTION);
        if !RANGE.contains(&read.max_disconnection) {
            let what = format!("{path}.max_disconnection is not between 1s and 1h");
            report.error(location, what, "write e.g. `max_disconnection: 2m`");
        }
        read.secret = credentials::one(&mut map, "secret", folder, report);
        read.is_on = true;
        map.finish_strictly(report);
        read
    }

    /// The settings. `secrets` are those of the namespace.
    pub(super) fn into_settings(
        self,
        name: &str,
        secrets: &[Secret],
        report: &mut Report,
    ) -> Option<Arc<Settings>> {
        if !self.is_on {
            return None;
        }
        let own = self.secret.map(|secret| vec![secret]);
        let secrets = own.as_deref().unwrap_or(secrets);
        if secrets.is_empty() {
            report.error(
                self.location,
                format!("{name} has connection_state_recovery and no secret, which seals what clients carry"),
                "write `connection_state_recovery: {secret: <random text>}`, e.g. from `openssl rand -hex 32`",
            );
            return None;
        }
        Some(Settings::new(self.max_disconnection, secrets))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use std::time::Duration;

    const SECRET: &str = "secret: a-secret-of-at-least-32-characters-x";

    fn read(namespace: &str) -> Result<Option<Duration>, String> {
        let config = Config::from_yaml(&format!("/a: {{{namespace}}}\n")).map_err(|report| report.to_string())?;
        Ok(config.namespaces[0].connection_state.as_ref().map(|settings| settings.lifetime()))
    }

    #[test]
    fn it_is_off_by_default_and_has_the_secret_of_the_namespace_or_its_own() {
        assert_eq!(read("open: true"), Ok(None));
        assert_eq!(read("open: true, connection_state_recovery: false"), Ok(None));
        let lifetime = Some(Duration::from_secs(180));
        assert_eq!(read(&format!("{SECRET}, connection_state_recovery: true")), Ok(lifetime));
        assert_eq!(read(&format!("open: true, connection_state_recovery: {{{SECRET}}}")), Ok(lifetime));
        let ten = format!("open: true, connection_state_recovery: {{{SECRET}, max_disconnection: 10m}}");
        assert_eq!(read(&ten), Ok(Some(Duration::from_secs(900))));
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key_and_show_no_secret() {
        for (written, part) in [
            ("open: true, connection_state_recovery: true", "/a has connection_state_recovery and no secret"),
            ("open: true, connection_state_recovery: maybe", "is neither true nor false"),
            ("open: true, connection_state_recovery: {secret: \"\"}", "/a.connection_state_recovery.secret"),
        ] {
            let error = read(written).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
        }
        for time in ["0", "2h"] {
            let error =
                read(&format!("{SECRET}, connection_state_recovery: {{max_disconnection: {time}}}")).unwrap_err();
            assert!(error.contains("max_disconnection is not between 1s and 1h"), "{time}: {error}");
            assert!(!error.contains("a-secret-of"), "{error}");
        }
    }
}
