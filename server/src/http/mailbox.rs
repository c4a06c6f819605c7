//! `GET` and `DELETE /api/<ns>/users/<user>/mailbox`: what is in a mailbox, and acknowledging it, for publishers and for the
//! user. `protocol/README.md` section 3 defines it.

use super::endpoint::{Endpoint, ResponseFuture};
use super::notify::mailboxes_of;
use super::user_path::UserPath;
use super::{Http, PeerAddr, query, reply};
use crate::capability::Unavailable;
use crate::client::Client;
use crate::mailbox::{Acknowledgement, MAX_IDS, MessageId, PageRequest};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// Messages of a page, unless `limit` says less.
const MAX_PAGE_COUNT: usize = 200;
/// The most that a page has, unless it is one message. Bytes.
const PAGE_BYTES: usize = 512 * 1024;

/// The requests for mailboxes.
#[derive(Debug)]
pub(super) struct MailboxEndpoint;

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
    http.settings.addresses.room_request(client).map_err(|limit| http.refuse_address(client, limit))?;
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
    let body = if method == Method::GET {
        let page = page_of(parameters).map_err(|(error, hint)| bad_request(error, hint))?;
        // Like a history, it counts as a connection until the client has read it, and is limited in what it holds.
        let permit = http.admit_connection(client)?;
        let read = mailboxes.read(user, page).await.map_err(unavailable)?;
        let last = read.messages.last().filter(|_| read.has_more).map(|message| format!("\"{}\"", message.id));
        let messages: Vec<&str> = read.messages.iter().map(|message| &*message.text).collect();
        let (messages, unread, next) = (messages.join(","), read.unread, last.as_deref().unwrap_or("null"));
        let text = format!("{{\"messages\":[{messages}],\"unread\":{unread},\"next\":{next}}}");
        let Some((body, length)) = http.history_responses.text(Client::of(client), text, permit) else {
            http.metrics.overloaded_requests.fetch_add(1, Relaxed);
            return Err(Box::new(reply::busy()));
        };
        let mut response = reply::with_type(StatusCode::OK, "application/json", body);
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        return Ok(response);
    } else {
        let which = acknowledgement_of(parameters).map_err(|(error, hint)| bad_request(error, hint))?;
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
