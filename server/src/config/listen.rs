//! `bind`, `port`, `ssl`, `listen` and `admin`: where the server listens.

use super::credentials;
use super::keys;
use super::proxies::TrustedProxies;
use super::reader::MapReader;
use super::report::{Location, Report};
use super::tree::Value;
use super::values::is_host;
use nodevent_protocol::key::Secret;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address to bind: a name or an IP address.
    pub host: String,
    /// The port; 0 picks a free one.
    pub port: u16,
    /// The Unix socket on which it listens instead.
    pub socket: Option<Socket>,
    /// The files for TLS.
    pub tls: Option<TlsFiles>,
    /// Whether programs on this machine may publish here without a key. `None`: as the file says for all listeners.
    pub publish_locally: Option<bool>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// A Unix socket for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its file.
    pub path: PathBuf,
    /// The permissions of the file.
    pub mode: u32,
}

// === impl Listen ===

impl Listen {
    /// A listener with an address and default settings.
    pub(super) fn plain(host: String, port: u16) -> Self {
        Self { host, port, socket: None, tls: None, publish_locally: None, proxy_protocol: false }
    }
}

/// The files for TLS, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The listener for monitoring.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens.
    pub listen: Listen,
    /// The key that requests must have. `None`: it listens on this machine only, and needs none.
    pub key: Option<Secret>,
}

/// The default port.
pub const PORT: u16 = 8080;
/// The default address.
pub(super) const BIND: &str = "::";
/// The default permissions of a Unix socket: its owner and its group may connect.
const SOCKET_MODE: u32 = 0o660;
/// The default port of the admin listener.
const ADMIN_PORT: u16 = 8081;
/// The default address of the admin listener.
const ADMIN_BIND: &str = "127.0.0.1";

