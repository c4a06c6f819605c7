//! What a server of a configuration would meet, or meets, on this machine: its ports, its Redis, and a server that runs
//! already. Each finding is one sentence, with a remedy where something is wrong.

use super::http::{self, Request};
use super::url_of;
use http_body_util::BodyExt as _;
use hyper::header;
use nodevent_protocol::key;
use nodevent_server::admission;
use nodevent_server::config::listen::Listen;
use nodevent_server::config::namespace::Namespace;
use nodevent_server::config::redis::Redis;
use nodevent_server::config::{Config, Loaded};
use nodevent_server::engine::redis;
use std::io::ErrorKind::AddrInUse;
use std::time::Duration;

/// Seconds that clocks may differ: with more, keys that are good for a short time are refused.
const SKEW: i64 = 5;
/// How long each thing that is asked of a server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the key is good that is shown to the server. Milliseconds.
const KEY_LIFETIME: u64 = 60_000;

/// What was found, as it is printed.
pub(super) struct Findings {
    /// Whether anything is wrong.
    pub(super) any_bad: bool,
}

// === impl Findings ===

impl Findings {
    fn good(&self, sentence: &str) {
        println!("ok   {sentence}");
    }

    fn doubtful(&self, sentence: &str, remedy: &str) {
        println!("warn {sentence}\n     → {remedy}");
    }

    fn bad(&mut self, sentence: &str, remedy: &str) {
        self.any_bad = true;
        println!("FAIL {sentence}\n     → {remedy}");
    }
}

/// Looks at everything, and prints what it finds. `origin` is a page that wants to connect.
pub(super) async fn look(loaded: &Loaded, origin: Option<&str>) -> Findings {
    let mut findings = Findings { any_bad: false };
    let config = &loaded.config;
    for namespace in &config.namespaces {
        if let Some(redis) = &namespace.redis {
            look_at_redis(&namespace.name, redis, &mut findings).await;
        }
    }
    for listen in &config.listen {
        if is_server(listen, &mut findings).await {
            look_at_server(&url_of(listen), config, &mut findings).await;
            if let Some(origin) = origin {
                look_at_origin(&url_of(listen), origin, &mut findings).await;
            }
        }
    }
    findings
}

async fn look_at_redis(namespace: &str, place: &Redis, findings: &mut Findings) {
    let visit = match redis::visit(place).await {
        Ok(visit) => visit,
        Err(error) => {
            let remedy = "start it, or correct `redis:` in the configuration";
            return findings.bad(&format!("{namespace}: Redis at {place} cannot be used: {error}"), remedy);
        }
    };
    match visit.refuses {
        None => findings.good(&format!("{namespace}: Redis at {place} answers and takes writes")),
        Some(why) => findings.bad(
            &format!("{namespace}: Redis at {place} answers, and takes no writes: {why}"),
            "let it be a primary with memory to spare, and its user write keys that begin with `nodevent:`",
        ),
    }
    if visit.ahead.abs() > SKEW {
        let way = if visit.ahead > 0 { "ahead of" } else { "behind" };
        let seconds = visit.ahead.abs();
        findings.bad(
            &format!("{namespace}: the clock of Redis at {place} is {seconds} s {way} this machine's"),
            "run NTP on both machines",
        );
    }
}

/// Whether a server of ours answers on a port.
async fn is_server(listen: &Listen, findings: &mut Findings) -> bool {
    let (url, port) = (url_of(listen), listen.port);
    if port == 0 {
        return false;
    }
    match get(&url, "/healthz", None).await {
        Ok((200, body)) if body == "ok\n" => {
            findings.good(&format!("a server answers at {url}"));
            return true;
        }
        Ok(_) => findings
            .bad(&format!("something that is no NoDevent answers at {url}"), "stop it, or set another `port`"),
        Err(silent) => match std::net::TcpListener::bind((listen.host.as_str(), port)) {
            Ok(_) => findings.good(&format!("port {port} is free: no server runs there yet")),
            // Its certificate is for the name that browsers use, and not for this machine's own.
            Err(error) if error.kind() == AddrInUse && listen.tls.is_some() => findings.doubtful(
                &format!(
                    "something holds port {port} of {}, and could not be asked over TLS: {silent}",
                    listen.host
                ),
                "ask it from outside: curl https://<the name in its certificate>/healthz",
            ),
            Err(error) => findings.bad(
                &format!("port {port} cannot be opened on {} ({error}), and {silent}", listen.host),
                "stop what holds it, or set another `port`; below 1024 it takes root or CAP_NET_BIND_SERVICE",
            ),
        },
    }
    false
}

