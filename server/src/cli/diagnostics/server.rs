//! Checks that the running server is ready and serves the configured namespaces with the same secrets.

use super::{Report, TIMEOUT, get, open, with_timeout};
use crate::cli::http::{self, Request};
use crate::cli::output;
use http_body_util::BodyExt as _;
use nodevent_protocol::key::Secret;
use nodevent_protocol::topic::Topic;
use nodevent_server::clock;
use nodevent_server::config::Config;
use nodevent_server::config::namespace::Namespace;
use std::time::Duration;

/// Lifetime of the key that is sent to the server. Milliseconds.
const KEY_LIFETIME: Duration = Duration::from_secs(60);
/// How much of the events of a room is read. Bytes.
const MAX_EVENTS: usize = 64 * 1024;
/// Keys that are sent to find out whether the server knows the secret: a program that does not passes once in 1,024
/// times. The wrong ones are far fewer than an address may send at once.
const TRIALS: u32 = 10;
/// Hint for a server that has read another configuration.
const RESTART: &str = "restart the server with this file";

pub(super) async fn check(url: &str, config: &Config, report: &mut Report) {
    match get(url, "/readyz").await {
        Ok((200, _)) => report.ok("it is ready"),
        Ok((_, body)) => report.fail(
            &format!("it is not ready: {}", output::external(&body.trim().replace('\n', "; "))),
            "see its log, and the checks of its Redis above",
        ),
        Err(error) => return report.fail(&format!("it stopped responding: {error}"), "see its log"),
    }
    for namespace in &config.namespaces {
        check_namespace(url, namespace, report).await;
    }
}

async fn check_namespace(url: &str, namespace: &Namespace, report: &mut Report) {
    let name = &namespace.name;
    let room = format!("nodevent-check-{:016x}", rand::random::<u64>());
    let events = format!("/api{name}/rooms/{room}/events");
    let without = match open(url, &events, None).await.map(|response| response.status().as_u16()) {
        Ok(404) => return report.fail(&format!("it has no namespace {name}"), RESTART),
        Ok(status) => status,
        Err(error) => return report.fail(&format!("{name}: it stopped responding: {error}"), "see its log"),
    };
    let secret = namespace.secrets.first();
    let key = secret.and_then(|secret| namespace.sign_short_key(&room, KEY_LIFETIME, clock::now_ms(), secret).ok());
    let is_verified = match (&key, without) {
        (None, 403) if namespace.token.is_some() && !namespace.is_open() => {
            return report.ok(&format!("{name}: it requires tokens, as in the file, so no test message was sent"));
        }
        (None, 200) if !namespace.is_open() => {
            return report.fail(&format!("{name}: every client may join, but the file requires tokens"), RESTART);
        }
        (None, 200) => {
            report.ok(&format!("{name}: every client may join, as in the file"));
            false
        }
        (None, _) => {
            return report.fail(&format!("{name}: it requires keys, but the file has no secret"), RESTART);
        }
        (Some(_), 200) => {
            return report.fail(&format!("{name}: every client may join, but the file has a secret"), RESTART);
        }
        (Some(_), _) => match knows_secret(url, namespace, &room, &events).await {
            Ok(Knows::Secret) => {
                report.ok(&format!("{name}: its secret matches the configuration file"));
                true
            }
            Ok(Knows::Nothing) => {
                let sentence = format!("{name}: it admits clients with any key, so it does not know the secret");
                return report
                    .fail(&sentence, "find out which program has the port: it is not the server of this file");
            }
            Ok(Knows::OtherSecret) => {
                let sentence = format!("{name}: its secret does not match the configuration file");
                return report.fail(&sentence, RESTART);
            }
            Err(error) => return report.fail(&format!("{name}: it stopped responding: {error}"), "see its log"),
        },
    };
    // Without a secret nothing but a certificate shows that it is the server of this file.
    let may_send_key = is_verified || url.starts_with("https://");
    match round_trip(url, namespace, &room, &events, key, may_send_key).await {
        Ok(RoundTrip::NeedsVerification) => report.ok(&format!(
            "{name}: nothing shows that this is the server of the file, so it was sent no publish key and no test message"
        )),
        Ok(RoundTrip::NeedsKey) => {
            report.ok(&format!("{name}: nothing may publish over HTTP without a key, so no test message was sent"))
        }
        Ok(RoundTrip::Delivered) => report.ok(&format!("{name}: a test message was delivered")),
        Err(error) => report.fail(&format!("{name}: a test message was not delivered: {error}"), "see its log"),
    }
}

