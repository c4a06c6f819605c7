//! `pages`: how visitors' pages are recognized, where they connect, and how long their subscriptions are kept.

use super::credentials;
use super::keys;
use super::reader::MapReader;
use super::report::Report;
use super::tree::Node;
use crate::pages::{PageSettings, VisitorCookie};
use nodevent_protocol::key::Secret;
use nodevent_protocol::pages::CHANNEL_PREFIX;
use std::path::Path;
use std::time::Duration;

/// The cookie of a file that names none.
const COOKIE: &str = "nodevent_page";

/// The pages of a namespace.
#[derive(Debug, Clone)]
pub struct PagesConfig {
    /// Signs the cookie.
    pub secret: Secret,
    /// The cookie's name.
    pub cookie: Box<str>,
    /// The path at which pages connect, and below which.
    pub path: Box<str>,
    /// What is kept.
    pub settings: PageSettings,
}

// === impl PagesConfig ===

impl PagesConfig {
    /// The same with what the protocols of the namespace say about rooms: with `pakyow`, channels are rooms of their own.
    #[must_use]
    pub fn with_channels(mut self, has_channels: bool) -> Self {
        self.settings.room_prefix = if has_channels { CHANNEL_PREFIX } else { "" };
        self
    }

    /// Recognizes the visitors of the namespace with this name.
    pub fn visitors(&self, namespace: &str) -> VisitorCookie {
        VisitorCookie { name: self.cookie.clone(), secret: self.secret.clone(), namespace: namespace.into() }
    }
}

/// Reads `pages`. `None`: it is wrong, which is reported.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<PagesConfig> {
    let mut map = MapReader::open(node, path, &keys::PAGES, report)?;
    let is_secret_written = map.has("secret") || map.has("secret_file");
    if !is_secret_written {
        report.error(
            map.location,
            format!("{path} has no secret"),
            "write `secret: <random text>`; it signs the cookie of visitors",
        );
    }
    let secret = credentials::one(&mut map, "secret", folder, report);
    let (name, location) = (map.name("cookie"), map.location_of("cookie"));
    let cookie = map.text("cookie", report).unwrap_or_else(|| COOKIE.to_owned());
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if cookie.is_empty() || !cookie.bytes().all(is_name) {
        report.error(location, format!("{name} is not the name of a cookie"), "write letters, digits, `-` and `_`");
    }
    let (name, location) = (map.name("path"), map.location_of("path"));
    let at = map.text("path", report).unwrap_or_else(|| "/".to_owned());
    let is_path = at.starts_with('/') && at.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\".contains(&byte));
    if !is_path {
        report.error(location, format!("{name} is not a path"), "write a path like `/` or `/live`");
    }
    let settings = PageSettings {
        initial: map.positive_duration("initial", report).unwrap_or(Duration::from_secs(60)),
        grace: map.positive_duration("grace", report).unwrap_or(Duration::from_secs(24 * 3600)),
        // One more, for what is published to the page itself.
        max_channels: map.number::<usize>("max_channels", report).unwrap_or(100) + 1,
        max_pages: map.number("max_pages", report).unwrap_or(200_000),
        // Depends on the protocols of the namespace, which are not read yet.
        room_prefix: "",
    };
    map.finish_strictly(report);
    Some(PagesConfig { secret: secret?, cookie: cookie.into(), path: at.into(), settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const SECRET: &str = "secret: a-secret-of-at-least-32-characters-x";

    fn read(pages: &str) -> Result<PagesConfig, String> {
        let text = format!("/a: {{protocol: pakyow, pages: {pages}}}\n");
        let config = Config::from_yaml(&text).map_err(|report| report.to_string())?;
        Ok(config.namespaces[0].pages.clone().unwrap())
    }

    #[test]
    fn pages_have_defaults_and_can_be_changed() {
        let pages = read(&format!("{{{SECRET}}}")).unwrap();
        assert_eq!((&*pages.cookie, &*pages.path), ("nodevent_page", "/"));
        assert_eq!(pages.settings.initial, Duration::from_secs(60));
        assert_eq!(pages.settings.grace, Duration::from_secs(86_400));
        let all = "cookie: __Host-key, path: /live, initial: 1s, grace: 2s, max_channels: 3, max_pages: 4";
        let pages = read(&format!("{{{SECRET}, {all}}}")).unwrap();
        let (initial, grace) = (Duration::from_secs(1), Duration::from_secs(2));
        let room_prefix = CHANNEL_PREFIX;
        assert_eq!(pages.settings, PageSettings { initial, grace, max_channels: 4, max_pages: 4, room_prefix });
        assert_eq!((&*pages.cookie, &*pages.path), ("__Host-key", "/live"));
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key_and_show_no_secret() {
        for (written, part) in [
            ("{}".to_owned(), "/a.pages has no secret"),
            ("{secret: \"\"}".to_owned(), "/a.pages.secret"),
            (format!("{{{SECRET}, cookie: \"a b\"}}"), "/a.pages.cookie is not the name of a cookie"),
            (format!("{{{SECRET}, path: live}}"), "/a.pages.path is not a path"),
            (format!("{{{SECRET}, initial: 0s}}"), "/a.pages.initial is 0"),
            (format!("{{{SECRET}, max_channels: 0}}"), "/a.pages.max_channels is not a valid number"),
            (format!("{{{SECRET}, gracee: 1h}}"), "/a.pages.gracee"),
        ] {
            let error = read(&written).map(drop).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
            assert!(!error.contains("a-secret-of"), "{written}: {error}");
        }
    }

    #[test]
    fn the_protocol_and_its_section_need_each_other_and_no_room_of_it_is_open() {
        let secret = format!("pages: {{{SECRET}}}");
        for (text, part) in [
            ("/a: {protocol: pakyow}\n".to_owned(), "/a has `protocol: pakyow` and no `pages`"),
            (format!("/a: {{protocol: action_cable, {secret}}}\n"), "/a has `pages` without a protocol for them"),
            (format!("/a: {{dialect: turted, {secret}}}\n"), "/a has `pages` without a protocol for them"),
            (format!("/a: {{protocol: pakyow, open: true, {secret}}}\n"), "/a has `open: true`"),
            (
                format!("/a: {{protocol: [pakyow, plain], {secret}}}\n"),
                "/a shares `protocol: pakyow` with another protocol",
            ),
            (
                format!("/a: {{protocol: pakyow, {secret}}}\n/b: {{protocol: pakyow, {secret}}}\n"),
                "/a and /b have the same `pages: path`",
            ),
        ] {
            let error = Config::from_yaml(&text).map(drop).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        // Pages of our own client connect at the path of their protocol.
        let rooms =
            format!("/a: {{open: true, {secret}}}\n/b: {{{SECRET}, protocol: [plain, socket_io], {secret}}}\n");
        for namespace in Config::from_yaml(&rooms).unwrap().namespaces {
            assert_eq!(namespace.pages.unwrap().settings.room_prefix, "", "a channel is the room of that name");
        }
        let closed = format!("/a: {{protocol: pakyow, {secret}}}\n");
        assert!(!Config::from_yaml(&closed).unwrap().namespaces[0].is_open());
    }
}
