//! `GET` and `DELETE /api/<ns>/users/<user>/mailbox`: what is in a mailbox, and acknowledging it, for publishers and for the
//! user. `protocol/README.md` section 3 defines it.

use super::endpoint::{Endpoint, ResponseFuture};
use super::notify::mailboxes_of;
use super::user_path::UserPath;
use super::{Http, PeerAddr, query, reply};
use crate::capability::Unavailable;
use crate::client::Client;
use crate::fair_turns::{FairLanes, Turn};
use crate::mailbox::{Acknowledgement, MAX_IDS, MessageId, PageRequest};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Messages of a page, unless `limit` says less.
const MAX_PAGE_COUNT: usize = 200;
/// The most that a page has, unless it is one message. Bytes.
const PAGE_BYTES: usize = 512 * 1024;

/// Pages that are read at a time. From the engine's reply on, a page is held several times until it is a response, which
/// counts.
const MAX_READS: usize = 8;
/// How long a request waits for its turn to read, behind those that wait for the engine.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// The requests for mailboxes.
#[derive(Debug)]
pub(super) struct MailboxEndpoint;

/// The turns of the requests that read a page, or acknowledge: one at a time for each user, and clients one after another.
#[derive(Debug, Default)]
pub(super) struct MailboxReads(FairLanes<MAX_READS>);

impl MailboxReads {
    /// Waits for a turn. `None`: there was none in time.
    async fn turn(&self, user: &str, client: Client) -> Option<Turn> {
        let (_ticket, turn) = self.0.wait(user, client);
        tokio::time::timeout(TURN_TIMEOUT, turn).await.ok()?.ok()
    }
}

impl Endpoint for MailboxEndpoint {
    fn matches(&self, path: &str) -> bool {
        UserPath::parse(path).is_some_and(|path| path.resource == "mailbox")
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        Box::pin(async move {
            let mut response = serve(http, request).await.unwrap_or_else(|rejection| *rejection);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        })
    }
}

async fn serve(http: &Http, request: Request) -> Result<Response, Box<Response>> {
    let path = request.uri().path().to_owned();
    let not_found = |name: &str| Box::new(reply::not_found(name));
    let path = UserPath::parse(&path).ok_or_else(|| not_found(&path))?;
    let namespace = http.namespaces.find(&path.namespace).ok_or_else(|| not_found(&path.namespace))?;
    let (method, client) = (request.method().clone(), PeerAddr::of(request.extensions()));
    if method != Method::GET && method != Method::DELETE {
        return Err(Box::new(reply::method_not_allowed("GET, DELETE")));
    }
    let request = path.authorize(http, namespace, request)?;
    // After the key, so that requests without one use up nothing of those with one.
    http.settings().addresses.room_request(client).map_err(|limit| http.refuse_address(client, limit))?;
    let bad_request = |error: &str, hint: &str| Box::new(reply::error(StatusCode::BAD_REQUEST, error, hint));
    path.check()?;
    let user = &*path.user;
    let mailboxes = mailboxes_of(http, namespace)?;
    let parameters = request.uri().query();
    let unavailable = |error: Unavailable| {
        tracing::warn!(namespace = &*namespace.name, %error, "a mailbox was not reached");
        let what = format!("{} is unavailable", error.engine);
        Box::new(reply::error(StatusCode::SERVICE_UNAVAILABLE, &what, "retry; see /readyz"))
    };
    let busy = || {
        http.metrics.overloaded_requests.fetch_add(1, Relaxed);
        Box::new(reply::busy())
    };
    let body = if method == Method::GET {
        let page = page_of(parameters).map_err(|(error, hint)| bad_request(error, hint))?;
        // Like a history, it counts as a connection until the client has read it, and is limited in what it holds.
        let permit = http.admit_connection(client)?;
        // Until the response counts.
        let _turn = http.mailbox_reads.turn(user, Client::of(client)).await.ok_or_else(busy)?;
        let read = mailboxes.read(user, page).await.map_err(unavailable)?;
        let last = read.messages.last().filter(|_| read.has_more).map(|message| format!("\"{}\"", message.id));
        let messages: Vec<&str> = read.messages.iter().map(|message| &*message.text).collect();
        let (messages, unread, next) = (messages.join(","), read.unread, last.as_deref().unwrap_or("null"));
        let text = format!("{{\"messages\":[{messages}],\"unread\":{unread},\"next\":{next}}}");
        let sized = http.history_responses.text(Client::of(client), text, permit);
        let (body, length) = sized.ok_or_else(busy)?;
        let mut response = reply::with_type(StatusCode::OK, "application/json", body);
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        return Ok(response);
    } else {
        let which = acknowledgement_of(parameters).map_err(|(error, hint)| bad_request(error, hint))?;
        let _turn = http.mailbox_reads.turn(user, Client::of(client)).await.ok_or_else(busy)?;
        let removed = mailboxes.acknowledge(user, &which).await.map_err(unavailable)?;
        json!({"removed": removed.count, "unread": removed.unread}).to_string()
    };
    Ok(reply::with_type(StatusCode::OK, "application/json", body))
}

