//! `calls`: the application that clients may call over their connections.
//!
//! Owns which targets and methods can be written. Nothing that a client sends changes them.

use super::application::{self, Application};
use super::credentials;
use super::keys;
use super::reader::MapReader;
use super::report::Report;
use super::tree::Node;
use crate::origin::Origins;
use nodevent_protocol::key::Secret;
use std::path::Path;

/// The methods that can be called.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// The methods of a file that names none.
const DEFAULT_METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// The largest response of a file that names none. Bytes.
const MAX_RESPONSE: usize = 256 * 1024;

/// The calls of a namespace.
#[derive(Debug, Clone)]
pub struct Calls {
    /// The requests. The path of a call follows the one of the URL.
    pub application: Application,
    /// Signs them.
    pub secret: Secret,
    /// The methods that may be called.
    pub methods: Vec<Box<str>>,
    /// The cookies that are passed on. `None`: all.
    pub cookies: Option<Vec<Box<str>>>,
    /// The origins of pages that may call, besides the server's own host.
    pub origins: Origins,
    /// The path of the application's handlers.
    pub handlers: Option<Box<str>>,
    /// Whether the application is notified of joins.
    pub notifies_join: bool,
    /// Whether the application is notified of leaves.
    pub notifies_leave: bool,
    /// Calls of one connection at a time.
    pub per_connection: u16,
}

/// Reads `calls`. `None`: it is wrong, which is reported.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Calls> {
    let mut map = MapReader::open(node, path, &keys::CALLS, report)?;
    if !map.has("url") {
        report.error(map.location, format!("{path} has no url"), "write `url: http://127.0.0.1:3000`");
    }
    if !map.has("secret") && !map.has("secret_file") {
        report.error(
            map.location,
            format!("{path} has no secret"),
            "write `secret: <random text>`; it signs requests",
        );
    }
    let (name, location) = (map.name("url"), map.location_of("url"));
    let url = application::url(&mut map, "url", report);
    if url.as_ref().is_some_and(|url| url.query().is_some()) {
        report.error(location, format!("{name} has a query"), "delete `?` and what follows");
    }
    let has_max_response = map.has("max_response");
    let mut application = application::limited(&mut map, url.clone().unwrap_or_default(), folder, report);
    if !has_max_response {
        application.max_response = MAX_RESPONSE;
    }
    let secret = credentials::one(&mut map, "secret", folder, report);
    let name = map.name("methods");
    let (has_methods, written) = (map.has("methods"), map.texts("methods", report));
    let mut methods: Vec<Box<str>> = Vec::new();
    for (text, location) in written {
        let method = text.to_ascii_uppercase();
        match METHODS.contains(&method.as_str()) {
            true => methods.push(method.into()),
            false => report.error(
                location,
                format!("{name} contains something other than a method"),
                format!("write some of {}", METHODS.join(", ")),
            ),
        }
    }
    if !has_methods {
        methods = DEFAULT_METHODS.map(Into::into).to_vec();
    }
    let has_cookies = map.has("cookies");
    let cookies = Some(application::cookies(&mut map, report)).filter(|_| has_cookies);
    let origins = read_origins(&mut map, report);
    let (name, location) = (map.name("handlers"), map.location_of("handlers"));
    let handlers = map.text("handlers", report);
    let is_path = |path: &String| {
        path.len() > 1
            && path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\%".contains(&byte))
    };
    if handlers.as_ref().is_some_and(|path| !is_path(path)) {
        report.error(location, format!("{name} is not a path"), "write a path like `/nodevent/realtime`");
    }
    let (name, location) = (map.name("notify"), map.location_of("notify"));
    let (mut notifies_join, mut notifies_leave) = (false, false);
    for (text, location) in map.texts("notify", report) {
        match text.as_str() {
            "join" => notifies_join = true,
            "leave" => notifies_leave = true,
            _ => report.error(location, format!("{name} contains neither join nor leave"), "write `[join, leave]`"),
        }
    }
    if (notifies_join || notifies_leave) && handlers.is_none() {
        let hint = "write `handlers: /nodevent/realtime` next to it";
        report.error(location, format!("{name} needs the path of the application's handlers"), hint);
    }
    let per_connection = map.number("per_connection", report).unwrap_or(8);
    map.finish_strictly(report);
    url?;
    Some(Calls {
        application,
        secret: secret?,
        methods,
        cookies,
        origins,
        handlers: handlers.map(Into::into),
        notifies_join,
        notifies_leave,
        per_connection,
    })
}

