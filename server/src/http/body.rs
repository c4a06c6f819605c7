//! Bodies of requests, with a limit for size and time.

use super::Http;
use axum::BoxError;
use axum::body::{Body, Bytes};
use bytes::BytesMut;
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
    let body = collect(Limited::new(body, max_bytes));
    match tokio::time::timeout(http.settings.request_timeout, body).await {
        Ok(Ok(body)) => Ok(body),
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

/// Reads a body into one buffer. Kept one by one, chunks of one byte would take far more memory than the body.
async fn collect(mut body: Limited<Body>) -> Result<Bytes, BoxError> {
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::iter;

    async fn collected(chunks: &[&'static str], max_bytes: usize) -> Result<Bytes, BoxError> {
        let chunks: Vec<Result<Bytes, BoxError>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        collect(Limited::new(Body::from_stream(iter(chunks)), max_bytes)).await
    }

    #[tokio::test]
    async fn chunks_are_one_body() {
        for (chunks, body) in [(&[][..], ""), (&["ab"], "ab"), (&["a", "", "b", "cd"], "abcd"), (&["", "a"], "a")] {
            assert_eq!(collected(chunks, 4).await.unwrap(), body);
        }
        assert!(collected(&["abc", "de"], 4).await.unwrap_err().is::<LengthLimitError>());
    }
}
