//! Reads the JSON Web Key Set of `token: {jwks_url: …}`: at the start, regularly, and when a token names a key that is not
//! known.
//!
//! While it cannot be read, the last keys count for a configured time. The URL is fixed: `kid` is only compared.

use super::client::{ApplicationClient, ApplicationRequest};
use crate::config::application::KeySet;
use crate::token::{RemoteKeys, TokenKey};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two reads, however many tokens name an unknown key.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Time after which a read that failed is repeated.
const RETRY: Duration = Duration::from_secs(10);
/// Keys of one set. A token without `kid` may be compared with all of them.
const MAX_KEYS: usize = 16;

/// Reads the key set for as long as the process lives.
pub async fn keep_key_set(namespace: Arc<str>, settings: KeySet, client: ApplicationClient, keys: Arc<RemoteKeys>) {
    let mut is_known = false;
    loop {
        let pause = match read(&client).await {
            Ok(set) => {
                if !is_known {
                    tracing::info!(
                        namespace = &*namespace,
                        url = client.target(),
                        keys = set.len(),
                        "key set read"
                    );
                }
                is_known = true;
                keys.set(set, settings.max_age);
                settings.refresh
            }
            Err(reason) => {
                is_known = false;
                let (max_age, application) = (settings.max_age, client.target());
                tracing::warn!(
                    namespace = &*namespace,
                    application,
                    reason,
                    ?max_age,
                    "key set cannot be read; the last one counts for a while"
                );
                RETRY
            }
        };
        tokio::time::sleep(MIN_INTERVAL.min(pause)).await;
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(MIN_INTERVAL)) => {}
            () = keys.unknown() => {}
        }
    }
}

async fn read(client: &ApplicationClient) -> Result<Vec<TokenKey>, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let request = ApplicationRequest { method: Method::GET, path: None, headers, body: Bytes::new() };
    let response = client.send(&request, None).await.map_err(|error| error.to_string())?;
    if response.status != StatusCode::OK {
        return Err(format!("the response has the status {}", response.status.as_u16()));
    }
    let text = std::str::from_utf8(&response.body).map_err(|_| "the response is not UTF-8".to_owned())?;
    let keys = TokenKey::key_set(text).map_err(|error| format!("the response {error}"))?;
    match keys.len() {
        0..=MAX_KEYS => Ok(keys),
        _ => Err(format!("the key set has more than {MAX_KEYS} keys")),
    }
}
