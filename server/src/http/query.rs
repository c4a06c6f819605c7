//! Query strings, percent encoding and bearer tokens.

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The raw value of a query parameter, as it was sent. The last one counts.
pub fn raw<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let mut left = query?;
    loop {
        let start = left.bytes().rposition(|byte| byte == b'&').map_or(0, |separator| separator + 1);
        let value = left[start..].strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        if value.is_some() || start == 0 {
            return value;
        }
        left = &left[..start - 1];
    }
}

/// The decoded value of a query parameter. The last one counts.
pub fn decoded(query: Option<&str>, name: &str) -> Option<String> {
    raw(query, name).map(|value| percent_decode(value).into_owned())
}

/// The token of `Authorization: Bearer <token>`.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Decodes the percent encoding of a path or a value. Bytes that are not UTF-8 are replaced.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_parameter_of_a_name_counts() {
        let query = Some("key=a%20b&x&key=c%2Fd&since=");
        assert_eq!(raw(query, "key"), Some("c%2Fd"));
        assert_eq!(decoded(query, "key"), Some("c/d".to_owned()));
        assert_eq!(raw(query, "since"), Some(""));
        assert_eq!(raw(query, "x"), None);
        assert_eq!((raw(query, "ke"), raw(query, "")), (None, None));
        assert_eq!((raw(Some(""), "key"), raw(Some("&&key=ü=&"), "key")), (None, Some("ü=")));
        assert_eq!(raw(None, "key"), None);
    }

    #[test]
    fn the_scheme_of_a_bearer_token_may_have_any_case() {
        for (value, token) in
            [("Bearer abc", Some("abc")), ("bearer  abc ", Some("abc")), ("Basic abc", None), ("Bear", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers), token.map(str::as_bytes), "{value}");
        }
    }
}
