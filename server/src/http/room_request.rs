//! Requests for one room under `/api/<ns>/rooms/<room>/`: which room, and whether the client may read it.

use super::publish::is_application;
use super::query::percent_decode;
use super::{Http, PeerAddr, query, reply};
use crate::authorize::JoinRequest;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::protocol::JoinError;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use nodevent_protocol::room;
use serde_json::Value;

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

// === impl RoomPath ===

impl RoomPath {
    /// Parses `/api/<ns>/rooms/<room>/<resource>`. `<ns>` may contain slashes, encoded or not, and `<room>` encoded ones.
    pub fn parse(path: &str) -> Option<Self> {
        let (namespace, rest) = path.strip_prefix("/api")?.rsplit_once("/rooms/")?;
        let (room, resource) = rest.split_once('/')?;
        let (namespace, room) = (percent_decode(namespace), percent_decode(room));
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
        let read = self.check_key(namespace, request);
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
                let hint = "send a key for this room, as `?key=…` or `Authorization: Bearer …`";
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

    fn check_key(&self, namespace: &Namespace, request: &Parts) -> Result<(), JoinError> {
        room::check(&self.room, namespace.limits.max_name_bytes).map_err(|_| JoinError::BadRoom)?;
        let key = Self::key(request);
        let join = JoinRequest {
            room: &self.room,
            credential: key.as_ref(),
            identity: None,
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
