//! `POST /api/<ns>/emit`: publishing over HTTP, as `protocol/README.md` section 3 defines it.

use super::audit::{Audit, Outcome};
use super::body::{self, BodyError};
use super::{Http, PeerAddr, console, query, reply};
use crate::authorize::{PublishVerdict, Publisher};
use crate::byte_budget::BudgetedBytes;
use crate::capability::{Begun, Publish, Publisher as Origin, Unavailable};
use crate::namespace::Namespace;
use crate::spans::{Span, Step};
use crate::{host, origin};
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::history::Position;
use nodevent_protocol::publication::{self, InvalidPublication};
use nodevent_protocol::targets::{self, Published};
use nodevent_protocol::topic::Topic;
use nodevent_protocol::trace::{self, TraceContext};
use serde_json::json;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// Error and hint if every publisher needs a key.
const NO_KEY: (&str, &str) = (
    "without a publish key nothing may publish here",
    "set `publish_key` in this namespace's configuration and send it as `Authorization: Bearer`; or, if no proxy forwards to \
     this port, write `publish: local` to let programs on the server's machine publish without a key",
);
/// Error and hint for a page.
const PAGE: (&str, &str) = (
    "pages of this origin may not publish",
    "publish from a program; if pages should publish, list their origin under `publish_origins`, and give them a publish key \
     that is limited to rooms",
);
/// Error and hint if programs on this machine need no key.
const NOT_LOCAL: (&str, &str) = (
    "without a publish key only programs on this machine may publish, not through a proxy and not from a page",
    "set `publish_key` in this namespace's configuration and send it as `Authorization: Bearer`",
);
/// Error and hint for a publisher without the right key.
const WRONG_KEY: (&str, &str) = (
    "the publish key is missing or wrong",
    "send `Authorization: Bearer <publish_key>` with a key of this namespace's configuration",
);
/// The longest idempotency key. Bytes.
const MAX_IDEMPOTENCY_KEY: usize = 255;
/// Bytes of publications that are parsed before other requests have their turn.
const BYTES_AT_A_TIME: usize = 16 * 1024;

/// Publishes the body to a namespace.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: Request) -> Response {
    match publish(http, namespace, request).await {
        Ok(response) => response,
        Err(response) => {
            match response.status() {
                // `body` has counted them.
                StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {}
                StatusCode::SERVICE_UNAVAILABLE => drop(http.metrics.failed_publishes.fetch_add(1, Relaxed)),
                _ => drop(http.metrics.rejected_requests.fetch_add(1, Relaxed)),
            }
            *response
        }
    }
}

