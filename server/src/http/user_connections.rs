//! `GET /api/<ns>/users/<user>/connections`: how many connections a user has, and on which servers, for publishers and
//! for the user. `protocol/README.md` section 13 defines it.

use super::endpoint::{Endpoint, ResponseFuture};
use super::user_path::UserPath;
use super::{Http, PeerAddr, reply};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;

/// The requests for the connections of users.
#[derive(Debug)]
pub(super) struct UserConnectionsEndpoint;

impl Endpoint for UserConnectionsEndpoint {
    fn matches(&self, path: &str) -> bool {
        path.ends_with("/connections") && UserPath::parse(path).is_some_and(|path| path.resource == "connections")
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        Box::pin(async move {
            let mut response = serve(http, request).await.unwrap_or_else(|rejection| *rejection);
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        })
    }
}

async fn serve(http: &Http, request: Request) -> Result<Response, Box<Response>> {
    let path = request.uri().path().to_owned();
    let not_found = |name: &str| Box::new(reply::not_found(name));
    let path = UserPath::parse(&path).ok_or_else(|| not_found(&path))?;
    let namespace = http.namespaces.find(&path.namespace).ok_or_else(|| not_found(&path.namespace))?;
    let client = PeerAddr::of(request.extensions());
    if request.method() != Method::GET {
        return Err(Box::new(reply::method_not_allowed("GET")));
    }
    path.authorize(http, namespace, request)?;
    // After the key, so that requests without one use up nothing of those with one.
    http.settings().addresses.room_request(client).map_err(|limit| http.refuse_address(client, limit))?;
    path.check()?;
    let engine = http.engines.get(namespace.id).ok_or_else(|| Box::new(reply::busy()))?;
    let connections = engine.connections.clone().ok_or_else(|| {
        let hint = "write `presence: true` below it in the configuration";
        Box::new(reply::error(StatusCode::NOT_FOUND, "this namespace has no presence", hint))
    })?;
    let servers = connections.read(&path.user).await.map_err(|error| {
        tracing::warn!(namespace = &*namespace.name, %error, "the connections of a user were not read");
        let what = format!("{} is unavailable", error.engine);
        Box::new(reply::error(StatusCode::SERVICE_UNAVAILABLE, &what, "retry; see /readyz"))
    })?;
    let count: u64 = servers.iter().map(|(_, connections)| u64::from(*connections)).sum();
    let servers: serde_json::Map<String, serde_json::Value> =
        servers.into_iter().map(|(server, connections)| (server, connections.into())).collect();
    let body = json!({"user": path.user, "count": count, "servers": servers});
    Ok(reply::with_type(StatusCode::OK, "application/json", body.to_string()))
}