/// Reads `origins`. What these pages call needs no CSRF token, so none of them may be a stranger's.
fn read_origins(map: &mut MapReader<'_>, report: &mut Report) -> Origins {
    let (name, mut origins) = (map.name("origins"), Origins::default());
    for (text, location) in map.texts("origins", report) {
        match origins.add(&text) {
            Ok(None) => {}
            Ok(Some(risk)) => {
                let what = format!("{name} has an entry that allows {}", risk.allows());
                report.error(location, what, "list the origins of the application's own pages");
            }
            Err(bad) => report.error(location, format!("{name} has an entry that {bad}"), bad.hint()),
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::time::Duration;

    const SECRET: &str = "secret: a-secret-of-at-least-32-characters-x";
    const URL: &str = "url: \"http://127.0.0.1:3000/app\"";

    fn read(calls: &str) -> Result<Calls, String> {
        let text = format!("/a: {{open: true, calls: {calls}}}\n");
        let config = Config::from_yaml(&text).map_err(|report| report.to_string())?;
        Ok(config.namespaces[0].calls.clone().unwrap())
    }

    #[test]
    fn calls_have_defaults_and_can_be_changed() {
        let calls = read(&format!("{{{URL}, {SECRET}}}")).unwrap();
        assert_eq!(calls.application.shown_url(), "http://127.0.0.1:3000/app");
        assert_eq!((calls.methods.len(), calls.cookies, calls.per_connection), (5, None, 8));
        assert_eq!((calls.application.max_response, calls.handlers), (MAX_RESPONSE, None));
        assert!(calls.origins.is_empty());
        let calls = read(&format!(
            "{{{URL}, {SECRET}, methods: [get], cookies: [_session], handlers: /nodevent/realtime, notify: [join, leave], \
             timeout: 1s, concurrency: 2, queue: 3, max_response: 1KB, per_connection: 4}}"
        ))
        .unwrap();
        assert_eq!((&*calls.methods[0], &*calls.cookies.unwrap()[0]), ("GET", "_session"));
        assert!(calls.notifies_join && calls.notifies_leave && calls.per_connection == 4);
        assert_eq!((calls.application.timeout, calls.application.max_response), (Duration::from_secs(1), 1024));
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key_and_show_no_secret() {
        for (written, part) in [
            (format!("{{{SECRET}}}"), "/a.calls has no url"),
            (format!("{{{URL}}}"), "/a.calls has no secret"),
            (format!("{{url: \"http://a/?b=hidden\", {SECRET}}}"), "/a.calls.url has a query"),
            (format!("{{url: \"http://u:hidden@a/\", {SECRET}}}"), "/a.calls.url contains a user or a password"),
            (format!("{{{URL}, {SECRET}, methods: [TRACE]}}"), "/a.calls.methods contains something other than"),
            (
                format!("{{{URL}, {SECRET}, origins: \"*\"}}"),
                "/a.calls.origins has an entry that allows every page",
            ),
            (
                format!("{{{URL}, {SECRET}, origins: [\"null\"]}}"),
                "/a.calls.origins has an entry that allows every",
            ),
            (
                format!("{{{URL}, {SECRET}, origins: [\"https://a/b\"]}}"),
                "/a.calls.origins has an entry that is not an",
            ),
            (format!("{{{URL}, {SECRET}, handlers: x}}"), "/a.calls.handlers is not a path"),
            (format!("{{{URL}, {SECRET}, notify: [join]}}"), "/a.calls.notify needs the path"),
            (format!("{{{URL}, {SECRET}, handlers: /h, notify: [enter]}}"), "contains neither join nor leave"),
        ] {
            let error = read(&written).map(drop).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
            assert!(!error.contains("a-secret-of") && !error.contains("hidden"), "{written}: {error}");
        }
    }
}
