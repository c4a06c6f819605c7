//! The request of `dialect: web_service`: `GET` with the token, and a list of the rooms of its user in the response.
//! The texts for clients are those of SocketIO Web Service.

use super::client::{ApplicationError, ApplicationRequest, ApplicationResponse};
use super::response::Rules;
use crate::identity::{Identity, OfSite};
use crate::identity_provider::Listed;
use crate::token::TokenError;
use crate::web_service::Settings;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use nodevent_protocol::{mailbox, room, topic};
use serde_json::Value;
use std::sync::Arc;

/// The parameter that is passed on as `X-META`.
const META: &str = "meta";
/// The parameter that names the device, which has a mailbox of its own.
const DEVICE: &str = "deviceId";

/// A rejection, and what the client receives instead of its text.
pub(super) type Rejection = (TokenError, Option<Arc<str>>);

/// What the request needs of the client's: the token, and whatever else the page says.
pub(super) fn listed() -> Listed {
    Listed { query: vec!["token".into(), META.into(), DEVICE.into()], ..Listed::default() }
}

/// The identity of a client without a token. `None`: it needs one.
pub(super) fn visitor(settings: &Settings, rules: Rules, now_ms: u64) -> Option<Identity> {
    settings.public_room.as_ref().map(|room| identity("", vec![room.clone()], rules, now_ms))
}

/// What the client says about itself. `token`: that of its request, if the site is notified that the client is connected.
///
/// # Errors
/// The text for the client: the name of its device is not one.
pub(super) fn of_site(
    settings: &Settings,
    scheme: &str,
    token: &str,
    query: &[(Box<str>, Box<str>)],
) -> Result<Option<Box<OfSite>>, Rejection> {
    let device = query.iter().find(|(name, value)| &**name == DEVICE && !value.is_empty());
    let device = device.map(|(_, device)| device.clone());
    if device.as_deref().is_some_and(|device| !mailbox::is_device(device)) {
        let (what, max) = ("deviceId is not a text without control characters of", mailbox::MAX_DEVICE_BYTES);
        let text = format!("Auth error: {what} 1 to {max} bytes");
        return Err((TokenError::ApplicationRejected, Some(text.into())));
    }
    let authorization = settings.update_user_url.as_ref().map(|_| format!("{scheme} {token}").into());
    let is_empty = device.is_none() && authorization.is_none();
    Ok((!is_empty).then(|| Box::new(OfSite { device, authorization })))
}

/// The request. `None`: something cannot be part of one.
pub(super) fn request(
    scheme: &str,
    token: &str,
    query: &[(Box<str>, Box<str>)],
    headers: HeaderMap,
) -> Option<ApplicationRequest> {
    let mut all = headers;
    let mut authorization = HeaderValue::from_str(&format!("{scheme} {token}")).ok()?;
    authorization.set_sensitive(true);
    all.insert(header::AUTHORIZATION, authorization);
    all.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some((_, meta)) = query.iter().find(|(name, _)| &**name == META) {
        all.insert(HeaderName::from_static("x-meta"), HeaderValue::from_bytes(meta.as_bytes()).ok()?);
    }
    Some(ApplicationRequest { method: Method::GET, path: None, headers: all, body: Bytes::new() })
}

/// Reads the result of the request. Anything but a list of rooms is a no.
pub(super) fn read(
    result: &Result<ApplicationResponse, ApplicationError>,
    settings: &Settings,
    rules: Rules,
    now_ms: u64,
) -> Result<Identity, Rejection> {
    let error = |text: &str| (TokenError::ApplicationUnavailable, Some(format!("Auth error: {text}").into()));
    let status = match result {
        Ok(response) if response.status == StatusCode::OK => {
            return rooms(&response.body, rules)
                .and_then(|rooms| of_rooms(rooms, settings, rules, now_ms))
                .map_err(|text| error(&text));
        }
        Ok(response) => response.status.as_u16(),
        Err(ApplicationError::Redirect(status) | ApplicationError::Failed(status)) => *status,
        Err(ApplicationError::Timeout(_)) => return Err(error("no response in time")),
        Err(ApplicationError::TooLarge(_) | ApplicationError::Streamed) => {
            return Err(error("the response is too large"));
        }
        Err(ApplicationError::Overloaded) => return Err(error("too many requests")),
        Err(ApplicationError::Unreachable(_) | ApplicationError::BreakerOpen) => {
            return Err(error("the site cannot be reached"));
        }
    };
    match status {
        401 => Err((TokenError::ApplicationRejected, None)),
        400..500 => Err((TokenError::ApplicationRejected, Some(format!("Auth {status} error").into()))),
        _ => Err((TokenError::ApplicationUnavailable, Some(format!("Auth {status} error").into()))),
    }
}

