//! Calls: which paths of the application a client can call, and how a request of the server to the application is signed.
//!
//! `README.md` section 16 defines both; `vectors/pages.json` has examples of signatures.

use crate::hooks;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The longest path with its query. Bytes.
pub const MAX_PATH_BYTES: usize = 2048;

/// The type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// The field of a form whose value replaces the method of a request, in Rack and in frameworks like it.
const OVERRIDE: &str = "_method";

/// What the signature of a request includes.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The method.
    pub method: &'a str,
    /// Path and query, as they are sent.
    pub target: &'a str,
    /// The id of the connection.
    pub connection: &'a str,
    /// The header `Cookie`. Empty: there is none.
    pub cookie: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Signs a request of the server, as [`hooks::sign`] signs a text.
#[must_use]
pub fn sign(secret: &[u8], seconds: u64, request: &Signed<'_>) -> String {
    let Signed { namespace, method, target, connection, cookie, body } = request;
    let (cookie, body) = (hash(cookie.as_bytes()), hash(body));
    let text = ["call", namespace, method, target, connection, &cookie, &body].join("\n");
    hooks::sign(secret, seconds, text.as_bytes())
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a client can call this path, which may have a query. It begins with one slash, and no program on the way can
/// read it as another host or another folder.
#[must_use]
pub fn is_path(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte);
    if text.len() > MAX_PATH_BYTES || !text.starts_with('/') || !text.bytes().all(is_allowed) {
        return false;
    }
    let path = text.split('?').next().unwrap_or_default();
    if path.contains("//") || !has_valid_escapes(text) {
        return false;
    }
    path.split('/').all(|segment| {
        let lower = segment.to_ascii_lowercase();
        // A slash, a backslash or a control character in disguise.
        let is_hidden = lower.contains("%2f") || lower.contains("%5c") || lower.contains("%00");
        let name = lower.split(';').next().unwrap_or_default().replace("%2e", ".");
        !is_hidden && name != "." && name != ".."
    })
}

/// Whether each percent sign begins an escape of two hexadecimal digits, in the path not of a control character.
fn has_valid_escapes(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let escape = rest.get(at + 1..at + 3);
        let value = escape.filter(|escape| escape.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if value.and_then(|value| u8::from_str_radix(value, 16).ok()).is_none() {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}

/// The methods with which the fields of a form or of a query replace the method of their request. Every spelling counts that
/// an application may read as that field, like `%5Fmethod` or `[_method]`.
pub fn overriding_methods(form: &str) -> impl Iterator<Item = String> {
    form.split(['&', ';']).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        let rest = name.trim_start_matches(['[', ']', ' ']).strip_prefix(OVERRIDE)?;
        (!value.is_empty() && (rest.is_empty() || rest.starts_with(['[', ']']))).then_some(value)
    })
}

/// Decodes a name or a value of a form. What is not an escape stays as it is.
fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_field_that_replaces_a_method_is_found() {
        let found = |form: &str| overriding_methods(form).collect::<Vec<_>>();
        for form in [
            "_method=DELETE",
            "a=b&_method=DELETE",
            "a=b;_method=DELETE",
            "%5Fmethod=%44ELETE",
            "%5B_method%5D=DELETE",
            "_method%5B%5D=DELETE",
            "_method]=DELETE",
            "+_method=DELETE",
        ] {
            assert_eq!(found(form), ["DELETE"], "{form}");
        }
        assert_eq!(found("_method=PUT&_method=delete"), ["PUT", "delete"], "whichever the application reads");
        for form in
            ["", "_method", "_method=", "method=DELETE", "_methods=DELETE", "a[_method]=DELETE", "%_method=DELETE"]
        {
            assert!(found(form).is_empty(), "{form}");
        }
    }

    #[test]
    fn signatures_are_those_of_the_vectors() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/pages.json");
        let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let calls = &vectors["calls"];
        for vector in calls["signatures"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().unwrap();
            let signed = Signed {
                namespace: calls["namespace"].as_str().unwrap(),
                method: text("method"),
                target: text("target"),
                connection: text("connection"),
                cookie: text("cookie"),
                body: text("body").as_bytes(),
            };
            let secret = calls["secret"].as_str().unwrap().as_bytes();
            assert_eq!(sign(secret, vector["seconds"].as_u64().unwrap(), &signed), text("signature"));
        }
    }

    #[test]
    fn a_path_names_something_below_the_root_of_the_application() {
        for path in ["/", "/comments", "/a/b.c?x=1&y=%2F..//", "/~user/;v=1", "/%C3%A9", "/a/...", "/a?b?c"] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "",
            "comments",
            "//evil.example",
            "http://evil.example/",
            "/\\evil",
            "/a\\b",
            "/a//b",
            "/../b",
            "/a/..",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/.%2e/b",
            "/a/..;/b",
            "/a%2fb",
            "/a%5Cb",
            "/a%00",
            "/a%",
            "/a%1",
            "/a%zz",
            "/a b",
            "/a\r\nHost: x",
            "/a\tb",
            "/é",
            "/a#b",
            "@evil",
            &format!("/{}", "x".repeat(MAX_PATH_BYTES)),
        ] {
            assert!(!is_path(path), "{path}");
        }
    }
}
