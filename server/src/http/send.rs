//! `POST /send?site=<name>&apiKey=<key>`: the endpoint of SocketIO Web Service, and `GET /healthcheck`.
//!
//! A site is a namespace with `dialect: web_service`. Messages to rooms of users go to their mailboxes, others are
//! published. The connections of users whose mailboxes have the message do not receive it a second time.

use super::audit::{Audit, Outcome};
use super::{Http, PeerAddr, form, publish, query, reply};
use crate::authorize::{PublishVerdict, Publisher};
use crate::clock::now_ms;
use crate::mailbox::{NewMessage, Stored};
use crate::namespace::Namespace;
use crate::origin;
use crate::web_service::{self, Settings};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::future::join_all;
use nodevent_protocol::publication::InvalidPublication;
use nodevent_protocol::targets::{self, MAX_TARGETS};
use nodevent_protocol::{room, topic};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The longest name of an event. Bytes.
const MAX_EVENT_BYTES: usize = 255;
/// Users whose messages are stored at a time.
const AT_A_TIME: usize = 64;
/// The text of the old service.
const MISSING: &str = "Missing query param 'site' or 'apiKey'.";
/// The text of the old service.
const INVALID_KEY: &str = "ApiKey invalid.";

/// What was sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    /// Each once.
    rooms: Vec<String>,
    event: String,
    /// The text of a JSON array.
    arguments: String,
}

/// Adds the routes, if a namespace has the dialect.
pub(super) fn mount(router: Router<Arc<Http>>, http: &Http) -> Router<Arc<Http>> {
    match http.namespaces.iter().any(|one| one.web_service.is_some()) {
        true => router.route("/send", any(serve)).route("/healthcheck", get(|| async { "ok" })),
        false => router,
    }
}

async fn serve(State(http): State<Arc<Http>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return reply::method_not_allowed("POST");
    }
    match send(&http, request).await {
        Ok(()) => reply::text(StatusCode::OK, "OK".into()),
        Err(response) => {
            match response.status() {
                // They are counted where they are noticed.
                StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => {}
                StatusCode::SERVICE_UNAVAILABLE => drop(http.metrics.failed_publishes.fetch_add(1, Relaxed)),
                _ => drop(http.metrics.rejected_requests.fetch_add(1, Relaxed)),
            }
            *response
        }
    }
}

fn rejection(status: StatusCode, text: &str) -> Box<Response> {
    Box::new(reply::text(status, text.to_owned()))
}

fn bad_request(text: &str) -> Box<Response> {
    rejection(StatusCode::BAD_REQUEST, text)
}

async fn send(http: &Http, request: Request) -> Result<(), Box<Response>> {
    let (Some(site), Some(key)) =
        (parameter(&request, "site"), parameter(&request, "apiKey").or_else(|| key_of(request.headers())))
    else {
        return Err(bad_request(MISSING));
    };
    let (namespace, settings, publisher) = authorize(http, &request, &site, &key)?;
    let resync = match parameter(&request, "resync").as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0" | "no" | "off") => false,
        Some("true" | "1" | "yes" | "on") => true,
        Some(_) => return Err(bad_request("The query param 'resync' is neither true nor false.")),
    };
    let audit = Audit::new(http, namespace, &publisher, &request);
    let (client, headers) = (PeerAddr::of(request.extensions()), request.headers().clone());
    let body = publish::read_body(http, request, http.settings().max_publish_size).await?;
    let sent = parse(&body, is_form(&headers, &body), namespace.limits.max_name_bytes).map_err(|text| {
        tracing::warn!(namespace = &*namespace.name, %client, reason = text, "message rejected");
        bad_request(&text)
    })?;
    let (users, groups): (Vec<&str>, Vec<&str>) =
        sent.rooms.iter().map(String::as_str).partition(|room| settings.is_user_room(room));
    if users.iter().any(|user| !topic::is_user(user)) {
        return Err(bad_request("The room of a user contains a control character."));
    }
    let may_send = users.iter().all(|user| publisher.may_publish_to(topic::Topic::User(user)))
        && groups.iter().all(|room| publisher.may_publish_to(topic::Topic::Room(room)));
    if !may_send {
        return Err(rejection(StatusCode::FORBIDDEN, "This ApiKey may not send to one of these rooms."));
    }
    let text = web_service::mailbox_text(&sent.event, &sent.arguments, resync, now_ms());
    let stored = store(http, namespace, &publisher, &users, &text).await;
    if !users.is_empty() {
        let outcome = if stored.is_ok() { Outcome::Published } else { Outcome::Failed };
        audit.log_notification(users.len(), &sent.event, text.len(), outcome);
    }
    let stored = stored?;
    if groups.is_empty() {
        return Ok(());
    }
    let text = web_service::publication_text(&groups, &stored, &sent.event, &sent.arguments);
    let invalid = |error: InvalidPublication| bad_request(&format!("The message is invalid: {error}."));
    let publications = [targets::parse(text.as_bytes()).map_err(invalid)?];
    let published = publish::publish_all(http, namespace, &publications, None, &publisher, client).await;
    audit.log(&publications, if published.is_ok() { Outcome::Published } else { Outcome::Failed });
    published.map(drop)
}

