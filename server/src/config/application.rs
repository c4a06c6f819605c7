//! `auth`: the request by which the application says who a connection is, and the settings of every request to the
//! application.
//!
//! Owns which targets, headers and cookies can be written. The target is complete: nothing is added to it later.

use super::keys;
use super::reader::MapReader;
use super::report::{Location, Report};
use super::tree::Node;
use crate::host::is_loopback;
use hyper::Uri;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Headers and cookies that may be listed, each.
const MAX_NAMES: usize = 16;
/// Headers that belong to one connection, or that the client sets itself.
const RESERVED_HEADERS: [&str; 13] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The settings of requests to one URL of the application.
#[derive(Debug, Clone)]
pub struct Application {
    /// The URL: `http` or `https`, with a host, without a user.
    pub url: Uri,
    /// The certificates that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Timeout of a new connection.
    pub connect_timeout: Duration,
    /// Timeout of a request as a whole, with the time for which it waits.
    pub timeout: Duration,
    /// Requests at a time.
    pub concurrency: usize,
    /// Requests that wait.
    pub queue: usize,
    /// The largest body of a response. Bytes.
    pub max_response: usize,
}

/// The key set of `token: {jwks_url: …}`.
#[derive(Debug, Clone)]
pub struct KeySet {
    /// The requests.
    pub application: Application,
    /// Time after which it is read again.
    pub refresh: Duration,
    /// For how long its keys count while it cannot be read.
    pub max_age: Duration,
}

/// How the application is asked who a connection is.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The requests.
    pub application: Application,
    /// The word before the token in the header `Authorization`.
    pub scheme: Box<str>,
    /// Whether they are `POST` requests.
    pub is_post: bool,
    /// The cookies that are passed on.
    pub cookies: Vec<Box<str>>,
    /// The headers that are passed on, in lower case.
    pub headers: Vec<Box<str>>,
    /// For how long a yes is used again.
    pub cache: Duration,
    /// For how long a no is used again.
    pub cache_rejected: Duration,
    /// For how long an identity is valid, at most.
    pub lifetime: Duration,
    /// How long a connection stays open after its identity has expired.
    pub grace: Duration,
}

// === impl Application ===

impl Application {
    /// Settings for this URL, with the defaults.
    pub fn at(url: Uri) -> Self {
        Self {
            url,
            ca: None,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            concurrency: 16,
            queue: 1024,
            max_response: 64 * 1024,
        }
    }

    /// The URL without its query, which may contain a secret.
    pub fn shown_url(&self) -> String {
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}{}", self.url.scheme_str().unwrap_or_default(), self.url.path())
    }
}

/// How long a connection of the dialect `web_service` lasts, whose clients have no way to identify again: 100 years.
const UNLIMITED: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads `auth`. `None`: it is wrong, which is reported. In the dialect `web_service` the application is asked about every
/// connection, as it was by the old service, unless something else is written.
pub(super) fn read(
    node: &Node,
    path: &str,
    folder: &Path,
    is_web_service: bool,
    report: &mut Report,
) -> Option<Auth> {
    let (cache, cache_rejected, lifetime) = match is_web_service {
        true => (Duration::ZERO, Duration::ZERO, UNLIMITED),
        false => (Duration::from_secs(10), Duration::from_secs(2), Duration::from_secs(3600)),
    };
    let mut map = MapReader::open(node, path, &keys::AUTH, report)?;
    if !map.has("url") {
        report.error(
            map.location,
            format!("{path} has no url"),
            "write `url: https://www.example.com/live/visitor`",
        );
    }
    let url = url(&mut map, "url", report);
    let application = limited(&mut map, url.clone().unwrap_or_default(), folder, report);
    let auth = Auth {
        application,
        scheme: scheme(&mut map, report),
        is_post: map.word("method", report).is_some_and(|word| word == "POST"),
        cookies: cookies(&mut map, report),
        headers: headers(&mut map, report),
        cache: map.duration("cache", report).unwrap_or(cache),
        cache_rejected: map.duration("cache_rejected", report).unwrap_or(cache_rejected),
        lifetime: map.positive_duration("lifetime", report).unwrap_or(lifetime),
        grace: map.duration("grace", report).unwrap_or(crate::token::GRACE),
    };
    map.finish_strictly(report);
    url.map(|_| auth)
}