async fn publish(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Box<Response>> {
    let began = Instant::now();
    let publisher = authorize(http, namespace, &request)?;
    let audit = Audit::new(http, namespace, &publisher, &request);
    let idempotency_key = idempotency_key(request.headers()).map_err(|()| {
        reply::error(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key is empty, too long, or not plain ASCII",
            "send at most 255 characters that are new for each request, such as a UUID",
        )
    })?;
    let client = PeerAddr::of(request.extensions());
    let of_request = trace_of(request.headers()).filter(|_| http.metrics.spans.are_on());
    let max_bytes = http.settings().max_publish_size;
    let body = read_body(http, request, max_bytes).await?;
    let (texts, is_array) =
        targets::texts(&body).map_err(|invalid| invalid_publication(http, namespace, None, &invalid, client))?;
    let own = with_own_ids(&publisher, texts).await;
    if own.iter().any(|text| text.len() > max_bytes) {
        return Err(too_large(http, max_bytes));
    }
    let parsed = parse(&own).await.map_err(|(index, invalid)| {
        invalid_publication(http, namespace, index.filter(|_| is_array), &invalid, client)
    })?;
    let texts = of_request.map(|trace| with_trace(&parsed, trace, max_bytes)).unwrap_or_default();
    let traced: SmallVec<[Published<'_>; 1]> =
        texts.iter().filter_map(|text| targets::parse(text.as_bytes()).ok()).collect();
    // A text with a trace is a publication as it was without.
    let publications: &[Published<'_>] = if traced.len() == parsed.len() { &traced } else { &parsed };
    check_targets(&publisher, publications).inspect_err(|_| audit.log(publications, Outcome::Rejected))?;
    let published =
        publish_all(http, namespace, publications, idempotency_key.as_deref(), &publisher, client).await;
    audit.log(publications, if published.is_ok() { Outcome::Published } else { Outcome::Failed });
    record_spans(http, namespace, publications, began);
    published
}

/// The texts of publications. The ids of copies belong to a publisher that is limited: events of others, also in rooms to which it
/// may not publish, have no such id.
async fn with_own_ids<'a>(publisher: &Publisher, texts: SmallVec<[&'a str; 1]>) -> SmallVec<[Cow<'a, str>; 1]> {
    let limited = match publisher {
        Publisher::Key(key) => key.limit.is_some().then_some(&*key.id),
        Publisher::Keyless => None,
    };
    let (mut own, mut read) = (SmallVec::with_capacity(texts.len()), 0);
    for text in texts {
        let changed = limited.and_then(|id| publication::with_own_id(text, id));
        own.push(changed.map_or(Cow::Borrowed(text), Cow::Owned));
        if limited.is_some() {
            give_way(&mut read, text).await;
        }
    }
    own
}

/// Lets other requests have their turn after each [`BYTES_AT_A_TIME`] that were read of one.
async fn give_way(read: &mut usize, text: &str) {
    *read += text.len();
    if *read >= BYTES_AT_A_TIME {
        *read = 0;
        tokio::task::yield_now().await;
    }
}

/// The trace of a request, if it is sampled: the header `traceparent`, which HTTP clients send that are instrumented.
fn trace_of(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

/// The texts of publications with the trace of their request. One that has a trace of its own keeps it, and one that would be
/// larger than `max_bytes` has none.
fn with_trace(publications: &[Published<'_>], trace: TraceContext, max_bytes: usize) -> Vec<String> {
    let texts = publications.iter().map(Published::text);
    let traced = |text: &str| trace::add(text, trace).filter(|traced| traced.len() <= max_bytes);
    texts.map(|text| traced(text).unwrap_or_else(|| text.to_owned())).collect()
}

/// Records that publications were accepted.
fn record_spans(http: &Http, namespace: &Namespace, publications: &[Published<'_>], began: Instant) {
    if !http.metrics.spans.are_on() {
        return;
    }
    for publication in publications {
        if let Some((Some(context), _)) = trace::separate(publication.text()) {
            let (step, ended) = (Step::Publish, Instant::now());
            http.metrics.spans.add(Span { context, step, namespace: namespace.id, shard: None, began, ended });
        }
    }
}

/// Decides about a publisher. Counts, logs and audits a rejection.
///
/// # Errors
/// The response that rejects it.
pub(super) fn authorize(http: &Http, namespace: &Namespace, request: &Request) -> Result<Publisher, Box<Response>> {
    let refuse = |status: StatusCode, (error, hint): (&str, &str)| {
        let (namespace, client) = (&*namespace.name, PeerAddr::of(request.extensions()));
        tracing::warn!(namespace, %client, reason = error, "publish rejected; {hint}");
        Audit::log_rejected_key(http, namespace, client, error);
        let mut response = reply::error(status, error, hint);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Box::new(response)
    };
    let is_page = origin::is_from_page(request.headers());
    if is_page && page_that_may_publish(http, request).is_none() && !is_console(http, request) {
        return Err(refuse(StatusCode::FORBIDDEN, PAGE));
    }
    let may_be_keyless = !is_page && may_publish_without_key(request);
    let is_trusted = may_be_keyless && PeerAddr::publish_socket(request.extensions()).is_some();
    match namespace.publish.authorize(query::bearer(request.headers()), may_be_keyless, is_trusted) {
        PublishVerdict::Admit(publisher) => Ok(publisher),
        PublishVerdict::WrongKey => {
            let response = refuse(StatusCode::UNAUTHORIZED, WRONG_KEY);
            let client = PeerAddr::of(request.extensions());
            match query::bearer(request.headers()).map(|_| http.settings().addresses.wrong_key(client)) {
                Some(Err(limit)) => Err(http.refuse_address(client, limit)),
                _ => Err(response),
            }
        }
        PublishVerdict::NotLocal if PeerAddr::publishes_locally(request.extensions()) => {
            Err(refuse(StatusCode::FORBIDDEN, NOT_LOCAL))
        }
        PublishVerdict::NotLocal => Err(refuse(StatusCode::FORBIDDEN, NO_KEY)),
    }
}

/// Whether a program made the request whose key may publish to all rooms and users: the application itself, which may read
/// them too. A page never is one.
pub(super) fn is_application(namespace: &Namespace, headers: &HeaderMap) -> bool {
    let Some(key) = query::bearer(headers).filter(|_| !origin::is_from_page(headers)) else { return false };
    match namespace.publish.authorize(Some(key), false, false) {
        PublishVerdict::Admit(Publisher::Key(key)) => key.limit.is_none(),
        _ => false,
    }
}

/// [`is_application`] for the handshake of a connection, which may have another key for another purpose. A key that is none
/// of the namespace's counts as a wrong one.
///
/// # Errors
/// The response to an address that has sent too many wrong keys.
pub fn is_application_handshake(
    http: &Http,
    namespace: &Namespace,
    request: &Parts,
) -> Result<bool, Box<Response>> {
    let Some(key) = query::bearer(&request.headers).filter(|_| !origin::is_from_page(&request.headers)) else {
        return Ok(false);
    };
    let is_token = || {
        let tokens = namespace.tokens.as_ref();
        tokens.zip(std::str::from_utf8(key).ok()).is_some_and(|(tokens, text)| tokens.recognises(text))
    };
    let is_for_provider = || {
        let provider = namespace.provider.get();
        provider.is_some_and(|one| one.listed().headers.iter().any(|name| **name == *"authorization"))
    };
    let verdict = namespace.publish.authorize(Some(key), false, false);
    if matches!(verdict, PublishVerdict::WrongKey) && !is_token() && !is_for_provider() {
        let client = PeerAddr::of(&request.extensions);
        let (name, error) = (&*namespace.name, WRONG_KEY.0);
        tracing::warn!(namespace = name, %client, reason = error, "the connection is not that of the application");
        Audit::log_rejected_key(http, name, client, error);
        http.settings().addresses.wrong_key(client).map_err(|limit| http.refuse_address(client, limit))?;
    }
    Ok(is_application(namespace, &request.headers))
}

/// The origin of the page that made the request, if pages of it may publish. `origins` lets pages read, never publish.
pub(super) fn page_that_may_publish(http: &Http, request: &Request) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    http.settings().publish_origins.lists(origin).then(|| origin.clone())
}

/// Whether the console page of this server made the request. Like every page it needs a key.
fn is_console(http: &Http, request: &Request) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let own = text(header::HOST);
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    console::is_served_to(http, request) && own.is_some() && own == origin
}

/// Checks that a publisher may publish to each target. Nothing is published if it may not publish to one of them.
pub(super) fn check_targets(publisher: &Publisher, publications: &[Published<'_>]) -> Result<(), Box<Response>> {
    for (index, publication) in publications.iter().enumerate() {
        let foreign = publication.topics().iter().map(|topic| Topic::parse(topic));
        let foreign = foreign.into_iter().find(|topic| !publisher.may_publish_to(*topic));
        let (target, hint) = match foreign {
            None => continue,
            Some(Topic::Room(_)) => ("its room", "add the room to `rooms` of the key in `publish_keys`"),
            Some(Topic::User(_)) => {
                ("its user", "add the user, or `\"*\"`, to `users` of the key in `publish_keys`")
            }
            Some(Topic::All) => ("all connections", "write `broadcast: true` for the key in `publish_keys`"),
        };
        return Err(Box::new(reply::error(
            StatusCode::FORBIDDEN,
            &format!("publication {index}: this publish key may not publish to {target}"),
            &format!("{hint}, or send another key"),
        )));
    }
    Ok(())
}

/// Reads a body of at most `max_bytes`.
///
/// # Errors
/// The response that rejects it.
pub(super) async fn read_body(
    http: &Http,
    request: Request,
    max_bytes: usize,
) -> Result<BudgetedBytes, Box<Response>> {
    let client = PeerAddr::of(request.extensions());
    body::read(http, request.into_body(), max_bytes, client).await.map_err(|error| {
        Box::new(match error {
            BodyError::TooLarge => return too_large(http, max_bytes),
            BodyError::Timeout => reply::body_timeout(),
            BodyError::Overloaded => reply::busy(),
            BodyError::Incomplete => {
                reply::error(StatusCode::BAD_REQUEST, "request body ended early", "retry the request")
            }
        })
    })
}

/// Counts a publication that is too large. Returns the response that rejects it.
fn too_large(http: &Http, max_bytes: usize) -> Box<Response> {
    http.metrics.count_oversized_publish();
    Box::new(reply::error(
        StatusCode::PAYLOAD_TOO_LARGE,
        &format!("the body is larger than {max_bytes} bytes"),
        "send less at a time, or raise `limits: max_publish_size`",
    ))
}

/// Parses publications. All of them are checked before the first copy is published.
async fn parse<'a>(
    texts: &'a [Cow<'_, str>],
) -> Result<SmallVec<[Published<'a>; 1]>, (Option<usize>, InvalidPublication)> {
    let (mut parsed, mut read) = (SmallVec::with_capacity(texts.len()), 0);
    for (index, text) in texts.iter().enumerate() {
        parsed.push(targets::parse(text.as_bytes()).map_err(|invalid| (Some(index), invalid))?);
        give_way(&mut read, text).await;
    }
    Ok(parsed)
}

/// Counts and logs an invalid publication. Returns the response that rejects it.
fn invalid_publication(
    http: &Http,
    namespace: &Namespace,
    index: Option<usize>,
    invalid: &InvalidPublication,
    client: IpAddr,
) -> Box<Response> {
    http.metrics.count_invalid_publish(invalid);
    tracing::warn!(namespace = &*namespace.name, %client, reason = %invalid, "publish rejected: invalid publication");
    let place = index.map_or(String::new(), |index| format!("publication {index}: "));
    Box::new(reply::error(
        StatusCode::BAD_REQUEST,
        &format!("{place}{invalid}"),
        r#"send {"room": "…", "event": "…", "message": …}, also with `rooms`, `users` or `broadcast`, or an array of such objects"#,
    ))
}

/// Publishes in order, and stops at the first failure.
pub(super) async fn publish_all(
    http: &Http,
    namespace: &Namespace,
    publications: &[Published<'_>],
    idempotency_key: Option<&str>,
    publisher: &Publisher,
    client: IpAddr,
) -> Result<Response, Box<Response>> {
    let Some(engine) = http.engines.get(namespace.id) else { return Err(Box::new(reply::busy())) };
    let mut begun: SmallVec<[Begun; 1]> = SmallVec::with_capacity(publications.len());
    let mut failed = None;
    for (index, publication) in publications.iter().enumerate() {
        let key = idempotency_key.map(|key| publisher.idempotency_key(&format!("{key}:{index}")));
        match begin_copies(&*engine.publish, publication, key.as_deref(), publisher.of_engine()).await {
            Ok(one) => begun.push(one),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let mut positions: SmallVec<[Option<Position>; 1]> = SmallVec::with_capacity(begun.len());
    for Begun { position, confirmation } in begun {
        if let Some(confirmation) = confirmation
            && let Err(error) = confirmation.await
        {
            failed = Some(error);
            break;
        }
        positions.push(position);
    }
    if let Some(error) = failed {
        tracing::warn!(namespace = &*namespace.name, %client, %error, "publish failed");
        let body = json!({
            "error": error.to_string(),
            "hint": "send what was not accepted again when the engine is available; see /readyz",
            "accepted": positions.len(),
        });
        let (status, body) = (StatusCode::SERVICE_UNAVAILABLE, body.to_string());
        return Err(Box::new(reply::with_type(status, "application/json", body)));
    }
    Ok(reply::with_type(StatusCode::OK, "application/json", accepted(&positions)))
}

/// The body of the response to publications that were accepted at these positions.
fn accepted(positions: &[Option<Position>]) -> Bytes {
    const MAX_POSITION: usize = 40;
    // That of one position is on the stack.
    let mut body: SmallVec<[u8; 2 * MAX_POSITION]> = SmallVec::with_capacity(MAX_POSITION * (positions.len() + 1));
    // To write to memory cannot fail.
    let _ = write!(body, "{{\"accepted\":{},\"positions\":[", positions.len());
    for (index, position) in positions.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let _ = match position {
            Some(position) => write!(body, "{separator}\"{position}\""),
            None => write!(body, "{separator}null"),
        };
    }
    body.extend_from_slice(b"]}");
    Bytes::copy_from_slice(&body)
}

/// Publishes a publication, or its copies in their order. Its position is that of one with a history.
async fn begin_copies(
    engine: &dyn Publish,
    publication: &Published<'_>,
    idempotency_key: Option<&str>,
    publisher: Origin<'_>,
) -> Result<Begun, Unavailable> {
    let several = match publication {
        Published::One(publication) => return engine.begin(publication, idempotency_key, publisher).await,
        Published::Several(several) => several,
    };
    // A repeated request gives all copies the id of the first.
    let id = idempotency_key.map_or_else(rand::random, targets::id_of);
    let mut confirmation = None;
    for copy in 0..several.count() {
        let text = several.text(copy, id);
        if let Ok(publication) = several.copy(copy, &text) {
            // The last one confirms all.
            confirmation = engine.begin(&publication, idempotency_key, publisher).await?.confirmation;
        }
    }
    Ok(Begun { position: None, confirmation })
}

/// The value of `Idempotency-Key`. `Err`: it cannot be used.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= MAX_IDEMPOTENCY_KEY);
    text.map(|text| Some(text.to_owned())).ok_or(())
}

/// Whether a program on this machine sent the request, through the publish socket or to a listener that accepts it
/// without a key: not a proxy on this machine for a client elsewhere. Pages are excluded before.
///
/// A proxy that adds no header and passes a local `Host` on looks like a program on this machine. So publishing without
/// a key has to be declared: see `publish` in the configuration.
fn may_publish_without_key(request: &Request) -> bool {
    let host = host::requested_host(request.uri(), request.version(), request.headers()).unwrap_or_default();
    let is_socket = PeerAddr::publish_socket(request.extensions()).is_some();
    PeerAddr::publishes_locally(request.extensions())
        && PeerAddr::is_local(request.extensions())
        && (is_socket || host::is_loopback(host))
}
