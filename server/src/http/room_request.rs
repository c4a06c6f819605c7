//! Requests for one room under `/api/<ns>/rooms/<room>/`: which room, and whether the client may read it.

use super::publish::is_application;
use super::query::percent_decode;
use super::{Http, PeerAddr, query, reply, request_token};
use crate::authorize::{JoinRequest, of_token_error};
use crate::clock::now_ms;
use crate::identity::Identity;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::protocol::JoinError;
use crate::token::TokenError;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use nodevent_protocol::room;
use serde_json::Value;
use std::sync::Arc;

/// The path of a request for a room.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomPath {
    /// The namespace's name, with the leading slash.
    pub namespace: String,
    /// The room's name.
    pub room: String,
    /// The requested resource: `history`, `events`.
    pub resource: String,
}

/// The user who sends a request.
#[derive(Debug)]
pub struct User {
    identity: Arc<Identity>,
    /// The token that says it. `None`: the application has said it with the connection.
    pub token: Option<Box<str>>,
}

// === impl RoomPath ===

impl RoomPath {
    /// Parses `/api/<ns>/rooms/<room>/<resource>`. `<ns>` may contain slashes, encoded or not, and `<room>` encoded ones.
    pub fn parse(path: &str) -> Option<Self> {
        let (namespace, rest) = path.strip_prefix("/api")?.rsplit_once("/rooms/")?;
        let (room, resource) = rest.split_once('/')?;
        let (namespace, room) = (percent_decode(namespace).into_owned(), percent_decode(room).into_owned());
        Some(Self { namespace, room, resource: resource.to_owned() })
    }

    /// Finds the namespace, and checks the rate of the client's address, the room's name and the request's key:
    /// `?key=…` or `Authorization: Bearer …`. Counts and logs a rejection.
    ///
    /// # Errors
    /// The response that rejects the request.
    pub fn authorize<'a>(&self, http: &'a Http, request: &Parts) -> Result<&'a Namespace, Box<Response>> {
        let client = PeerAddr::of(&request.extensions);
        let Some(namespace) = http.namespaces.find(&self.namespace) else {
            return Err(Box::new(reply::not_found(&self.namespace)));
        };
        let read = self.check_key(http, namespace, request);
        // Where a room has keys, the application signs one. Some have none, like the streams of Action Cable.
        let read = match read {
            Err(JoinError::Unauthorized(_) | JoinError::WrongKey(_))
                if is_application(namespace, &request.headers) =>
            {
                Ok(())
            }
            read => read,
        };
        read.map_err(|error| {
            http.reject_join(namespace, client, error).err().unwrap_or_else(|| {
                let hint = match namespace.is_open_to_users() {
                    true => "send the token of a user, as `?key=…` or `Authorization: Bearer …`",
                    false => "send a key for this room, as `?key=…` or `Authorization: Bearer …`",
                };
                Box::new(reply::error(StatusCode::FORBIDDEN, error.as_str(), hint))
            })
        })?;
        // After the key, so that requests without one use up nothing of those with one.
        http.settings().addresses.room_request(client).map_err(|limit| http.refuse_address(client, limit))?;
        Ok(namespace)
    }

    /// The key of a request.
    pub fn key(request: &Parts) -> Option<Value> {
        let bearer = query::bearer(&request.headers).map(|key| String::from_utf8_lossy(key).into_owned());
        bearer.or_else(|| query::decoded(request.uri.query(), "key")).map(Value::from)
    }

    /// The user who sends a request for an open room that only users may read. `Ok(None)`: the room is not one, or the request
    /// has a key for it, about which the authorizers decide.
    ///
    /// # Errors
    /// The request names no user.
    pub fn user(http: &Http, namespace: &Namespace, request: &Parts) -> Result<Option<User>, JoinError> {
        let Some(tokens) = namespace.tokens.as_ref().filter(|_| namespace.is_open_to_users()) else {
            return Ok(None);
        };
        let stated = http.identities(request).and_then(|all| all.iter().find(|(of, _)| *of == namespace.id));
        if let Some((_, identity)) = stated.filter(|(_, identity)| identity.expires_ms > now_ms()) {
            return Ok(Some(User { identity: Arc::clone(identity), token: None }));
        }
        let key = Self::key(request).and_then(|key| key.as_str().map(Into::into));
        let listed = request_token::find(&tokens.settings().sources, request).map(|one| one.text);
        let mut rejected = None;
        for token in [key, listed].into_iter().flatten() {
            match tokens.identity(&token, now_ms()) {
                Ok(identity) => return Ok(Some(User { identity: Arc::new(identity), token: Some(token) })),
                Err(TokenError::RoomKey) => return Ok(None),
                // A wrong one counts.
                Err(error) if error == TokenError::BadSignature || rejected.is_none() => rejected = Some(error),
                Err(_) => {}
            }
        }
        Err(of_token_error(rejected.unwrap_or(TokenError::Missing)))
    }

    fn check_key(&self, http: &Http, namespace: &Namespace, request: &Parts) -> Result<(), JoinError> {
        room::check(&self.room, namespace.limits.max_name_bytes).map_err(|_| JoinError::BadRoom)?;
        let (key, user) = (Self::key(request), Self::user(http, namespace, request)?);
        let join = JoinRequest {
            room: &self.room,
            credential: key.as_ref(),
            identity: user.as_ref().map(|user| &*user.identity),
            client: None,
            reply_to: None,
        };
        match namespace.authorizers.authorize(&join) {
            Outcome::Ready(result) => result.map(|_| ()),
            Outcome::Pending | Outcome::Overloaded => {
                Err(JoinError::Unauthorized("This namespace needs a connection"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_may_contain_encoded_slashes_and_a_namespace_plain_ones() {
        let path = RoomPath::parse("/api/a/b/rooms/Room%2F1/history").unwrap();
        assert_eq!((&*path.namespace, &*path.room, &*path.resource), ("/a/b", "Room/1", "history"));
        assert_eq!(RoomPath::parse("/api/a/rooms/r"), None);
        assert_eq!(RoomPath::parse("/apia/rooms/r/history").map(|path| path.namespace), Some("a".to_owned()));
    }
}