/// Reads a map with `url` and the limits of requests to it, and nothing else. `None`: it is wrong, which is reported.
pub(super) fn target(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Application> {
    let mut map = MapReader::open(node, path, &keys::APPLICATION, report)?;
    if !map.has("url") {
        report.error(
            map.location,
            format!("{path} has no url"),
            "write `url: https://www.example.com/live/turted`",
        );
    }
    let url = url(&mut map, "url", report);
    let application = limited(&mut map, url.clone().unwrap_or_default(), folder, report);
    map.finish_strictly(report);
    url.map(|_| application)
}

/// Reads the limits of requests to a URL.
pub(super) fn limited(map: &mut MapReader<'_>, url: Uri, folder: &Path, report: &mut Report) -> Application {
    let mut application = Application::at(url);
    application.ca = map.file("ca", folder, report);
    application.connect_timeout =
        map.positive_duration("connect_timeout", report).unwrap_or(application.connect_timeout);
    application.timeout = map.positive_duration("timeout", report).unwrap_or(application.timeout);
    application.concurrency = map.number("concurrency", report).unwrap_or(application.concurrency);
    application.queue = map.number("queue", report).unwrap_or(application.queue);
    application.max_response = map.size("max_response", report).unwrap_or(application.max_response);
    application
}

/// Reads `jwks_url` and what belongs to it, below `token`.
pub(super) fn key_set(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<KeySet> {
    let location = map.location_of("jwks_url");
    let mut application = Application::at(url(map, "jwks_url", report).unwrap_or_default());
    let host = application.url.host().unwrap_or_default();
    let is_url = !host.is_empty();
    if application.url.scheme_str() == Some("http") && !is_loopback(host) {
        let what = format!(
            "{} is an http URL: a program on the way can replace the keys, and so sign every token",
            map.name("jwks_url")
        );
        report.warn(location, what, "write an https URL, or use `jwks_file`");
    }
    application.ca = map.file("jwks_ca", folder, report);
    let refresh = map.positive_duration("jwks_refresh", report).unwrap_or(Duration::from_secs(300));
    let max_age = map.positive_duration("jwks_max_age", report).unwrap_or(Duration::from_secs(24 * 3600));
    if refresh > max_age {
        let (refresh, max_age) = (map.name("jwks_refresh"), map.name("jwks_max_age"));
        let what = format!("{refresh} is longer than {max_age}, so keys would end before they are read again");
        report.error(location, what, "write a shorter `jwks_refresh`");
    }
    is_url.then_some(KeySet { application, refresh, max_age })
}

/// Reads a URL of the application. The report does not contain it, because it may contain a secret.
pub(super) fn url(map: &mut MapReader<'_>, key: &'static str, report: &mut Report) -> Option<Uri> {
    let (name, location) = (map.name(key), map.location_of(key));
    let text = map.text(key, report)?;
    let mut error = |what: &str, hint: &str| {
        report.error(location, format!("{name} {what}"), hint);
        None
    };
    let example = "write a complete URL, like https://www.example.com/live/visitor";
    let Ok(uri) = text.parse::<Uri>() else { return error("is not a URL", example) };
    let Some(authority) = uri.authority() else { return error("has no host", example) };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return error("is neither an http nor an https URL", example);
    }
    if authority.as_str().contains('@') {
        return error(
            "contains a user or a password",
            "delete it; the application recognizes the server by its network",
        );
    }
    if text.contains('#') {
        return error("contains a fragment", "delete `#` and what follows");
    }
    Some(uri)
}

/// The scheme of the header `Authorization`.
fn scheme(map: &mut MapReader<'_>, report: &mut Report) -> Box<str> {
    let (name, location) = (map.name("scheme"), map.location_of("scheme"));
    let scheme = map.text("scheme", report).unwrap_or_else(|| "Bearer".to_owned());
    let is_word = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if !is_word {
        report.error(location, format!("{name} is not one word"), "write the word before the token, like `Bearer`");
    }
    scheme.into()
}

/// Reads the names of cookies that are passed on.
pub(super) fn cookies(map: &mut MapReader<'_>, report: &mut Report) -> Vec<Box<str>> {
    // RFC 6265: the name is a token of HTTP.
    let is_name =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    names(map, "cookies", report, |text| {
        (!is_name(text)).then_some("contains something other than the name of a cookie")
    })
}

fn headers(map: &mut MapReader<'_>, report: &mut Report) -> Vec<Box<str>> {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let names = names(map, "headers", report, |text| {
        let lower = text.to_ascii_lowercase();
        if !is_name(text) {
            Some("contains something other than the name of a header")
        } else if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("sec-") {
            Some("contains a header that cannot be passed on; cookies are listed in `cookies`")
        } else {
            None
        }
    });
    names.iter().map(|name| name.to_ascii_lowercase().into()).collect()
}