/// A parameter of the query that is not empty.
fn parameter(request: &Request, name: &str) -> Option<String> {
    query::decoded(request.uri().query(), name).filter(|value| !value.is_empty())
}

/// The key in a header, where proxies do not log it.
fn key_of(headers: &HeaderMap) -> Option<String> {
    let own = headers.get("x-api-key").map(|value| value.as_bytes());
    let key = own.or_else(|| query::bearer(headers))?;
    Some(String::from_utf8_lossy(key).into_owned()).filter(|key| !key.is_empty())
}

/// The site, if the key is one of its keys. An unknown site and a wrong key cannot be distinguished.
fn authorize<'a>(
    http: &'a Http,
    request: &Request,
    site: &str,
    key: &str,
) -> Result<(&'a Namespace, &'a Settings, Publisher), Box<Response>> {
    let client = PeerAddr::of(request.extensions());
    if origin::is_from_page(request.headers()) && publish::page_that_may_publish(http, request).is_none() {
        tracing::warn!(%client, "message rejected: pages may not send");
        return Err(rejection(StatusCode::FORBIDDEN, "Pages may not send messages."));
    }
    let name = format!("/{}", site.trim_start_matches('/'));
    if let Some(namespace) = http.namespaces.find(&name)
        && let Some(settings) = &namespace.web_service
        && let PublishVerdict::Admit(publisher @ Publisher::Key(_)) =
            namespace.publish.authorize(Some(key.as_bytes()), false, false)
    {
        return Ok((namespace, settings, publisher));
    }
    tracing::warn!(%client, "message rejected: there is no such site, or its ApiKey is another one");
    Audit::log_rejected_key(http, "/send", client, "unknown site or wrong key");
    match http.settings().addresses.wrong_key(client) {
        Ok(()) => Err(rejection(StatusCode::UNAUTHORIZED, INVALID_KEY)),
        Err(limit) => Err(http.refuse_address(client, limit)),
    }
}

