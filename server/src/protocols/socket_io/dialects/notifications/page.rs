//! `GET /`: the page that shows notifications.
//!
//! It comes with the program. The channels are the only part that depends on the configuration, and nothing of a request is
//! in it.

use crate::http::{Endpoint, Http, ResponseFuture, reply};
use crate::protocols::Mount;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde_json::json;
use std::future::ready;
use std::sync::Arc;

/// The page. `{"SETTINGS":0}` is replaced by the namespace and its channels.
const PAGE: &str = include_str!("page.html");
/// The page runs no script but its own and the client, and connects to its own server only.
const POLICY: &str = "default-src 'none'; script-src 'self' 'sha256-SCRIPT'; style-src 'unsafe-inline'; connect-src 'self' ws: wss:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
/// The paths of the page.
const PATHS: [&str; 2] = ["/", "/index.html"];

/// The endpoint of the page.
struct Page {
    html: String,
    policy: HeaderValue,
}

/// Mounts the page of the first namespace that has one.
pub(crate) fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let is_it = |one: &&crate::config::namespace::Namespace| {
        one.notifications.as_ref().is_some_and(|notifications| notifications.has_page)
    };
    let namespace = mount.config.namespaces.iter().find(is_it)?;
    let channels = &namespace.notifications.as_ref()?.channels;
    // `<` could end the script.
    let settings = json!({"namespace": namespace.name, "channels": channels}).to_string().replace('<', "\\u003c");
    let html = PAGE.replace("{\"SETTINGS\":0}", &settings);
    let script = html.split("<script>").nth(1)?.split("</script>").next()?;
    let policy = POLICY.replace("SCRIPT", &sha256(script));
    Some(Arc::new(Page { html, policy: HeaderValue::from_str(&policy).ok()? }))
}

/// The SHA-256 of a text in base64, as a content security policy has it.
fn sha256(text: &str) -> String {
    use base64::Engine as _;
    use sha2::{Digest, Sha256};
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

// === impl Page ===

impl Page {
    fn response(&self, method: &Method) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return reply::method_not_allowed("GET, HEAD");
        }
        let mut response = reply::with_type(StatusCode::OK, "text/html; charset=utf-8", self.html.clone());
        response.headers_mut().insert(HeaderName::from_static("content-security-policy"), self.policy.clone());
        response
    }
}

impl Endpoint for Page {
    fn matches(&self, path: &str) -> bool {
        PATHS.contains(&path)
    }

    fn serve<'a>(&'a self, _http: &'a Http, request: Request) -> ResponseFuture<'a> {
        Box::pin(ready(self.response(request.method())))
    }
}
