//! The files for browsers: the client library and the console, which are part of this binary.

use super::reply;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// Browsers use a file for an hour without asking, so they see an upgrade of the server within that time. For another
/// week they may use it while they fetch the new one.
const CACHE: &str = "public, max-age=3600, stale-while-revalidate=604800";

/// The console page may load its own files and connect to its own server, nothing else.
const CONSOLE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A file of `client/dist`, and its compressed form, which `build.rs` produces.
macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset::new(
            include_bytes!(concat!("../../../client/dist/", $name)),
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
            $kind,
        )
    };
}

/// A file, ready to be sent.
#[derive(Debug)]
struct Asset {
    plain: Bytes,
    gzip: Bytes,
    kind: &'static str,
    /// The entity tag of the plain form. The compressed form has the same with `-gz`.
    tag: String,
}

/// All files.
#[derive(Debug)]
pub(super) struct Assets {
    script: Asset,
    script_map: Asset,
    socket_io: Asset,
    socket_io_map: Asset,
    console_page: Asset,
    console_script: Asset,
    console_style: Asset,
}

// === impl Assets ===

impl Assets {
    pub(super) fn new() -> Self {
        const SCRIPT: &str = "text/javascript; charset=utf-8";
        const JSON: &str = "application/json";
        Self {
            script: asset!("nodevent.js", SCRIPT),
            script_map: asset!("nodevent.js.map", JSON),
            socket_io: asset!("socket.io.js", SCRIPT),
            socket_io_map: asset!("socket.io.js.map", JSON),
            console_page: asset!("console.html", "text/html; charset=utf-8"),
            console_script: asset!("console.js", SCRIPT),
            console_style: asset!("console.css", "text/css; charset=utf-8"),
        }
    }

    /// The script of a namespace. It is the same for all namespaces: it finds the server and the namespace by its own
    /// URL.
    pub(super) fn script(&self, request: &Request) -> Response {
        self.script.respond(request)
    }

    /// The source map of the script.
    pub(super) fn script_map(&self, request: &Request) -> Response {
        self.script_map.respond(request)
    }

    /// The console page and its files. The page loads nothing from elsewhere and runs nothing inline.
    pub(super) fn console(&self, request: &Request) -> Response {
        let asset = match request.uri().path() {
            "/console.js" => &self.console_script,
            "/console.css" => &self.console_style,
            _ => &self.console_page,
        };
        let mut response = asset.respond(request);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONSOLE_POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // An upgrade of the server brings a new page, whose files must not be older than the page.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        response
    }

    /// A file below `/socket.io/`.
    pub(super) fn socket_io(&self, request: &Request) -> Response {
        match request.uri().path() {
            "/socket.io/socket.io.js" => self.socket_io.respond(request),
            "/socket.io/socket.io.js.map" => self.socket_io_map.respond(request),
            _ => reply::text(StatusCode::NOT_FOUND, "File not found.\n".into()),
        }
    }
}

// === impl Asset ===

impl Asset {
    fn new(bytes: &'static [u8], gzip: &'static [u8], kind: &'static str) -> Self {
        let mut tag = String::with_capacity(32);
        for byte in &Sha256::digest(bytes)[..12] {
            let _ = write!(tag, "{byte:02x}");
        }
        Self { plain: Bytes::from_static(bytes), gzip: Bytes::from_static(gzip), kind, tag }
    }

    fn respond(&self, request: &Request) -> Response {
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let zip = header(header::ACCEPT_ENCODING)
            .is_some_and(|accepted| accepted.split(',').any(|one| one.trim().split(';').next() == Some("gzip")));
        let tag = format!("\"{}{}\"", self.tag, if zip { "-gz" } else { "" });
        let known = header(header::IF_NONE_MATCH)
            .is_some_and(|tags| tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
        let mut response = if known {
            reply::with_type(StatusCode::NOT_MODIFIED, self.kind, "")
        } else {
            let body = if zip { self.gzip.clone() } else { self.plain.clone() };
            reply::with_type(StatusCode::OK, self.kind, body)
        };
        let headers = response.headers_mut();
        if zip && !known {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        // A script tag of any page may load it; whether the page may connect is another question.
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}
