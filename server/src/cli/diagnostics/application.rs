//! Checks that the application which says who a connection is responds, and that its URL does not redirect.

use super::Report;
use hyper::body::Bytes;
use hyper::{HeaderMap, Method};
use nodevent_server::application::{ApplicationClient, ApplicationError, ApplicationRequest};
use nodevent_server::config::application::Auth;
use nodevent_server::metrics::Metrics;
use std::sync::Arc;

/// Sends the request of a connection without a token and without cookies. Whatever a working application responds to it is
/// fine, except for a redirect, which is never followed.
pub(super) async fn check(namespace: &str, auth: &Auth, report: &mut Report) {
    let target = auth.application.shown_url();
    let client = match ApplicationClient::new(&auth.application, Arc::new(Metrics::default())) {
        Ok(client) => client,
        Err(error) => return report.fail(&format!("{namespace}: {error}"), "correct `auth: ca`"),
    };
    let method = if auth.is_post { Method::POST } else { Method::GET };
    let request = ApplicationRequest { method, path: None, headers: HeaderMap::new(), body: Bytes::new() };
    match client.send(&request, None).await {
        Ok(response) => {
            let status = response.status.as_u16();
            report.ok(&format!(
                "{namespace}: the application at {target} responds (status {status} without a token)"
            ));
        }
        Err(error @ ApplicationError::Redirect(_)) => report.fail(
            &format!("{namespace}: the application at {target}: {error}"),
            "configure the URL to which it redirects; clients would be rejected",
        ),
        Err(error @ ApplicationError::Failed(_)) => report.warn(
            &format!("{namespace}: the application at {target}: {error} without a token"),
            "let it respond with 401 to a request without a valid token",
        ),
        Err(error) => report.fail(
            &format!("{namespace}: the application at {target} is unavailable: {error}"),
            "start it, or correct the URL; clients would be rejected",
        ),
    }
}
