//! `traces`: where the spans of sampled publications are sent.

use super::application::{self, Application};
use super::reader::MapReader;
use super::report::Report;
use super::{credentials, keys};
use crate::host::is_loopback;
use hyper::header::HeaderValue;
use std::path::Path;

/// Spans that wait, unless something else is written.
const QUEUE: usize = 4096;

/// The settings of `traces`.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The requests.
    pub application: Application,
    /// The value of the header `Authorization`, which is marked as sensitive.
    pub authorization: Option<HeaderValue>,
    /// Spans that wait.
    pub queue: usize,
}

/// Reads `traces`. `None`: there is none, or it is wrong, which is reported.
pub(super) fn read(top: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<Traces> {
    let node = top.take("traces")?;
    if node.is_off() {
        return None;
    }
    let mut map = MapReader::open(node, "traces", &keys::TRACES, report)?;
    if !map.has("url") {
        report.error(node.location, "traces has no url", "write `url: http://localhost:4318/v1/traces` below it");
    }
    let location = map.location_of("url");
    let url = application::url(&mut map, "url", report);
    let mut application = Application::at(url.clone().unwrap_or_default());
    application.ca = map.file("ca", folder, report);
    // One request at a time.
    (application.concurrency, application.queue) = (1, 0);
    let queue = map.number("queue", report).unwrap_or(QUEUE);
    let written = map.location_of("authorization");
    let authorization = credentials::one(&mut map, "authorization", folder, report).and_then(|secret| {
        let value = HeaderValue::from_bytes(secret.as_bytes()).ok();
        if value.is_none() {
            let hint = "write the value of the header, like `Bearer <token>`";
            report.error(written, "traces.authorization has characters that a header cannot have", hint);
        }
        let mut value = value?;
        value.set_sensitive(true);
        Some(value)
    });
    let is_plain = application.url.scheme_str() == Some("http");
    if authorization.is_some() && is_plain && !is_loopback(application.url.host().unwrap_or_default()) {
        let what = "traces.url is an http URL: programs on the way can read traces.authorization";
        report.warn(location, what, "write an https URL");
    }
    map.finish_strictly(report);
    url.map(|_| Traces { application, authorization, queue })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn traces(text: &str) -> Result<Option<Traces>, String> {
        let text = format!("traces: {text}\n/a: {{open: true}}\n");
        Config::from_yaml(&text).map(|config| config.traces).map_err(|report| report.to_string())
    }

    #[test]
    fn traces_are_off_by_default_and_need_a_url() {
        let plain = Config::from_yaml("/a: {open: true}\n").unwrap();
        assert!(plain.traces.is_none() && traces("off").unwrap().is_none());
        let written = traces("{url: \"http://localhost:4318/v1/traces\", authorization: Bearer a-token-of-16}");
        let written = written.unwrap().unwrap();
        assert_eq!(written.application.shown_url(), "http://localhost:4318/v1/traces");
        assert_eq!(
            (written.queue, written.authorization.unwrap().to_str().unwrap()),
            (4096, "Bearer a-token-of-16")
        );
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key_and_show_no_secret() {
        let url = "url: \"http://localhost/v1/traces\"";
        for (written, part) in [
            ("{queue: 10}".to_owned(), "traces has no url"),
            ("{url: localhost}".to_owned(), "traces.url"),
            (format!("{{{url}, queue: 0}}"), "traces.queue is not a valid number"),
            (format!("{{{url}, authorization: \"\"}}"), "traces.authorization"),
            (format!("{{{url}, authorization: \"Bearer secret\\u0001secret\"}}"), "traces.authorization"),
            (format!("{{{url}, sample: 1}}"), "sample"),
        ] {
            let error = traces(&written).map(drop).unwrap_err();
            assert!(error.contains(part) && !error.contains("secretsecret"), "{written}: {error}");
        }
    }
}