/// Reads the public listeners. Other files are relative to `folder`. The second value is the address for browsers.
pub(super) fn public(top: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> (Vec<Listen>, Option<String>) {
    // Older files use `host` for both addresses: the one for browsers has a scheme, the one to bind has none.
    let location = top.location_of("host");
    let (old_url, old_bind) = match top.text("host", report) {
        Some(host) if host.contains("//") => (check_url(host, "host", location, report), None),
        Some(host) => (None, check_host(host, "host", location, report)),
        None => (None, None),
    };
    let location = top.location_of("public_url");
    let public_url = top.text("public_url", report).and_then(|url| check_url(url, "public_url", location, report));
    let public_url = public_url.or(old_url);
    let host = bind(top, report).or(old_bind).unwrap_or_else(|| BIND.to_owned());
    let port = top.number("port", report);
    let tls = ssl(top, folder, report);
    let mut all = Vec::new();
    let list = top.take("listen");
    match list.map(|node| (&node.value, node.location)) {
        None => {}
        Some((Value::List(list), _)) => {
            for (index, node) in list.iter().enumerate() {
                let path = format!("listen[{index}]");
                let Some(mut map) = MapReader::open(node, &path, &keys::LISTEN, report) else { continue };
                let own = bind(&mut map, report).unwrap_or_else(|| host.clone());
                let tls = ssl(&mut map, folder, report);
                let publish_locally = publishes_locally(&mut map, report);
                let proxy_protocol = map.flag("proxy_protocol", report).unwrap_or(false);
                if proxy_protocol && publish_locally == Some(true) {
                    let what = format!("{path} has `proxy_protocol: true` and `publish: local`");
                    report.error(map.location, what, "delete one of them: what a proxy forwards is not local");
                }
                let publish_locally =
                    publish_locally.filter(|_| !proxy_protocol).or(proxy_protocol.then_some(false));
                let is_written = map.has("port");
                let is_socket = map.has("socket");
                let socket = socket(&mut map, folder, report);
                let plain = Listen { socket: None, host: own, port: 0, tls, publish_locally, proxy_protocol };
                match map.number("port", report) {
                    Some(_) if is_socket => {
                        let what = format!("{path} has `port` and `socket`");
                        report.error(map.location, what, "write two entries, or delete one of them");
                    }
                    Some(port) => all.push(Listen { port, ..plain }),
                    None if is_written => {}
                    // What a proxy forwards through it is not local, unless that is declared.
                    None if is_socket => {
                        let publish_locally = Some(plain.publish_locally.unwrap_or(false));
                        all.extend(socket.map(|socket| Listen { socket: Some(socket), publish_locally, ..plain }));
                    }
                    None => report.error(
                        map.location,
                        format!("{path} has no port"),
                        "write `port: 8080`, or `socket: /run/nodevent/web.sock`",
                    ),
                }
                map.finish(report);
            }
        }
        Some((_, location)) => report.error(location, "listen is not a list", "write `listen: [{port: 8080}]`"),
    }
    if port.is_some() || all.is_empty() {
        all.push(Listen { tls, ..Listen::plain(host, port.unwrap_or(PORT)) });
    }
    (all, public_url)
}

/// Reads `socket` and `socket_mode`. Returns `None` if there is none, or it is wrong.
fn socket(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<Socket> {
    let (name, location) = (map.name("socket"), map.location_of("socket"));
    let (mode_name, mode_location) = (map.name("socket_mode"), map.location_of("socket_mode"));
    let (path, mode) = (map.text("socket", report), map.text("socket_mode", report));
    let mode = match mode {
        None => SOCKET_MODE,
        Some(_) if path.is_none() => {
            report.error(mode_location, format!("{mode_name} is written without `socket`"), "delete it");
            return None;
        }
        Some(text) => match u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777) {
            Some(mode) => mode,
            None => {
                report.error(mode_location, format!("{mode_name} is not a file mode"), "write it like \"0660\"");
                return None;
            }
        },
    };
    let path = path?;
    if path.contains("://") {
        report.error(location, format!("{name} is not a path"), "write a path like /run/nodevent/web.sock");
        return None;
    }
    Some(Socket { path: folder.join(path), mode })
}

/// Reads `publish`: whether programs on this machine may publish without a key.
pub(super) fn publishes_locally(map: &mut MapReader<'_>, report: &mut Report) -> Option<bool> {
    map.word("publish", report).map(|word| word == "local")
}

/// Reports two listeners that would bind the same port. At the start, the second one would report that the port is in
/// use.
pub(super) fn check_ports(public: &[Listen], admin: Option<&Listen>, location: Location, report: &mut Report) {
    let all: Vec<&Listen> = public.iter().chain(admin).collect();
    for (index, two) in all.iter().enumerate() {
        let is_any = |listen: &Listen| matches!(listen.host.as_str(), "0.0.0.0" | "::");
        let collides = |one: &&&Listen| one.host == two.host || is_any(one) || is_any(two);
        let is_same = |one: &&&Listen| one.port == two.port && two.port != 0 && collides(one);
        if all[..index].iter().any(|one| is_same(&one)) {
            let what = format!("two listeners have port {} of {}", two.port, two.host);
            report.error(location, what, "give each of `port`, `listen` and `admin` its own port");
        }
    }
}

/// Reports a listener with the PROXY protocol if no proxy is trusted, because then it accepts nothing.
pub(super) fn check_proxies(public: &[Listen], trusted: &TrustedProxies, location: Location, report: &mut Report) {
    if trusted.is_empty() && public.iter().any(|listen| listen.proxy_protocol) {
        let what = "a listener has `proxy_protocol: true`, but no proxy is trusted to name clients";
        report.error(location, what, "list the load balancers as `trusted_proxies`, like 127.0.0.1 or 10.0.0.0/8");
    }
}

/// Reads the admin listener. Returns `None` if there is none.
pub(super) fn admin(top: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<Admin> {
    let node = top.take("admin").filter(|node| !node.is_off())?;
    let mut map = MapReader::open(node, "admin", &keys::ADMIN, report)?;
    let location = map.location_of("bind");
    let host = bind(&mut map, report).unwrap_or_else(|| ADMIN_BIND.to_owned());
    let port = map.number("port", report).unwrap_or(ADMIN_PORT);
    let is_written = map.has("key") || map.has("key_file");
    let key = credentials::one(&mut map, "key", folder, report);
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    if !is_loopback && !is_written {
        let hint =
            "write `key: <random text>` below `admin`, and send it as `authorization: Bearer …`; or bind 127.0.0.1";
        report.error(location, "the admin listener would be open to other machines: admin has no key", hint);
    }
    map.finish(report);
    Some(Admin { listen: Listen::plain(host, port), key })
}

fn bind(map: &mut MapReader<'_>, report: &mut Report) -> Option<String> {
    let (name, location) = (map.name("bind"), map.location_of("bind"));
    map.text("bind", report).and_then(|host| check_host(host, &name, location, report))
}

/// Checks a name or an address to bind. It is printed, so it must not contain the parts of a URL.
fn check_host(host: String, name: &str, location: Location, report: &mut Report) -> Option<String> {
    if is_host(&host) {
        return Some(host);
    }
    report.error(
        location,
        format!("{name} is not a host"),
        "write an IP address or a name; the port belongs into `port`",
    );
    None
}

/// Checks the address for browsers. It is printed, and pages show it.
fn check_url(url: String, name: &str, location: Location, report: &mut Report) -> Option<String> {
    let rest = ["http://", "https://", "//"].iter().find_map(|start| {
        let (scheme, rest) = url.split_at_checked(start.len())?;
        scheme.eq_ignore_ascii_case(start).then_some(rest)
    });
    let Some(rest) = rest else {
        report.error(location, format!("{name} is not a URL"), "write it like https://push.example.com");
        return None;
    };
    // The user and the password of a URL end at the last `@` of its authority. One that is not escaped may contain `/`.
    if rest.contains('@') {
        let hint = "delete them: nothing sends them, and pages would show them";
        report.error(location, format!("{name} contains a user or password"), hint);
        return None;
    }
    Some(url)
}

fn ssl(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<TlsFiles> {
    let name = map.name("ssl");
    let node = map.take("ssl")?;
    let mut map = MapReader::open(node, &name, &keys::SSL, report)?;
    let mut file = |key: &'static str| {
        if !map.has(key) {
            report.error(map.location, format!("{name} has no {key}"), format!("write `{key}: <file>`, PEM"));
        }
        map.file(key, folder, report)
    };
    let files = file("cert").zip(file("key"));
    map.finish(report);
    files.map(|(cert, key)| TlsFiles { cert, key })
}
