//! Bodies of requests, with a limit for size and time.

use super::Http;
use axum::body::{Body, Bytes};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// It did not arrive in time.
    Timeout,
    /// It ended early.
    Incomplete,
}

/// Reads a body of at most `max_bytes`. Counts and logs what exceeds a limit.
///
/// # Errors
/// [`BodyError`].
pub async fn read(http: &Http, body: Body, max_bytes: usize, client: IpAddr) -> Result<Bytes, BodyError> {
    let body = Limited::new(body, max_bytes).collect();
    match tokio::time::timeout(http.settings.request_timeout, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            http.metrics.oversized_requests.fetch_add(1, Relaxed);
            tracing::info!(max_bytes, %client, "request rejected: body too large");
            Err(BodyError::TooLarge)
        }
        Ok(Err(_)) => Err(BodyError::Incomplete),
        Err(_) => {
            http.metrics.request_timeouts.fetch_add(1, Relaxed);
            tracing::info!(%client, "request rejected: its body did not arrive in time");
            Err(BodyError::Timeout)
        }
    }
}
