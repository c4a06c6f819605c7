//! What a client sends to enter a namespace: the auth payload and the query of its connect packet, and the query of the
//! request that opened the connection.

use crate::http::query;
use crate::protocols::socket_io::arguments::Argument;
use std::borrow::Cow;

/// A request to enter a namespace.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The auth payload: the text of a JSON object. Clients of protocol 4 have none.
    pub auth: Option<String>,
    /// The query of the connect packet, which clients of protocol 4 send for each namespace.
    pub query: Option<String>,
    /// The listed parameters of the request that opened the connection. Only the first namespace of the connection that
    /// lists some receives them: a client of protocol 5 that shares a connection among namespaces sends those of the
    /// first one, and they are not meant for others.
    pub handshake: Option<Box<str>>,
}

// === impl ConnectRequest ===

impl ConnectRequest {
    /// Its size. Bytes.
    pub fn size(&self) -> usize {
        [self.auth.as_deref(), self.query.as_deref(), self.handshake.as_deref()]
            .into_iter()
            .flatten()
            .map(str::len)
            .sum()
    }

    /// The text of the auth payload.
    pub fn auth(&self) -> Option<&str> {
        self.auth.as_deref()
    }

    /// A text that the client names so, if it is not empty: in the auth payload, in the query of the connect packet, or in
    /// that of the connection. The first of these counts.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let in_auth = self.auth.as_deref().map_or(Argument::MISSING, Argument::of_value).field(name);
        let of_auth = in_auth.text().map(Cow::into_owned).filter(|text| !text.is_empty());
        let of_query = |text: &Option<&str>| query::decoded(*text, name).filter(|text| !text.is_empty());
        of_auth.or_else(|| of_query(&self.query.as_deref())).or_else(|| of_query(&self.handshake.as_deref()))
    }
}

impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // All of it may contain a token.
        f.debug_struct("ConnectRequest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(auth: &str, query: &str, handshake: &str) -> ConnectRequest {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ConnectRequest { auth: text(auth), query: text(query), handshake: text(handshake).map(Into::into) }
    }

    #[test]
    fn auth_payload_precedes_the_query_of_the_namespace_and_that_of_the_connection() {
        // W-09
        let token = |request: &ConnectRequest| request.parameter("token");
        assert_eq!(token(&request(r#"{"token":"a"}"#, "token=b", "token=c")), Some("a".to_owned()));
        assert_eq!(token(&request(r#"{"token":""}"#, "token=b%20b", "token=c")), Some("b b".to_owned()));
        assert_eq!(token(&request(r#"{"token":7}"#, "token=", "x=1&token=c")), Some("c".to_owned()));
        assert_eq!(token(&request("{}", "", "")), None);
        assert_eq!(token(&ConnectRequest::default()), None);
    }

    #[test]
    fn what_a_client_sends_is_not_printed() {
        // X-07
        let text = format!("{:?}", request(r#"{"token":"hidden"}"#, "token=hidden", "token=hidden"));
        assert!(!text.contains("hidden"), "{text}");
    }
}