/// The rooms of a response, each once.
fn rooms(body: &[u8], rules: Rules) -> Result<Vec<Box<str>>, String> {
    let list: Vec<Value> =
        serde_json::from_slice(body).map_err(|_| "the response is not a list of rooms".to_owned())?;
    let mut rooms: Vec<Box<str>> = Vec::with_capacity(list.len());
    let mut known = std::collections::HashSet::with_capacity(list.len());
    for value in &list {
        let room = room::from_json(value, rules.max_room_name)
            .map_err(|_| "the response contains something other than names of rooms".to_owned())?;
        if known.insert(room.clone()) {
            rooms.push(room.into());
        }
    }
    match rooms.len() > rules.max_rooms {
        true => Err(format!("the response has more than {} rooms", rules.max_rooms)),
        false => Ok(rooms),
    }
}

/// The identity with these rooms. The room of its user is not one of the others.
fn of_rooms(rooms: Vec<Box<str>>, settings: &Settings, rules: Rules, now_ms: u64) -> Result<Identity, String> {
    let (users, mut groups): (Vec<_>, Vec<_>) = rooms.into_iter().partition(|room| settings.is_user_room(room));
    let user = match &users[..] {
        [] => "",
        [user] if topic::is_user(user) => user,
        [_] => return Err("the room of the user contains a control character".into()),
        _ => return Err("the response has several rooms of users".into()),
    };
    if let Some(public) = settings.public_room.as_ref().filter(|public| !groups.contains(public)) {
        groups.push(public.clone());
    }
    Ok(identity(user, groups, rules, now_ms))
}