/// The error and the fix of a parameter.
type BadParameter = (&'static str, &'static str);

fn page_of(parameters: Option<&str>) -> Result<PageRequest, BadParameter> {
    let after = match query::decoded(parameters, "after") {
        None => MessageId::FIRST,
        Some(id) => MessageId::parse(&id).ok_or(("`after` is not an id", "send `next` of the page before"))?,
    };
    let count = match query::decoded(parameters, "limit") {
        None => MAX_PAGE_COUNT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_PAGE_COUNT).contains(limit))
            .ok_or(("`limit` is not a number from 1 to 200", "send fewer requests with larger pages, up to 200"))?,
    };
    Ok(PageRequest { after, count, bytes: PAGE_BYTES })
}

fn acknowledgement_of(parameters: Option<&str>) -> Result<Acknowledgement, BadParameter> {
    const HINT: &str = "send `ids=<id>,<id>` or `up_to=<id>` with the ids of messages";
    let parse = |id: &str| MessageId::parse(id).ok_or(("an id is not valid", HINT));
    let up_to = query::decoded(parameters, "up_to").map(|id| parse(&id)).transpose()?;
    let ids = query::decoded(parameters, "ids");
    if up_to.is_none() && ids.is_none() {
        return Err(("`ids` and `up_to` are missing", HINT));
    }
    let ids = ids.iter().flat_map(|ids| ids.split(',')).map(parse).collect::<Result<Vec<_>, _>>()?;
    if ids.len() > MAX_IDS {
        return Err(("too many ids", "send at most 1000 ids at a time"));
    }
    Ok(Acknowledgement { up_to, ids })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn pages_of_one_user_are_read_one_at_a_time_and_clients_have_their_turns() {
        let reads = MailboxReads::default();
        let client = |host: u8| Client::of([10, 0, 0, host].into());
        let mut current = reads.turn("7", client(1)).await;
        let mut flood: Vec<_> = (0..100).map(|_| Box::pin(reads.turn("7", client(1)))).collect();
        for waiting in &mut flood {
            assert!(waiting.now_or_never().is_none());
        }
        let mut other = Box::pin(reads.turn("7", client(2)));
        assert!((&mut other).now_or_never().is_none());
        for first in flood.iter_mut().take(3) {
            if other.as_mut().now_or_never().flatten().is_some() {
                return;
            }
            drop(current.take());
            current = first.now_or_never().flatten();
        }
        panic!("the other client waits for more than two reads of the first");
    }

    #[test]
    fn parameters_that_cannot_be_read_are_errors() {
        assert_eq!(page_of(Some("after=7&limit=2")).map(|page| page.count), Ok(2));
        for bad in ["after=x", "limit=0", "limit=201", "limit=x", "after="] {
            assert!(page_of(Some(bad)).is_err(), "{bad}");
        }
        let two = acknowledgement_of(Some("ids=7,9")).unwrap();
        assert_eq!((two.up_to, two.ids.len()), (None, 2));
        for bad in ["", "ids=", "ids=7,,9", "up_to=x", "ids=7;9"] {
            assert!(acknowledgement_of(Some(bad)).is_err(), "{bad}");
        }
    }
}