/// What a server knows, as its responses show.
enum Knows {
    /// The secret of the file.
    Secret,
    /// Another secret.
    OtherSecret,
    /// None: it admits keys of any secret.
    Nothing,
}

/// Sends right and wrong keys in a random order. A program without the secret does not know which is which, so it
/// cannot admit all of the first and none of the second, however it knows this command.
async fn knows_secret(url: &str, namespace: &Namespace, room: &str, events: &str) -> Result<Knows, String> {
    let right = |secret| namespace.sign_short_key(room, KEY_LIFETIME, clock::now_ms(), secret).ok();
    // At least one is wrong.
    let order = rand::random::<u32>() & !(1 << rand::random_range(0..TRIALS));
    for trial in 0..TRIALS {
        let is_right = order >> trial & 1 == 1;
        let key = if is_right { namespace.secrets.first().and_then(right) } else { wrong_key(namespace, room) };
        let is_admitted = open(url, events, key).await?.status().as_u16() == 200;
        match (is_right, is_admitted) {
            (false, true) => return Ok(Knows::Nothing),
            (true, false) => return Ok(Knows::OtherSecret),
            _ => {}
        }
    }
    let last = open(url, events, namespace.secrets.first().and_then(right)).await?.status().as_u16();
    Ok(if last == 200 { Knows::Secret } else { Knows::OtherSecret })
}

/// A key for the room that is signed with a secret which no server has.
fn wrong_key(namespace: &Namespace, room: &str) -> Option<String> {
    let secret = Secret::new(format!("{:032x}", rand::random::<u128>())).ok()?;
    namespace.sign_short_key(room, KEY_LIFETIME, clock::now_ms(), &secret).ok()
}

/// The result of a test message.
enum RoundTrip {
    Delivered,
    /// The file has no publish key for the room of the test, and the server requires one.
    NeedsKey,
    /// The server requires a publish key, and may be another program.
    NeedsVerification,
}

/// Subscribes to a room, publishes to it, and waits for the publication.
async fn round_trip(
    url: &str,
    namespace: &Namespace,
    room: &str,
    events: &str,
    key: Option<String>,
    may_send_key: bool,
) -> Result<RoundTrip, String> {
    let mut body = open(url, events, key).await?.into_body();
    let mut publish = Request::new(url, &format!("/api{}/emit", namespace.name))?;
    publish.body = format!(r#"{{"room":"{room}","event":"check"}}"#);
    let configured = namespace.publish_key(&[Topic::Room(room)]);
    let (has_key, publish_key) = (configured.is_some(), configured.filter(|_| may_send_key));
    publish.bearer = publish_key.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
    let response = with_timeout(http::send(&publish)).await?;
    match response.status().as_u16() {
        401 | 403 if has_key && !may_send_key => return Ok(RoundTrip::NeedsVerification),
        403 if !has_key => return Ok(RoundTrip::NeedsKey),
        _ => {}
    }
    if !response.status().is_success() {
        let (status, text) = (response.status(), with_timeout(http::text(response)).await?);
        return Err(format!("publishing was rejected ({status}): {}", output::external(&text)));
    }
    let wait = async {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            // The name of the room may have arrived in two parts.
            let searched = bytes.len().saturating_sub(room.len());
            bytes.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            if String::from_utf8_lossy(&bytes[searched..]).contains(room) {
                return Ok(RoundTrip::Delivered);
            }
            if bytes.len() > MAX_EVENTS {
                return Err("other events arrived".to_owned());
            }
        }
        Err("the response ended early".to_owned())
    };
    let late = || format!("nothing arrived within {} s", TIMEOUT.as_secs());
    tokio::time::timeout(TIMEOUT, wait).await.unwrap_or_else(|_| Err(late()))
}
