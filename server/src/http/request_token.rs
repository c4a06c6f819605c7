//! A token in the request for a connection: in a header, a cookie or the query, as the namespaces list them.
//!
//! The token is not verified here: only the connection's protocol knows the namespace.

use super::query;
use crate::connect_info::COOKIE;
use crate::identity_provider::Listed;
use crate::token::{MAX_TOKEN_BYTES, RequestToken, TokenSource};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// Maximum size of the listed headers and cookies of a connection, which keeps them. Bytes.
const MAX_LISTED_BYTES: usize = 8 * 1024;

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

/// The listed headers and cookies of a request. One that makes all of them too long is left out, as if it were missing.
pub(super) fn listed(listed: &Listed, request: &Parts) -> Vec<(Box<str>, Box<str>)> {
    // One that is repeated is a list: which of them a proxy has set, the application must decide.
    let text = |name: &str| {
        let lines: Option<Vec<&str>> =
            request.headers.get_all(name).iter().map(|line| line.to_str().ok()).collect();
        lines.map(|lines| lines.join(", ")).filter(|_| request.headers.contains_key(name))
    };
    let headers = listed.headers.iter().filter_map(|name| Some((name.to_string(), text(name)?)));
    let cookies = listed.cookies.iter().filter_map(|name| {
        let value = raw_cookie(&request.headers, name)?;
        Some((format!("{COOKIE}{name}"), value.to_owned()))
    });
    // The name of a cookie cannot be empty, so that is the name of all.
    let lines = request.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let all = listed.all_cookies.then(|| lines.collect::<Vec<_>>().join("; ")).filter(|all| !all.is_empty());
    let cookies = cookies.chain(all.map(|all| (COOKIE.to_owned(), all)));
    let mut left = MAX_LISTED_BYTES;
    let fits = |(name, value): &(String, String)| {
        let size = name.len() + value.len();
        let fits = size <= left;
        left -= if fits { size } else { 0 };
        fits
    };
    headers.chain(cookies).filter(fits).map(|(name, value)| (name.into(), value.into())).collect()
}

/// The listed parameters of a request's query, as they were sent. One that makes all of them too long is left out, as if it
/// were missing.
pub(super) fn listed_query(listed: &Listed, request: &Parts) -> Option<Box<str>> {
    let query = request.uri.query().filter(|_| !listed.query.is_empty())?;
    let mut all = String::new();
    for name in &listed.query {
        let Some(value) = query::raw(Some(query), name) else { continue };
        if all.len() + name.len() + value.len() + 2 <= MAX_LISTED_BYTES {
            let separator = if all.is_empty() { "" } else { "&" };
            all.extend([separator, name, "=", value]);
        }
    }
    (!all.is_empty()).then(|| all.into())
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
    raw_cookie(headers, name).map(|value| value.trim_matches('"'))
}

/// The value of a cookie as it was sent.
fn raw_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    cookies(headers).find(|(one, _)| *one == name).map(|(_, value)| value)
}

/// The names and values of all cookies.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn listed_parameters_are_kept_and_no_others() {
        let of = |query: &str| {
            let (parts, ()) = Request::get(format!("/socket.io/?{query}")).body(()).unwrap().into_parts();
            let names = ["token", "meta"].map(Into::into).to_vec();
            listed_query(&Listed { query: names, ..Listed::default() }, &parts).map(String::from)
        };
        assert_eq!(of("EIO=4&meta=m%20n&token=t&x=1").as_deref(), Some("token=t&meta=m%20n"));
        assert_eq!(of("EIO=4&tokens=t"), None);
        let long = "x".repeat(MAX_LISTED_BYTES);
        assert_eq!(of(&format!("token={long}&meta=m")).as_deref(), Some("meta=m"));
        let (parts, ()) = Request::get("/?token=t").body(()).unwrap().into_parts();
        assert_eq!(listed_query(&Listed::default(), &parts), None);
    }

    /// A client sends a header that its proxy only adds, too.
    #[test]
    fn the_lines_of_a_repeated_header_are_one_list() {
        let lines = Request::get("/").header("x-user", "admin").header("x-user", "ann").header("x-other", "b");
        let (parts, ()) = lines.body(()).unwrap().into_parts();
        let names = ["x-user", "x-other", "x-none"].map(Into::into).to_vec();
        let found = listed(&Listed { headers: names, ..Listed::default() }, &parts);
        let pairs: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("x-user", "admin, ann"), ("x-other", "b")]);
    }

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