async fn look_at_server(url: &str, config: &Config, findings: &mut Findings) {
    match get(url, "/readyz", None).await {
        Ok((200, _)) => findings.good("it is ready"),
        Ok((_, body)) => findings.bad(
            &format!("it is not ready: {}", body.trim().replace('\n', "; ")),
            "see its log, and what stands above of its Redis",
        ),
        Err(error) => return findings.bad(&format!("it stopped answering: {error}"), "see its log"),
    }
    for namespace in &config.namespaces {
        look_at_namespace(url, namespace, findings).await;
    }
}

async fn look_at_origin(url: &str, origin: &str, findings: &mut Findings) {
    let asked = Request::new(url, "/socket.io/?EIO=4&transport=polling");
    let answer = match asked {
        Ok(mut request) => {
            request.origin = Some(origin.to_owned());
            in_time(http::send(&request)).await
        }
        Err(error) => Err(error),
    };
    match answer.map(|answer| answer.status().as_u16()) {
        Ok(200) => findings.good(&format!("pages of {origin} may connect")),
        Ok(403) => findings.bad(
            &format!("pages of {origin} may not connect"),
            "list it under `origins` in the configuration, and restart the server",
        ),
        Ok(status) => findings.bad(&format!("a handshake was answered with {status}"), "see the server's log"),
        Err(error) => findings.bad(&format!("a handshake was not answered: {error}"), "see the server's log"),
    }
}

async fn look_at_namespace(url: &str, namespace: &Namespace, findings: &mut Findings) {
    let name = &namespace.name;
    let room = format!("nodevent-check-{:016x}", rand::random::<u64>());
    let events = format!("/api{name}/rooms/{room}/events");
    let admits = |key: Option<String>| {
        let events = events.clone();
        async move { open(url, &events, key).await.map(|answer| answer.status().as_u16()) }
    };
    let file = "let the server read this file: restart it with it";
    let without = match admits(None).await {
        Ok(404) => return findings.bad(&format!("it has no namespace {name}"), file),
        Ok(status) => status,
        Err(error) => return findings.bad(&format!("{name}: it stopped answering: {error}"), "see its log"),
    };
    let own = namespace.secrets.first();
    let key = own.and_then(|secret| key::sign(&room, admission::now_ms() + KEY_LIFETIME, secret).ok());
    match (&key, without) {
        (None, 200) => findings.good(&format!("{name}: it lets anybody in, as the file says")),
        (None, _) => return findings.bad(&format!("{name}: it asks for keys, and the file has no secret"), file),
        (Some(_), 200) => {
            return findings.bad(&format!("{name}: it lets anybody in, though the file has a secret"), file);
        }
        (Some(_), _) => match admits(key.clone()).await {
            Ok(200) => findings.good(&format!("{name}: its secret is the file's")),
            Ok(_) => return findings.bad(&format!("{name}: its secret is not the file's"), file),
            Err(error) => return findings.bad(&format!("{name}: it stopped answering: {error}"), "see its log"),
        },
    }
    match comes_back(url, namespace, &room, &events, key).await {
        Ok(()) => findings.good(&format!("{name}: a message that was published came back")),
        Err(error) => findings.bad(&format!("{name}: a message did not come back: {error}"), "see its log"),
    }
}

/// Listens in a room, publishes into it, and waits for what was published.
async fn comes_back(
    url: &str,
    namespace: &Namespace,
    room: &str,
    events: &str,
    key: Option<String>,
) -> Result<(), String> {
    let mut heard = open(url, events, key).await?.into_body();
    let mut publish = Request::new(url, &format!("/api{}/emit", namespace.name))?;
    publish.body = format!(r#"{{"room":"{room}","event":"check"}}"#);
    let publish_key = namespace.publish_key.as_ref();
    publish.bearer = publish_key.and_then(|key| String::from_utf8(key.as_bytes().to_vec()).ok());
    let answer = in_time(http::send(&publish)).await?;
    if !answer.status().is_success() {
        let (status, text) = (answer.status(), in_time(http::text(answer)).await?);
        return Err(format!("publishing was refused ({status}): {}", text.trim()));
    }
    let wait = async {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = heard.frame().await {
            bytes.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            if String::from_utf8_lossy(&bytes).contains(room) {
                return Ok(());
            }
        }
        Err("the answer broke off".to_owned())
    };
    let late = || format!("nothing was heard within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| Err(late()))
}

async fn open(
    url: &str,
    path: &str,
    key: Option<String>,
) -> Result<hyper::Response<hyper::body::Incoming>, String> {
    let mut request = Request::new(url, path)?;
    request.bearer = key;
    in_time(http::send(&request)).await
}

/// Status and body of an answer.
async fn get(url: &str, path: &str, key: Option<String>) -> Result<(u16, String), String> {
    let answer = open(url, path, key).await?;
    let status = answer.status().as_u16();
    let is_endless = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let body = if is_endless { String::new() } else { in_time(http::text(answer)).await? };
    Ok((status, body))
}

async fn in_time<T>(asked: impl Future<Output = Result<T, (u8, String)>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|(_, text)| text),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
