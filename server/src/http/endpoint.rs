//! Endpoints: the paths that a protocol serves on the public listeners.

use super::{Http, reply};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use std::pin::Pin;

/// The response of an endpoint.
pub type ResponseFuture<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// The paths of one protocol.
///
/// The router has checked the request's origin before it calls an endpoint, answers preflight requests, and adds the CORS
/// headers to the response.
pub trait Endpoint: Send + Sync {
    /// Whether a path belongs to this endpoint.
    fn matches(&self, path: &str) -> bool;

    /// Whether a request belongs to this endpoint.
    fn matches_request(&self, request: &Request) -> bool {
        self.matches(request.uri().path())
    }

    /// Whether programs call it, with a password in each request. Then neither the origin nor the host of a request is checked,
    /// and the endpoint responds to preflight requests.
    /// Whether programs call it, with a password in each request. Then neither the origin nor the host of a request is
    /// checked, and the endpoint responds to preflight requests.
    fn is_for_programs(&self) -> bool {
        false
    }

    /// Serves a request.
    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a>;

    /// The response to a request from a page that may not connect.
    fn reject_origin(&self) -> Response {
        reply::error(
            StatusCode::FORBIDDEN,
            "pages of this origin may not connect",
            "list the page's origin under `origins`",
        )
    }
}
