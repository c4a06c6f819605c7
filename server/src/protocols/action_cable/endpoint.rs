//! The WebSocket at `/cable`, or another path of the configuration.

use super::{ActionCable, Client, Site, Unit, event_source, sessions};
use crate::http::websocket::{self, Handshake};
use crate::http::{Endpoint, Http, PeerAddr, ResponseFuture, is_application_handshake, query, reply};
use crate::protocol::{Millis, Protocol};
use crate::token::MAX_TOKEN_BYTES;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use nodevent_protocol::action_cable::{EXTENDED_SUBPROTOCOL, SUBPROTOCOL, UNSUPPORTED_SUBPROTOCOL};
use std::sync::Arc;

/// What a subprotocol begins with that is the token of a client of AnyCable.
const TOKEN: &str = "anycable-token.";
/// The header with the id of a session, for clients that are no browsers.
const RESTORED_SESSION: &str = "x-anycable-restore-sid";
/// The longest query that the application receives. Bytes.
const MAX_QUERY: usize = 4096;
/// The longest interval of pings that a client may ask for. Seconds.
const MAX_PING_INTERVAL: u64 = 300;

/// The endpoint of all namespaces with this protocol.
pub(super) struct CableEndpoint {
    /// The namespaces, with their paths.
    sites: Vec<(String, Arc<Site>)>,
}

// === impl CableEndpoint ===

impl CableEndpoint {
    pub(super) fn new(sites: Vec<(String, Arc<Site>)>) -> Self {
        Self { sites }
    }

    async fn respond(&self, http: &Http, request: &Parts) -> Response {
        let site = self.sites.iter().find(|(path, _)| path == request.uri.path());
        let wants_events = request.method == Method::GET && event_source::is_wanted(&request.headers);
        let is_upgrade = websocket::is_upgrade(request);
        let Some((_, site)) = site.filter(|_| is_upgrade || wants_events) else {
            return page_not_found("connect with a client of Action Cable");
        };
        let permit = match http.admit_connection(PeerAddr::of(&request.extensions)) {
            Ok(permit) => permit,
            Err(refusal) => return *refusal,
        };
        if !is_upgrade {
            return event_source::respond(http, site, request, http.connect_info(request, permit)).await;
        }
        match Handshake::check(http, &request.headers, &[SUBPROTOCOL, EXTENDED_SUBPROTOCOL]) {
            Ok(handshake) => {
                let mut client = Client::of(request, handshake.subprotocol(), site.settings.ping_interval);
                client.is_application = match is_application_handshake(http, site.namespaces.get(site.id), request)
                {
                    Ok(is_application) => is_application,
                    Err(refusal) => return *refusal,
                };
                let (site, token) = (Arc::clone(site), token_in_subprotocol(request));
                let query = query_of_channels(&site, request);
                let restores = client.is_extended.then(|| session_to_restore(request)).flatten();
                let protocol =
                    move || Box::new(ActionCable::new(site, client, token, query, restores)) as Box<dyn Protocol>;
                handshake.open(Box::new(protocol), http.connect_info(request, permit))
            }
            Err(rejection) => *rejection,
        }
    }
}

/// The subprotocols that a client offers.
fn offered(request: &Parts) -> impl Iterator<Item = &str> {
    let values = request.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// The token that a client offers as a subprotocol, because browsers let pages choose no other header.
fn token_in_subprotocol(request: &Parts) -> Option<Box<str>> {
    let token = offered(request).find_map(|one| one.strip_prefix(TOKEN))?;
    (token.len() <= MAX_TOKEN_BYTES).then(|| token.into())
}

/// The id of the session with which a client of the extended protocol continues.
fn session_to_restore(request: &Parts) -> Option<Box<str>> {
    let header = || request.headers.get(RESTORED_SESSION)?.to_str().ok();
    let id = query::raw(request.uri.query(), "sid").or_else(header)?;
    sessions::is_id(id).then(|| id.into())
}

/// The query of a request, for the application that has channels.
fn query_of_channels(site: &Site, request: &Parts) -> Option<Box<str>> {
    let query = request.uri.query().filter(|query| query.len() <= MAX_QUERY)?;
    site.has_channels.then(|| query.into())
}

/// What Rails responds to a page of another origin, and to a request that is not a WebSocket.
fn page_not_found(hint: &str) -> Response {
    reply::error(StatusCode::NOT_FOUND, "Page not found", hint)
}

impl Endpoint for CableEndpoint {
    fn matches(&self, path: &str) -> bool {
        self.sites.iter().any(|(one, _)| one == path)
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        let (request, _body) = request.into_parts();
        Box::pin(async move { self.respond(http, &request).await })
    }

    fn reject_origin(&self) -> Response {
        page_not_found("list the page's origin under `origins`")
    }
}

// === impl Client ===

impl Client {
    /// A client, by its handshake.
    fn of(request: &Parts, subprotocol: Option<&str>, ping_interval: Millis) -> Self {
        let parameter = |name| query::raw(request.uri.query(), name);
        let seconds = parameter("pi").and_then(|text| text.parse().ok());
        Self {
            repeats: offered(request).any(|one| one == UNSUPPORTED_SUBPROTOCOL),
            is_extended: subprotocol == Some(EXTENDED_SUBPROTOCOL),
            is_application: false,
            ping_interval: seconds
                .filter(|seconds| (1..=MAX_PING_INTERVAL).contains(seconds))
                .map_or(ping_interval, |seconds| seconds * 1000),
            ping_unit: match parameter("ptp") {
                Some("ms") => Unit::Milliseconds,
                Some("ns") => Unit::Nanoseconds,
                _ => Unit::Seconds,
            },
        }
    }
}
