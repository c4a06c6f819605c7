//! Bodies of requests, limited in size and time, and in what all of them hold.

use super::Http;
use crate::byte_budget::{BudgetedBytes, ByteBudget, HeldBytes};
use crate::client::Client;
use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Maximum size of all bodies that the server holds, which clients share. Bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than the limit.
    TooLarge,
    /// It did not arrive in time.
    Timeout,
    /// It ended early.
    Incomplete,
    /// Other bodies hold too much: those of the same client, or those of all.
    Overloaded,
}

/// Returns the budget of all bodies.
pub(super) fn budget() -> Arc<ByteBudget> {
    Arc::new(ByteBudget::new(MAX_BYTES))
}

/// Reads a body of at most `max_bytes`. Counts and logs what exceeds a limit.
///
/// # Errors
/// [`BodyError`].
pub async fn read(http: &Http, body: Body, max_bytes: usize, client: IpAddr) -> Result<BudgetedBytes, BodyError> {
    let Some(held) = http.bodies.hold(Client::of(client), 0) else { return Err(overloaded(http, client)) };
    let body = collect(Limited::new(body, max_bytes), held);
    match tokio::time::timeout(http.settings().request_timeout, body).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BodyError::TooLarge)) => {
            http.metrics.oversized_requests.fetch_add(1, Relaxed);
            tracing::info!(max_bytes, %client, "request rejected: body too large");
            Err(BodyError::TooLarge)
        }
        Ok(Err(BodyError::Overloaded)) => Err(overloaded(http, client)),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            http.metrics.request_timeouts.fetch_add(1, Relaxed);
            tracing::info!(%client, "request rejected: its body did not arrive in time");
            Err(BodyError::Timeout)
        }
    }
}

/// Counts and logs a body for which there is no memory.
fn overloaded(http: &Http, client: IpAddr) -> BodyError {
    http.metrics.overloaded_requests.fetch_add(1, Relaxed);
    tracing::info!(%client, "request rejected: the bodies of other requests hold too much");
    BodyError::Overloaded
}

/// Reads a body into one buffer. Kept one by one, chunks of one byte would take far more memory than the body.
async fn collect(mut body: Limited<Body>, mut held: HeldBytes) -> Result<BudgetedBytes, BodyError> {
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() { BodyError::TooLarge } else { BodyError::Incomplete }
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if !held.grow(data.len()) {
            return Err(BodyError::Overloaded);
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(BudgetedBytes::new(if all.is_empty() { first } else { all.freeze() }, held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::BoxError;
    use futures_util::FutureExt as _;
    use futures_util::stream::{StreamExt as _, iter, pending};

    fn chunks(texts: &[&'static str]) -> Vec<Result<Bytes, BoxError>> {
        texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect()
    }

    fn client(host: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, host]))
    }

    async fn collected(texts: &[&'static str], max_bytes: usize) -> Result<Bytes, BodyError> {
        let body = Limited::new(Body::from_stream(iter(chunks(texts))), max_bytes);
        collect(body, budget().hold(client(1), 0).unwrap()).await.map(|body| Bytes::copy_from_slice(&body))
    }

    #[tokio::test]
    async fn chunks_are_one_body() {
        for (chunks, body) in [(&[][..], ""), (&["ab"], "ab"), (&["a", "", "b", "cd"], "abcd"), (&["", "a"], "a")] {
            assert_eq!(collected(chunks, 4).await.unwrap(), body);
        }
        assert_eq!(collected(&["abc", "de"], 4).await.unwrap_err(), BodyError::TooLarge);
    }

    #[test]
    fn bodies_that_are_not_complete_are_limited_for_each_client() {
        let budget = Arc::new(ByteBudget::new(12));
        let incomplete = |host: u8| {
            let held = budget.hold(client(host), 0)?;
            let body = Body::from_stream(iter(chunks(&["abc"])).chain(pending()));
            let mut body = Box::pin(collect(Limited::new(body, 100), held));
            let rejected = (&mut body).now_or_never();
            if let Some(result) = &rejected {
                assert_eq!(*result.as_ref().unwrap_err(), BodyError::Overloaded);
            }
            rejected.is_none().then_some(body)
        };
        let of_one: Vec<_> = (0..9).map_while(|_| incomplete(1)).collect();
        assert_eq!(of_one.len(), 2, "of 3 bytes each");
        let others = [2, 3, 4].map(|host| incomplete(host).expect("the first body of a client"));
        drop((of_one, others));
        assert_eq!(budget.usage(), (0, 0));
    }
}