/// Stores the message in the mailboxes of users. Returns the users who have it.
async fn store<'a>(
    http: &Http,
    namespace: &Namespace,
    publisher: &Publisher,
    users: &[&'a str],
    text: &str,
) -> Result<Vec<&'a str>, Box<Response>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let engine = http.engines.get(namespace.id).ok_or_else(|| Box::new(reply::busy()))?;
    let none = || rejection(StatusCode::INTERNAL_SERVER_ERROR, "The site has no mailboxes.");
    let mailboxes = engine.mailboxes.as_deref().ok_or_else(none)?;
    let max = mailboxes.settings().max_message;
    if text.len() > max {
        http.metrics.count_oversized_publish();
        let error = format!("The message is larger than {max} bytes.");
        return Err(rejection(StatusCode::PAYLOAD_TOO_LARGE, &error));
    }
    let is_limited = publisher.is_limited_to_users();
    let (mut have_it, mut failure, metrics) = (Vec::with_capacity(users.len()), None, &http.metrics);
    for users in users.chunks(AT_A_TIME) {
        let stored = users.iter().map(|user| async move {
            mailboxes.store(&NewMessage { user, text, ttl: None, idempotency_key: None, is_limited }).await
        });
        for (user, stored) in users.iter().zip(join_all(stored).await) {
            match stored {
                Ok(Stored::Stored { dropped, .. }) => {
                    metrics.mailbox_messages.fetch_add(1, Relaxed);
                    metrics.mailbox_dropped.fetch_add(dropped, Relaxed);
                    have_it.push(*user);
                }
                Ok(Stored::Duplicate(_)) => have_it.push(*user),
                // Nothing is stored for a user who was never connected, or not for a long time.
                Ok(Stored::Unknown) => drop(metrics.mailbox_unknown_users.fetch_add(1, Relaxed)),
                Ok(Stored::Full) => {
                    metrics.mailbox_full.fetch_add(1, Relaxed);
                    let error = "There is no place for another mailbox.";
                    failure.get_or_insert_with(|| rejection(StatusCode::INSUFFICIENT_STORAGE, error));
                }
                Err(error) => {
                    tracing::warn!(namespace = &*namespace.name, %error, "a message was not stored");
                    let error = "The message was not stored. Send it again.";
                    failure.get_or_insert_with(|| rejection(StatusCode::SERVICE_UNAVAILABLE, error));
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(have_it)
}

/// Whether a body is that of a form. Without a type, a JSON object is recognized.
fn is_form(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*essence {
        "application/json" => false,
        "application/x-www-form-urlencoded" => true,
        _ => !body.trim_ascii_start().starts_with(b"{"),
    }
}

/// Reads a body.
///
/// # Errors
/// What is wrong with it.
fn parse(body: &[u8], is_form: bool, max_name: usize) -> Result<Sent, String> {
    #[derive(Deserialize)]
    struct Written<'a> {
        rooms: Option<Value>,
        event: Option<Value>,
        #[serde(borrow)]
        args: Option<&'a RawValue>,
    }
    let (rooms, event, arguments) = if is_form {
        let mut fields = form::parse(body).map_err(|error| error.to_string())?;
        let arguments = fields.remove("args").map(|arguments| arguments.to_string());
        (fields.remove("rooms"), fields.remove("event"), arguments)
    } else {
        let written: Written<'_> = serde_json::from_slice(body)
            .map_err(|error| format!("The body is not a JSON object: {}.", place_of(&error)))?;
        // serde reads a `null` as a missing member.
        let has_null = || body_has_null_args(body).then(|| "null".to_owned());
        (written.rooms, written.event, written.args.map(|args| args.get().to_owned()).or_else(has_null))
    };
    let rooms = match rooms {
        None | Some(Value::Null) => return Err("'rooms' is missing.".into()),
        Some(Value::Array(rooms)) => rooms,
        Some(Value::Object(rooms)) if is_form => rooms.into_iter().map(|(_, room)| room).collect(),
        Some(room) => vec![room],
    };
    if rooms.is_empty() || rooms.len() > MAX_TARGETS {
        return Err(format!("'rooms' has not 1 to {MAX_TARGETS} rooms."));
    }
    let (mut names, mut known) = (Vec::with_capacity(rooms.len()), HashSet::with_capacity(rooms.len()));
    for room in &rooms {
        let name = room::from_json(room, max_name)
            .map_err(|_| format!("'rooms' has something other than names of 1 to {max_name} bytes."))?;
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
    let event = match event {
        None | Some(Value::Null) => return Err("'event' is missing.".into()),
        Some(Value::String(event)) if (1..=MAX_EVENT_BYTES).contains(&event.len()) => event,
        Some(_) => return Err(format!("'event' is not a text of 1 to {MAX_EVENT_BYTES} bytes.")),
    };
    if web_service::is_reserved(&event) {
        return Err("'event' is a name that clients use themselves.".into());
    }
    let arguments = match arguments {
        None => "[]".to_owned(),
        Some(arguments) if arguments.starts_with('[') => arguments,
        Some(argument) => format!("[{argument}]"),
    };
    Ok(Sent { rooms: names, event, arguments })
}

/// Where an error is. Its own text may contain a part of the body.
fn place_of(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Whether a JSON object has `"args": null`, which is an argument.
fn body_has_null_args(body: &[u8]) -> bool {
    let value: Result<Value, _> = serde_json::from_slice(body);
    value.is_ok_and(|value| value.get("args").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(rooms: &[&str], event: &str, arguments: &str) -> Sent {
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        Sent { rooms, event: event.to_owned(), arguments: arguments.to_owned() }
    }

    #[test]
    fn w01_w18_w20_json_names_rooms_an_event_and_its_arguments() {
        for (body, expected) in [
            (r#"{"rooms":"a","event":"e","args":[1,"b"]}"#, sent(&["a"], "e", r#"[1,"b"]"#)),
            (r#"{"rooms":["a","b","a"],"event":"e","args":[[1,2],3]}"#, sent(&["a", "b"], "e", "[[1,2],3]")),
            (r#"{"rooms":["a"],"event":"e"}"#, sent(&["a"], "e", "[]")),
            (r#"{"rooms":["a"],"event":"e","args":7}"#, sent(&["a"], "e", "[7]")),
            (r#"{"rooms":["a"],"event":"e","args":{"b":[]}}"#, sent(&["a"], "e", r#"[{"b":[]}]"#)),
            (r#"{"rooms":["a"],"event":"e","args":null}"#, sent(&["a"], "e", "[null]")),
        ] {
            assert_eq!(parse(body.as_bytes(), false, 20), Ok(expected), "{body}");
        }
    }

    #[test]
    fn w02_forms_are_read_like_json() {
        for (body, expected) in [
            ("rooms[]=a&event=e&args[]=1", sent(&["a"], "e", r#"["1"]"#)),
            ("rooms=a&event=e&args=1", sent(&["a"], "e", r#"["1"]"#)),
            ("rooms[]=a&rooms[]=b&event=e", sent(&["a", "b"], "e", "[]")),
            ("rooms=a&event=e&args[0][x]=1&args[1]=2", sent(&["a"], "e", r#"[{"x":"1"},"2"]"#)),
        ] {
            assert_eq!(parse(body.as_bytes(), true, 20), Ok(expected), "{body}");
        }
    }

    #[test]
    fn w44_w45_anything_else_is_rejected_with_its_reason() {
        for (body, part) in [
            ("", "not a JSON object"),
            ("{", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "'rooms' is missing"),
            (r#"{"rooms":null,"event":"e"}"#, "'rooms' is missing"),
            (r#"{"rooms":[],"event":"e"}"#, "1 to 1000 rooms"),
            (r#"{"rooms":[{}],"event":"e"}"#, "something other than names"),
            (r#"{"rooms":"xxxxxxxxxxxxxxxxxxxxx","event":"e"}"#, "something other than names"),
            (r#"{"rooms":"a"}"#, "'event' is missing"),
            (r#"{"rooms":"a","event":7}"#, "'event' is not a text"),
            (r#"{"rooms":"a","event":""}"#, "'event' is not a text"),
            (r#"{"rooms":"a","event":"disconnect"}"#, "clients use themselves"),
        ] {
            let error = parse(body.as_bytes(), false, 20).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
        assert!(parse(b"", true, 20).is_err() && parse(b"{}", true, 20).is_err());
    }

    #[test]
    fn w54_key_may_be_in_a_header() {
        let key = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            key_of(&headers)
        };
        assert_eq!(key("x-api-key", "54321").as_deref(), Some("54321"));
        assert_eq!(key("authorization", "Bearer 54321").as_deref(), Some("54321"));
        assert_eq!(key("authorization", "Basic 54321"), None);
    }

    #[test]
    fn type_of_the_body_decides_how_it_is_read() {
        let of = |kind: Option<&'static str>, body: &str| {
            let mut headers = HeaderMap::new();
            headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind.parse().unwrap())));
            is_form(&headers, body.as_bytes())
        };
        assert!(
            !of(Some("application/json; charset=utf-8"), "a=1")
                && of(Some("application/x-www-form-urlencoded"), "{}")
        );
        assert!(!of(None, " {}") && of(None, "a=1"));
    }
}
