//! `POST /reload` of the admin listener: makes the server read its configuration again.
//!
//! Owns the request and its response. The program that started the server reads the file; see `cli/serve` and `server/reload`.

use super::{Http, reply};
use crate::config::changes::Changes;
use crate::origin;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A request to read the configuration again. The outcome is sent back: what has changed, or why nothing has.
pub type ReloadRequest = oneshot::Sender<Result<Changes, String>>;

/// Requests that wait. More are rejected.
pub(super) const MAX_WAITING: usize = 4;

pub(super) async fn serve(State(http): State<Arc<Http>>, headers: HeaderMap) -> Response {
    if origin::is_from_page(&headers) {
        return reply::error(StatusCode::FORBIDDEN, "pages may not reload the server", "use `nodevent reload`");
    }
    let Some(requests) = http.reloads.get() else {
        let hint = "start it with `nodevent serve`";
        return reply::error(StatusCode::NOT_IMPLEMENTED, "this server does not read its configuration", hint);
    };
    let (outcome, reloaded) = oneshot::channel();
    if mpsc::Sender::try_send(requests, outcome).is_err() {
        return reply::busy();
    }
    match reloaded.await {
        Ok(Ok(changes)) => {
            let body = json!({
                "applied": changes.applied,
                "needs_restart": changes.need_restart,
                "message": changes.to_string(),
            });
            reply::with_type(StatusCode::OK, "application/json", body.to_string())
        }
        Ok(Err(reason)) => reply::error(StatusCode::UNPROCESSABLE_ENTITY, &reason, "nothing was changed"),
        Err(_) => reply::busy(),
    }
}
