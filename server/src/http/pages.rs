//! `POST /api/<ns>/pages` and `…/push`: the application subscribes visitors' pages to channels, and publishes to channels
//! by pattern, as `protocol/README.md` section 15 defines it.
//!
//! Publishers are authorized as for publishing. A publish key that is limited cannot subscribe pages. Browsers do neither.

use super::audit::{Audit, Outcome};
use super::{Http, PeerAddr, publish, reply};
use crate::authorize::Publisher;
use crate::namespace::Namespace;
use crate::origin;
use crate::outcome::Unavailable;
use crate::pages::{Changed, PageChange, Pages};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use nodevent_protocol::pages::{ITSELF, PageDigest, is_channel, is_pattern};
use nodevent_protocol::publication;
use nodevent_protocol::targets::Published;
use nodevent_protocol::topic::Topic;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The largest body of a change. Bytes.
const MAX_BODY: usize = 64 * 1024;
/// Channels and patterns in one request.
const MAX_NAMES: usize = 128;
/// Patterns in one request: each searches all channels.
const MAX_PATTERNS: usize = 8;
/// Channels to which a push publishes before other requests have their turn.
const AT_A_TIME: usize = 8;
/// Channels that the patterns of a request may match.
const MAX_MATCHES: usize = 1_000;
/// What can be sent to change subscriptions.
const CHANGE: &str = r#"send {"page": "<40 hexadecimal digits>", "subscribe": ["news"], "unsubscribe": ["old"]} with at most 128 channels, each of 1 to 248 bytes and without `*`"#;
/// What can be sent to publish.
const PUSH: &str = r#"send {"channels": ["news", "user-*"], "message": …} with at most 128 names, 8 of them with `*`, or {"page": "<40 hexadecimal digits>", "channel": "news", "message": …}"#;

type Rejected = Box<Response>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    page: String,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    unsubscribe: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push<'a> {
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    page: Option<String>,
    #[serde(default)]
    channel: Option<String>,
}

/// What a push addresses.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Channels, and patterns.
    Channels(Vec<String>),
    /// A page, in the name of a channel.
    Page(PageDigest, String),
}

/// Changes the subscriptions of a page.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: Request) -> Response {
    counted(http, change(http, namespace, request).await)
}

/// Publishes to channels.
pub(super) async fn serve_push(http: &Http, namespace: &Namespace, request: Request) -> Response {
    counted(http, push(http, namespace, request).await)
}

fn counted(http: &Http, result: Result<Response, Rejected>) -> Response {
    let response = match result {
        Ok(response) => return response,
        Err(response) => *response,
    };
    match response.status() {
        // They are counted already.
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::CONFLICT
        | StatusCode::INSUFFICIENT_STORAGE => {}
        StatusCode::SERVICE_UNAVAILABLE => drop(http.metrics.failed_publishes.fetch_add(1, Relaxed)),
        _ => drop(http.metrics.rejected_requests.fetch_add(1, Relaxed)),
    }
    response
}

fn error(status: StatusCode, error: &str, hint: &str) -> Rejected {
    Box::new(reply::error(status, error, hint))
}

/// The pages of a namespace. Rejects requests of browsers.
fn pages_of(http: &Http, namespace: &Namespace, request: &Request) -> Result<Arc<dyn Pages>, Rejected> {
    if origin::is_from_page(request.headers()) {
        return Err(error(StatusCode::FORBIDDEN, "browsers may not do this", "send it from the application"));
    }
    let engine = http.engines.get(namespace.id).ok_or_else(|| Box::new(reply::busy()))?;
    engine.pages.clone().ok_or_else(|| {
        let hint = "write `pages: {secret: …}` below it in the configuration";
        error(StatusCode::NOT_FOUND, "this namespace has no pages", hint)
    })
}

fn unavailable(namespace: &Namespace, failure: &Unavailable) -> Rejected {
    tracing::warn!(namespace = &*namespace.name, error = %failure, "a request for pages failed");
    let hint = "send it again when the engine is available; see /readyz";
    error(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string(), hint)
}