fn identity(user: &str, rooms: Vec<Box<str>>, rules: Rules, now_ms: u64) -> Identity {
    let expires_ms = now_ms.saturating_add(rules.lifetime_ms);
    Identity { user: user.into(), expires_ms, issued_ms: now_ms, info: None, rooms: rooms.into(), site: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RULES: Rules = Rules { max_room_name: 20, max_rooms: 3, lifetime_ms: 60_000 };

    fn settings() -> Settings {
        Settings { user_room_prefix: Some("user_".into()), ..Settings::default() }
    }

    fn of(status: u16, body: &'static str) -> Result<Identity, Rejection> {
        let status = StatusCode::from_u16(status).unwrap();
        read(&Ok(ApplicationResponse { status, body: Bytes::from_static(body.as_bytes()) }), &settings(), RULES, 5)
    }

    fn text(result: Result<Identity, Rejection>) -> String {
        let (error, reason) = result.unwrap_err();
        reason.map_or_else(|| format!("{error:?}"), |reason| reason.to_string())
    }

    #[test]
    fn w10_rooms_are_exactly_those_of_the_response() {
        let identity = of(200, r#"["staff", "user_1", 7, "staff"]"#).unwrap();
        assert_eq!((&*identity.user, identity.expires_ms), ("user_1", 60_005));
        assert_eq!(identity.rooms.iter().map(|room| &**room).collect::<Vec<_>>(), ["staff", "7"]);
        let empty = of(200, "[]").unwrap();
        assert_eq!((&*empty.user, empty.rooms.len()), ("", 0));
    }

    #[test]
    fn w11_w12_statuses_have_their_old_texts() {
        assert_eq!(of(401, "[]").unwrap_err(), (TokenError::ApplicationRejected, None));
        for (status, expected) in [(403, "Auth 403 error"), (204, "Auth 204 error")] {
            assert_eq!(text(of(status, "[]")), expected);
        }
        let failed = |error| text(read(&Err(error), &settings(), RULES, 5));
        assert_eq!(failed(ApplicationError::Failed(500)), "Auth 500 error");
        assert_eq!(failed(ApplicationError::Redirect(302)), "Auth 302 error");
        assert_eq!(failed(ApplicationError::Timeout(Duration::ZERO)), "Auth error: no response in time");
        let unreachable = ApplicationError::Unreachable("10.0.0.7 refused".into());
        assert_eq!(failed(unreachable), "Auth error: the site cannot be reached");
    }

    #[test]
    fn w14_anything_but_a_list_of_rooms_is_a_no() {
        for body in [
            "",
            "{\"a\":1}",
            "null",
            "\"staff\"",
            "[",
            "[1.5]",
            "[null]",
            "[[\"a\"]]",
            "[\"\"]",
            "[\"xxxxxxxxxxxxxxxxxxxxx\"]",
        ] {
            assert!(text(of(200, body)).starts_with("Auth error: the response"), "{body}");
        }
        assert!(text(of(200, r#"["a","b","c","d"]"#)).contains("more than 3 rooms"));
        assert!(text(of(200, r#"["user_1","user_2"]"#)).contains("several rooms of users"));
    }

    #[test]
    fn w08_w48_token_and_meta_are_headers() {
        let meta = [("meta".into(), "m".into())];
        let request = |token, query: &[(Box<str>, Box<str>)]| request("Token", token, query, HeaderMap::new());
        let sent = request("12345", &meta).unwrap();
        assert_eq!(sent.headers["authorization"], "Token 12345");
        assert_eq!(sent.headers["x-meta"], "m");
        assert!(request("a\nb", &[]).is_none());
        assert!(request("a", &[("meta".into(), "\n".into())]).is_none());
    }

    #[test]
    fn w36_w49_a_client_names_its_device_and_the_site_is_notified_with_its_token() {
        let query = |device: &str| vec![("deviceId".into(), device.into())];
        let of = |settings: &Settings, device: &str| of_site(settings, "Bearer", "t", &query(device));
        assert!(of(&settings(), "").unwrap().is_none());
        let site = of(&settings(), "phone").unwrap().unwrap();
        assert_eq!((site.device.as_deref(), site.authorization), (Some("phone"), None));
        for device in ["a\u{1}b", "a\n", &"x".repeat(129)] {
            let (error, reason) = of(&settings(), device).unwrap_err();
            assert!(error == TokenError::ApplicationRejected && reason.unwrap().contains("deviceId is not"));
        }
        let notified = Settings { update_user_url: Some("http://a.com/users/:id".parse().unwrap()), ..settings() };
        let site = of(&notified, "").unwrap().unwrap();
        assert_eq!((site.device, site.authorization.as_deref()), (None, Some("Bearer t")));
        let identity = |user: &str, device: &str| Identity {
            site: of(&settings(), device).unwrap(),
            ..super::identity(user, Vec::new(), RULES, 5)
        };
        assert_eq!(identity("user_1", "phone").mailbox(), "user_1\u{1}phone");
        assert_eq!((&*identity("user_1", "").mailbox(), &*identity("", "phone").mailbox()), ("user_1", ""));
    }

    #[test]
    fn w50_public_room_needs_no_token() {
        let settings = Settings { public_room: Some("all".into()), ..settings() };
        assert_eq!(&*visitor(&settings, RULES, 5).unwrap().rooms[0], "all");
        let response = ApplicationResponse { status: StatusCode::OK, body: Bytes::from_static(b"[\"a\"]") };
        assert!(read(&Ok(response), &settings, RULES, 5).unwrap().opens("all"));
        assert!(visitor(&Settings::default(), RULES, 5).is_none());
    }
}
