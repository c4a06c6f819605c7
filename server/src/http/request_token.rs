//! A token in the request for a connection: in a header, a cookie or the query, as the namespaces list them.
//!
//! The token is not verified here: only the connection's protocol knows the namespace.

use super::query;
use crate::token::{MAX_TOKEN_BYTES, RequestToken, TokenSource};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// Finds the first token of a request, in the order of `sources`. One that is too long is cut, and so is rejected as too
/// long later, without being kept.
pub(super) fn find(sources: &[TokenSource], request: &Parts) -> Option<RequestToken> {
    sources.iter().find_map(|source| {
        let mut text = read(source, request)?;
        if text.len() > MAX_TOKEN_BYTES {
            text = "x".repeat(MAX_TOKEN_BYTES + 1);
        }
        Some(RequestToken { source: source.clone(), text: text.into() })
    })
}

fn read(source: &TokenSource, request: &Parts) -> Option<String> {
    let text = match source {
        TokenSource::Header(name) if **name == *"authorization" => {
            String::from_utf8(query::bearer(&request.headers)?.to_vec()).ok()
        }
        TokenSource::Header(name) => request.headers.get(&**name)?.to_str().ok().map(|text| text.trim().to_owned()),
        TokenSource::Cookie(name) => cookie(&request.headers, name).map(str::to_owned),
        TokenSource::Query(name) => query::decoded(request.uri.query(), name),
    };
    text.filter(|text| !text.is_empty())
}

/// The value of a cookie. The first one counts, as browsers send the most specific one first.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(one, _)| *one == name).map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn sources() -> Vec<TokenSource> {
        vec![
            TokenSource::Header("authorization".into()),
            TokenSource::Header("x-token".into()),
            TokenSource::Cookie("nodevent_token".into()),
            TokenSource::Query("token".into()),
        ]
    }

    fn source_and_text(uri: &str, headers: &[(&str, &str)]) -> Option<(TokenSource, String)> {
        let request =
            headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        find(&sources(), &parts).map(|token| (token.source, token.text.into()))
    }

    #[test]
    fn a_token_is_found_in_its_sources_in_their_order() {
        let all: &[(&str, &str)] = &[
            ("authorization", "Bearer a"),
            ("x-token", " b "),
            ("cookie", "session=s; nodevent_token=c; nodevent_token=d"),
        ];
        for (skipped, expected) in [(0, "a"), (1, "b"), (2, "c"), (3, "e%")] {
            let found = source_and_text("/?x=1&token=e%25", &all[skipped..]);
            assert_eq!(found, Some((sources()[skipped].clone(), expected.to_owned())));
        }
    }

    #[test]
    fn other_headers_cookies_and_parameters_are_not_read() {
        let others =
            [("authorization", "Basic a"), ("cookie", "nodevent_token2=a; xnodevent_token=b; nodevent_token")];
        assert_eq!(source_and_text("/?tokens=a&token=", &others), None);
        let (parts, ()) =
            Request::get("/?token=a").header("cookie", "nodevent_token=a").body(()).unwrap().into_parts();
        assert!(find(&[], &parts).is_none(), "nothing is read unless it is configured");
    }

    #[test]
    fn a_token_that_is_too_long_is_not_kept() {
        let (_, text) = source_and_text("/", &[("x-token", &"a".repeat(100 * 1024))]).unwrap();
        assert_eq!(text.len(), MAX_TOKEN_BYTES + 1);
    }
}