async fn change(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Rejected> {
    let publisher = publish::authorize(http, namespace, &request)?;
    let pages = pages_of(http, namespace, &request)?;
    if let Publisher::Key(key) = &publisher
        && key.limit.is_some()
    {
        let (what, hint) = ("this publish key may not subscribe pages", "send a publish key without limits");
        Audit::log_rejected_key(http, &namespace.name, PeerAddr::of(request.extensions()), what);
        return Err(error(StatusCode::FORBIDDEN, what, hint));
    }
    let audit = Audit::new(http, namespace, &publisher, &request);
    let body = publish::read_body(http, request, MAX_BODY).await?;
    let change = parse_change(&body).map_err(|what| error(StatusCode::BAD_REQUEST, what, CHANGE))?;
    let changed = pages.change(&change).await;
    audit.log_page(&change, matches!(changed, Ok(Changed::Done { .. })));
    match changed.map_err(|failure| unavailable(namespace, &failure))? {
        Changed::Done { subscribed, unsubscribed, channels } => {
            let body = json!({"subscribed": subscribed, "unsubscribed": unsubscribed, "channels": channels});
            Ok(reply::with_type(StatusCode::OK, "application/json", body.to_string()))
        }
        Changed::TooManyChannels => {
            http.metrics.rejected_pages.fetch_add(1, Relaxed);
            let hint = "unsubscribe the page from channels, or raise `pages: max_channels`";
            Err(error(StatusCode::CONFLICT, "the page would have too many channels", hint))
        }
        Changed::TooManyPages => {
            http.metrics.rejected_pages.fetch_add(1, Relaxed);
            let hint = "raise `pages: max_pages`, or shorten `pages: initial` and `pages: grace`";
            Err(error(StatusCode::INSUFFICIENT_STORAGE, "there is no place for another page", hint))
        }
    }
}

fn parse_change(body: &[u8]) -> Result<PageChange, &'static str> {
    let Change { page, subscribe, unsubscribe } =
        serde_json::from_slice(body).map_err(|_| "the body is not an object with `page` and lists of channels")?;
    let page = PageDigest::parse(&page).ok_or("`page` is not a digest of 40 lower-case hexadecimal digits")?;
    if !(1..=MAX_NAMES).contains(&(subscribe.len() + unsubscribe.len())) {
        return Err("there are no channels, or more than 128");
    }
    if !subscribe.iter().chain(&unsubscribe).all(|name| is_channel(name)) {
        return Err("a channel is empty, too long, or contains `*` or a control character");
    }
    let (subscribe, unsubscribe): (BTreeSet<_>, BTreeSet<_>) =
        (subscribe.into_iter().collect(), unsubscribe.into_iter().collect());
    if subscribe.intersection(&unsubscribe).next().is_some() {
        return Err("a channel is in both lists");
    }
    // What is published to the page itself is kept from now on too.
    let itself = (!subscribe.is_empty()).then(|| ITSELF.to_owned());
    Ok(PageChange {
        page,
        subscribe: subscribe.into_iter().chain(itself).map(String::into_boxed_str).collect(),
        unsubscribe: unsubscribe.into_iter().map(String::into_boxed_str).collect(),
    })
}

