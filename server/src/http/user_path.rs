//! Requests about one user under `/api/<ns>/users/<user>/`: which user, and whether the client may ask.

use super::query::percent_decode;
use super::{Http, PeerAddr, publish, query, reply, request_token};
use crate::clock::now_ms;
use crate::namespace::Namespace;
use crate::token::{MAX_USER_BYTES, TokenError};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use nodevent_protocol::topic::{self, Topic};
use std::sync::atomic::Ordering::Relaxed;

/// The path of a request about a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserPath {
    /// The namespace's name, with the leading slash.
    pub(super) namespace: String,
    pub(super) user: String,
    /// The requested resource: `mailbox`, `connections`.
    pub(super) resource: String,
}

// === impl UserPath ===

impl UserPath {
    /// Parses `/api/<ns>/users/<user>/<resource>`. `<ns>` may contain slashes, encoded or not, and `<user>` encoded ones.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (namespace, rest) = path.strip_prefix("/api")?.rsplit_once("/users/")?;
        let (user, resource) = rest.split_once('/')?;
        let (namespace, user) = (percent_decode(namespace).into_owned(), percent_decode(user).into_owned());
        Some(Self { namespace, user, resource: resource.to_owned() })
    }

    /// Checks the id of the user.
    ///
    /// # Errors
    /// The response that rejects the request.
    pub(super) fn check(&self) -> Result<(), Box<Response>> {
        if topic::is_user(&self.user) {
            return Ok(());
        }
        let error = format!("the user is not 1 to {MAX_USER_BYTES} bytes without control characters");
        let hint = "write the percent-encoded id of the user into the path";
        Err(Box::new(reply::error(StatusCode::BAD_REQUEST, &error, hint)))
    }

    /// Admits publishers that may notify the user, and the user's own token.
    ///
    /// # Errors
    /// The response that rejects the request.
    pub(super) fn authorize(
        &self,
        http: &Http,
        namespace: &Namespace,
        request: Request,
    ) -> Result<Request, Box<Response>> {
        let (parts, body) = request.into_parts();
        let tokens = namespace.tokens.as_ref();
        let sent =
            tokens.and_then(|tokens| request_token::find(&tokens.settings().sources, &parts)).map(|one| one.text);
        let bearer = query::bearer(&parts.headers).and_then(|text| std::str::from_utf8(text).ok());
        let bearer = bearer.filter(|text| text.matches('.').count() == 2).map(Into::into);
        let forbidden = |error: &str| {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            let hint = "send a token of this user, or a publish key whose `users` include it, as `Authorization: Bearer …`";
            Box::new(reply::error(StatusCode::FORBIDDEN, error, hint))
        };
        if let (Some(tokens), Some(token)) = (tokens, bearer.or(sent)) {
            match tokens.identity(&token, now_ms()) {
                Ok(identity) if *identity.user == *self.user => return Ok(Request::from_parts(parts, body)),
                Ok(_) => return Err(forbidden("the token is for another user")),
                Err(error) => {
                    http.metrics.count_rejected_token(error);
                    let client = PeerAddr::of(&parts.extensions);
                    if error == TokenError::BadSignature
                        && let Err(limit) = http.settings().addresses.wrong_key(client)
                    {
                        return Err(http.refuse_address(client, limit));
                    }
                    return Err(forbidden(error.as_str()));
                }
            }
        }
        let request = Request::from_parts(parts, body);
        match publish::authorize(http, namespace, &request)?.may_publish_to(Topic::User(&self.user)) {
            true => Ok(request),
            false => Err(forbidden(&format!("this publish key may not read the {} of this user", self.resource))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_contain_encoded_slashes_and_a_namespace_plain_ones() {
        let path = UserPath::parse("/api/a/b/users/x%2Fy/mailbox").unwrap();
        assert_eq!((&*path.namespace, &*path.user, &*path.resource), ("/a/b", "x/y", "mailbox"));
        assert_eq!(UserPath::parse("/api/a/users/x"), None);
    }
}