fn names(
    map: &mut MapReader<'_>,
    key: &'static str,
    report: &mut Report,
    problem: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Box<str>> {
    let name = map.name(key);
    let texts: Vec<(String, Location)> = map.texts(key, report);
    if let Some((_, location)) = texts.get(MAX_NAMES) {
        report.error(
            *location,
            format!("{name} has more than {MAX_NAMES} entries"),
            "list only what the application reads",
        );
    }
    let mut names = Vec::new();
    for (text, location) in texts.into_iter().take(MAX_NAMES) {
        match problem(&text) {
            Some(what) => report.error(location, format!("{name} {what}"), "write the name only"),
            None => names.push(text.into()),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn read(auth: &str) -> Result<Auth, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nodevent.yml");
        std::fs::write(&file, format!("/a:\n  auth: {auth}\n")).unwrap();
        let loaded = load(Some(&file)).map_err(|report| report.to_string())?;
        Ok(loaded.config.namespaces[0].auth.clone().unwrap())
    }

    #[test]
    fn settings_have_defaults_and_can_be_changed() {
        let auth = read("{url: \"https://www.example.com/live?key=hidden\"}").unwrap();
        assert_eq!(auth.application.shown_url(), "https://www.example.com/live");
        assert_eq!((auth.is_post, auth.cookies.len(), auth.headers.len()), (false, 0, 0));
        assert_eq!((auth.cache, auth.cache_rejected), (Duration::from_secs(10), Duration::from_secs(2)));
        assert_eq!((auth.application.timeout, auth.application.concurrency), (Duration::from_secs(5), 16));
        let auth = read(
            "{url: \"http://localhost:3000/live\", method: POST, cookies: [_session], headers: X-Visitor, cache: 0s, \
             cache_rejected: 1s, timeout: 1s, connect_timeout: 500ms, concurrency: 3, queue: 0, max_response: 1KB, \
             lifetime: 1m, grace: 0s}",
        )
        .unwrap();
        assert_eq!((auth.is_post, &*auth.cookies[0], &*auth.headers[0]), (true, "_session", "x-visitor"));
        assert_eq!((auth.application.queue, auth.application.max_response), (0, 1024));
        assert_eq!((auth.lifetime, auth.grace), (Duration::from_secs(60), Duration::ZERO));
    }

    #[test]
    fn mistakes_in_the_url_of_a_key_set_are_errors() {
        for (written, part) in [
            ("jwks_url: /keys", "/a.token.jwks_url has no host"),
            (
                "jwks_url: \"https://example.com/keys\", jwks_refresh: 2h, jwks_max_age: 1h",
                "jwks_refresh is longer than",
            ),
            (
                "jwks_url: \"https://example.com/keys\", jwks_ca: missing.pem",
                "/a.token.jwks_ca: the file cannot be read",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("nodevent.yml");
            std::fs::write(&file, format!("/a:\n  token: {{{written}}}\n")).unwrap();
            let error = load(Some(&file)).map(drop).unwrap_err().to_string();
            assert!(error.contains(part), "{written}: {error}");
        }
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key_and_show_no_secret() {
        for (written, part) in [
            ("{}", "/a.auth has no url"),
            ("x", "/a.auth has no keys"),
            ("{url: /live}", "/a.auth.url has no host"),
            ("{url: \"ftp://example.com/\"}", "/a.auth.url is neither an http nor an https URL"),
            ("{url: \"http://me:hidden@example.com/\"}", "/a.auth.url contains a user or a password"),
            ("{url: \"http://example.com/ hidden\"}", "/a.auth.url is not a URL"),
            ("{url: \"http://example.com/#hidden\"}", "/a.auth.url contains a fragment"),
            ("{url: \"http://example.com/\", method: PUT}", "/a.auth.method is not one of its words"),
            (
                "{url: \"http://example.com/\", headers: [Host]}",
                "/a.auth.headers contains a header that cannot be passed on",
            ),
            ("{url: \"http://example.com/\", headers: [Cookie]}", "cookies are listed in `cookies`"),
            ("{url: \"http://example.com/\", headers: [\"a b\"]}", "/a.auth.headers contains something other than"),
            ("{url: \"http://example.com/\", cookies: [\"a;b\"]}", "/a.auth.cookies contains something other than"),
            ("{url: \"http://example.com/\", timeout: 0s}", "/a.auth.timeout is 0"),
            ("{url: \"http://example.com/\", concurrency: 0}", "/a.auth.concurrency is not a valid number"),
            ("{url: \"http://example.com/\", ca: missing.pem}", "/a.auth.ca: the file cannot be read"),
        ] {
            let error = read(written).map(drop).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
            assert!(!error.contains("hidden"), "{written}: {error}");
        }
        let many: Vec<String> = (0..17).map(|index| format!("c{index}")).collect();
        let error = read(&format!("{{url: \"http://example.com/\", cookies: [{}]}}", many.join(", "))).map(drop);
        assert!(error.unwrap_err().contains("more than 16 entries"));
    }
}