async fn push(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Rejected> {
    let publisher = publish::authorize(http, namespace, &request)?;
    let pages = pages_of(http, namespace, &request)?;
    let audit = Audit::new(http, namespace, &publisher, &request);
    let key = publish::idempotency_key(request.headers()).map_err(|()| {
        let hint = "send at most 255 characters that are new for each request, such as a UUID";
        error(StatusCode::BAD_REQUEST, "Idempotency-Key is empty, too long, or not plain ASCII", hint)
    })?;
    let body = publish::read_body(http, request, http.settings().max_publish_size).await?;
    let (target, message) = parse_push(&body).map_err(|what| error(StatusCode::BAD_REQUEST, what, PUSH))?;
    let (names, page) = match target {
        Target::Channels(names) => (resolve(namespace, &*pages, &publisher, names).await?, None),
        Target::Page(page, channel) => (vec![channel], Some(page)),
    };
    let user = page.map(|page| page.to_string());
    let prefix = pages.settings().room_prefix;
    let topic = |channel: &str| user.clone().unwrap_or_else(|| format!("{prefix}{channel}"));
    for channel in &names {
        let topic = topic(channel);
        let addressed = if user.is_some() { Topic::User(&topic) } else { Topic::Room(&topic) };
        if !publisher.may_publish_to(addressed) {
            let hint = "add its room, which begins with `pakyow:` in namespaces of that protocol, or its user, to the key in \
                        `publish_keys`";
            return Err(error(StatusCode::FORBIDDEN, "this publish key may not publish to a channel", hint));
        }
    }
    let Some(engine) = http.engines.get(namespace.id) else { return Err(Box::new(reply::busy())) };
    for (index, channel) in names.iter().enumerate() {
        if index % AT_A_TIME == AT_A_TIME - 1 {
            // The memory engine is always ready, so other requests would wait for the whole push.
            tokio::task::yield_now().await;
        }
        let name = if user.is_some() { "user" } else { "room" };
        let (target, event) = (Value::from(topic(channel)), Value::from(channel.as_str()));
        let text = format!(r#"{{"{name}":{target},"event":{event},"message":{message}}}"#);
        let parsed = publication::parse(text.as_bytes()).map_err(|invalid| {
            http.metrics.count_invalid_publish(&invalid);
            error(StatusCode::BAD_REQUEST, &invalid.to_string(), PUSH)
        })?;
        let key = key.as_ref().map(|key| publisher.idempotency_key(&format!("{key}:{channel}")));
        let published = engine.publish.publish(&parsed, key.as_deref(), publisher.of_engine()).await;
        let outcome = if published.is_ok() { Outcome::Published } else { Outcome::Failed };
        audit.log(&[Published::One(parsed.clone())], outcome);
        published.map_err(|failure| unavailable(namespace, &failure))?;
    }
    let body = json!({"channels": names}).to_string();
    Ok(reply::with_type(StatusCode::OK, "application/json", body))
}

/// The channels of names and patterns, each once. What the publisher may not publish to does not exist for patterns: neither
/// the names nor an error show it.
async fn resolve(
    namespace: &Namespace,
    pages: &dyn Pages,
    publisher: &Publisher,
    names: Vec<String>,
) -> Result<Vec<String>, Rejected> {
    let prefix = pages.settings().room_prefix;
    let is_visible = |channel: &str| publisher.may_publish_to(Topic::Room(&format!("{prefix}{channel}")));
    let (patterns, literal): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.contains('*'));
    let mut channels: BTreeSet<String> = literal.into_iter().collect();
    for pattern in patterns {
        let found = pages.channels(&pattern, &is_visible, MAX_MATCHES).await;
        let found = found.map_err(|failure| unavailable(namespace, &failure))?;
        match found.filter(|found| channels.len() + found.len() <= MAX_MATCHES) {
            Some(found) => channels.extend(found),
            None => {
                let hint = "write patterns that match fewer channels";
                return Err(error(StatusCode::BAD_REQUEST, "the patterns match more than 1000 channels", hint));
            }
        }
    }
    Ok(channels.into_iter().collect())
}

/// The target of a push, and the text of its message.
fn parse_push(body: &[u8]) -> Result<(Target, &str), &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    let Push { message, channels, page, channel } =
        serde_json::from_str(text).map_err(|_| "the body is not an object with a message and its target")?;
    let message = message.map_or("null", RawValue::get);
    match (channels, page, channel) {
        (Some(names), None, None) => {
            if !(1..=MAX_NAMES).contains(&names.len()) {
                return Err("there are no channels, or more than 128");
            }
            if names.iter().filter(|name| name.contains('*')).count() > MAX_PATTERNS {
                return Err("there are more than 8 patterns");
            }
            match names.iter().all(|name| is_pattern(name)) {
                true => Ok((Target::Channels(names), message)),
                false => Err("a channel is empty, too long, or contains a control character"),
            }
        }
        (None, Some(page), Some(channel)) => {
            let page =
                PageDigest::parse(&page).ok_or("`page` is not a digest of 40 lower-case hexadecimal digits")?;
            match is_channel(&channel) {
                true => Ok((Target::Page(page, channel), message)),
                false => Err("the channel is empty, too long, or contains `*` or a control character"),
            }
        }
        _ => Err("there is neither `channels` nor `page` with `channel`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "9756a9cdb5797b5307a366287dfa5b014395bfdb";

    #[test]
    fn a_change_names_a_page_and_channels() {
        let text = format!(r#"{{"page":"{PAGE}","subscribe":["b","a","a"],"unsubscribe":["c"]}}"#);
        let change = parse_change(text.as_bytes()).unwrap();
        assert_eq!((change.page.to_string(), change.unsubscribe), (PAGE.to_owned(), vec!["c".into()]));
        assert_eq!(change.subscribe, ["a".into(), "b".into(), Box::<str>::from("")]);
        for (text, part) in [
            ("[]".to_owned(), "not an object"),
            (format!(r#"{{"page":"{PAGE}"}}"#), "no channels"),
            (r#"{"page":"x","subscribe":["a"]}"#.to_owned(), "`page` is not a digest"),
            (format!(r#"{{"page":"{PAGE}","subscribe":["a*"]}}"#), "contains `*`"),
            (format!(r#"{{"page":"{PAGE}","subscribe":[""]}}"#), "empty"),
            (format!(r#"{{"page":"{PAGE}","subscribe":["a"],"unsubscribe":["a"]}}"#), "both lists"),
            (format!(r#"{{"page":"{PAGE}","subscribe":"a"}}"#), "not an object"),
            (format!(r#"{{"page":"{PAGE}","subscribe":["a"],"more":1}}"#), "not an object"),
            (format!(r#"{{"page":"{PAGE}","subscribe":{}}}"#, json!(vec!["a"; 129])), "more than 128"),
        ] {
            let error = parse_change(text.as_bytes()).map(drop).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_push_has_a_target_and_any_message() {
        // P-09, P-35
        let parse = |text: &str| parse_push(text.as_bytes()).map(|(target, message)| (target, message.to_owned()));
        let channels = |names: &[&str]| Target::Channels(names.iter().map(ToString::to_string).collect());
        let (target, message) = parse(r#"{"channels":["a","b*"],"message":{"key":1.50}}"#).unwrap();
        assert_eq!((target, &*message), (channels(&["a", "b*"]), r#"{"key":1.50}"#));
        assert_eq!(parse(r#"{"channels":["a"]}"#).unwrap().1, "null");
        let directed = format!(r#"{{"page":"{PAGE}","channel":"a","message":"m"}}"#);
        assert_eq!(parse(&directed).unwrap().0, Target::Page(PageDigest::parse(PAGE).unwrap(), "a".into()));
        for text in [
            "{}",
            "1",
            r#"{"channels":[],"message":1}"#,
            r#"{"channels":["*","*","*","*","*","*","*","*","*"],"message":1}"#,
            r#"{"channels":["a\n"],"message":1}"#,
            r#"{"channels":["a"],"page":"x","message":1}"#,
            r#"{"page":"x","channel":"a","message":1}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
