//! The positions of rooms, read from a NoDevent server: `GET …/history`, section 8 of protocol/README.md.

use super::http::{client, escape};
use super::limited_io::LimitedConnector;
use super::positions::RoomState;
use crate::target::HttpTarget;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use nodevent_protocol::history::Position;
use serde::Deserialize;
use std::sync::OnceLock;
use std::time::Duration;

/// The maximum size of a response, which contains no publications.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;
/// Not a position, so that the server sends its own and no publications.
const NOWHERE: &str = "none";

type HttpClient = Client<LimitedConnector, Empty<Bytes>>;

/// See the head of this file.
pub(super) struct HttpPositions {
    url: String,
    is_secure: bool,
    /// Created by the first read, because it reads the system's certificates.
    client: OnceLock<HttpClient>,
}

#[derive(Debug, Deserialize)]
struct History {
    position: Option<String>,
    idle_ms: Option<u64>,
}

// === impl HttpPositions ===

impl HttpPositions {
    /// # Errors
    /// The URL is invalid.
    pub(super) fn new(target: &HttpTarget) -> Result<Self, String> {
        let url = target.url.trim_end_matches('/').to_owned();
        let uri: Uri = url.parse().map_err(|error| format!("the url {url:?}: {error}"))?;
        Ok(Self { url, is_secure: uri.scheme_str() == Some("https"), client: OnceLock::new() })
    }

    fn client(&self) -> Result<&HttpClient, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client(self.is_secure)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// `Ok(None)`: see [`super::positions`].
    pub(super) async fn read(&self, namespace: &str, room: &str, key: &str) -> Result<Option<RoomState>, String> {
        let (namespace, room) = (escape(namespace.trim_start_matches('/')), escape(room));
        let uri = format!("{}/api/{namespace}/rooms/{room}/history?since={NOWHERE}", self.url);
        let request = Request::get(uri).header(AUTHORIZATION, format!("Bearer {key}")).body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        let response = self.client()?.request(request).await.map_err(|error| error.to_string())?;
        match response.status() {
            StatusCode::OK => {}
            status if is_refusal(status) => return Ok(None),
            status => return Err(format!("the server returned {status}")),
        }
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        // Serde would read an array as the fields in their order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err("the response is not that of a NoDevent server".to_owned());
        }
        let history: History = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        let idle = history.idle_ms.map(Duration::from_millis);
        let position = history.position.and_then(|position| Position::parse(&position));
        Ok(position.map(|position| RoomState { position, idle }))
    }
}

/// Whether a status is a reply about this request: a wrong key, a room or namespace that the server does not have. Those
/// that ask clients to wait are not, nor are redirects and errors of the server.
fn is_refusal(status: StatusCode) -> bool {
    let waits =
        matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    status.is_client_error() && !waits
}
