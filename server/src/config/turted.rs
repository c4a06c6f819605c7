//! `turted`: who the browsers of TURTED are, what they may join, and how backends push.
//!
//! **Architecture Invariant:** what is not written is closed. Without `ident` no user is accepted, without `push` nothing is
//! pushed, and without `join: open` a browser joins no channel before it is a user.

use super::application::{self, Application};
use super::credentials;
use super::keys;
use super::listen::Listen;
use super::reader::MapReader;
use super::report::Report;
use super::tree::Node;
use nodevent_protocol::key::Secret;
use std::path::Path;

/// The path of pushes.
const PATH: &str = "/push/";
/// The address that a port for pushes binds.
const BIND: &str = "127.0.0.1";

/// The settings of one namespace.
#[derive(Debug, Clone, Default)]
pub struct Turted {
    /// How users are verified.
    pub ident: Ident,
    /// Who may join channels.
    pub join: JoinPolicy,
    /// Who decides, if `ident` or `join` is `application`.
    pub application: Option<Application>,
    /// Whether browsers receive through which target a push reached them.
    pub has_via: bool,
    /// How backends push. `None`: they do not.
    pub push: Option<Push>,
}

/// How users are verified.
#[derive(Debug, Clone, Default)]
pub enum Ident {
    /// Not at all: none is accepted.
    #[default]
    Closed,
    /// Every name is accepted.
    AcceptAll,
    /// With a password that all users share.
    Password(Secret),
    /// With a token: the hash of `prefix`, the name and `suffix` in hexadecimal digits.
    Token {
        /// Before the name.
        prefix: String,
        /// After the name.
        suffix: String,
        /// The function.
        hash: Hash,
    },
    /// The application decides.
    Application,
}

/// A hash function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hash {
    /// MD5, the default of TURTED.
    #[default]
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Who may join channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JoinPolicy {
    /// Connections that are a user.
    #[default]
    Identified,
    /// Every connection.
    Open,
    /// Connections that the application admits to the channel.
    Application,
}

/// How backends push.
#[derive(Debug, Clone)]
pub struct Push {
    /// The path, with a slash at both ends.
    pub path: String,
    /// A listener for pushes alone. `None`: the public listeners accept them.
    pub listen: Option<Listen>,
    /// The password.
    pub password: Secret,
    /// The channel in the namespace's Redis that carries pushes too.
    pub redis_channel: Option<String>,
}

/// Reads `turted`.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Turted {
    let Some(mut map) = MapReader::open(node, path, &keys::TURTED, report) else { return Turted::default() };
    let location = map.location;
    let ident = map.word("ident", report);
    let password = credentials::one(&mut map, "ident_password", folder, report);
    let (prefix, suffix) = (map.text("token_prefix", report), map.text("token_suffix", report));
    let hash = hash(&mut map, report);
    let join = match map.word("join", report).as_deref() {
        Some("open") => JoinPolicy::Open,
        Some("application") => JoinPolicy::Application,
        _ => JoinPolicy::Identified,
    };
    let (application_path, has_application) = (map.name("application"), map.has("application"));
    let application =
        map.take("application").and_then(|node| application::target(node, &application_path, folder, report));
    let ident = match ident.as_deref() {
        Some("accept_all") => Ident::AcceptAll,
        Some("application") => Ident::Application,
        Some("password") => match password {
            Some(password) => Ident::Password(password),
            None => {
                let what = format!("{path} has `ident: password` and no password");
                report.error(location, what, "write `ident_password:`");
                Ident::Closed
            }
        },
        Some("token") => {
            if prefix.is_none() && suffix.is_none() {
                let what =
                    format!("{path} has `ident: token` without a prefix or suffix, so anyone can make tokens");
                report.error(location, what, "write `token_prefix:` or `token_suffix:`, a long random text");
            }
            Ident::Token { prefix: prefix.unwrap_or_default(), suffix: suffix.unwrap_or_default(), hash }
        }
        _ => Ident::Closed,
    };
    let asks = matches!(ident, Ident::Application) || join == JoinPolicy::Application;
    if asks && !has_application {
        let what = format!("{path} lets the application decide, and has no `application`");
        report.error(location, what, "write `application: {url: https://www.example.com/live/turted}`");
    }
    let push_path = map.name("push");
    let push = map.take("push").and_then(|node| read_push(node, &push_path, folder, report));
    let has_via = map.flag("via", report).unwrap_or(false);
    map.finish(report);
    Turted { ident, join, application, has_via, push }
}

/// Reads `token_hash`. As in TURTED, a name that is not known is MD5.
fn hash(map: &mut MapReader<'_>, report: &mut Report) -> Hash {
    let (name, location) = (map.name("token_hash"), map.location_of("token_hash"));
    match map.text("token_hash", report).as_deref() {
        None | Some("md5") => Hash::Md5,
        Some("sha1") => Hash::Sha1,
        Some("sha256") => Hash::Sha256,
        Some("sha512") => Hash::Sha512,
        Some(_) => {
            let what = format!("{name} is not a hash function of TURTED, so md5 is used");
            report.warn(location, what, "write md5, sha1, sha256 or sha512");
            Hash::Md5
        }
    }
}

fn read_push(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Push> {
    let mut map = MapReader::open(node, path, &keys::TURTED_PUSH, report)?;
    let location = map.location_of("path");
    let url_path = map.text("path", report).unwrap_or_else(|| PATH.to_owned());
    let is_path = url_path.starts_with('/') && url_path.ends_with('/') && url_path.len() > 2;
    if !is_path || url_path.contains(['?', '#', ' ', '%']) || url_path.starts_with("/api/") {
        let what = format!("{path}.path is not a path of pushes");
        report.error(location, what, "write a path with a slash at both ends, like /push/");
    }
    let location = map.location_of("bind");
    let (port, bind) = (map.number("port", report), map.text("bind", report));
    if bind.is_some() && port.is_none() {
        report.error(location, format!("{path} has `bind` and no `port`"), "write `port: 7117`");
    }
    let listen = port.map(|port| Listen::plain(bind.unwrap_or_else(|| BIND.to_owned()), port));
    let is_written = map.has("password") || map.has("password_file");
    let password = credentials::one(&mut map, "password", folder, report);
    if !is_written {
        let what = format!("{path} has no password, so anyone could push");
        report.error(map.location, what, "write `password: <random text>`");
    }
    let redis_channel = map.text("redis_channel", report);
    map.finish(report);
    Some(Push { path: url_path, listen, password: password?, redis_channel })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn turted(text: &str) -> Turted {
        let text = format!("/: {{dialect: turted, turted: {text}}}\n");
        Config::from_yaml(&text).unwrap_or_else(|report| panic!("{report}")).namespaces[0].turted.clone().unwrap()
    }

    #[test]
    fn what_is_not_written_is_closed() {
        // T-08, T-42
        let closed = turted("{}");
        assert!(matches!(closed.ident, Ident::Closed));
        assert_eq!((closed.join, closed.push.is_none(), closed.has_via), (JoinPolicy::Identified, true, false));
        assert!(matches!(turted("{ident: accept_all}").ident, Ident::AcceptAll));
        assert!(!Config::from_yaml("/: {dialect: turted}\n").unwrap().namespaces[0].is_open());
    }

    #[test]
    fn path_and_port_of_pushes_have_the_defaults_of_the_sample() {
        // T-28
        let push = turted("{push: {password: IamAllowed2PUSH!!!, port: 7117}}").push.unwrap();
        assert_eq!((&*push.path, push.listen), ("/push/", Some(Listen::plain("127.0.0.1".into(), 7117))));
    }

    #[test]
    fn a_hash_function_that_is_not_known_is_md5() {
        // T-09
        let text =
            "/: {dialect: turted, turted: {ident: token, token_prefix: abcdefghijklmnop, token_hash: crc}}\n";
        let Ident::Token { hash, .. } =
            Config::from_yaml(text).unwrap().namespaces[0].turted.clone().unwrap().ident
        else {
            panic!("no tokens")
        };
        assert_eq!(hash, Hash::Md5);
    }

    #[test]
    fn mistakes_are_reported_with_their_fix() {
        for (text, error) in [
            ("{ident: password}", "`ident: password` and no password"),
            ("{ident: anything}", "turted.ident is not one of its words"),
            ("{ident: token}", "anyone can make tokens"),
            ("{ident: application}", "has no `application`"),
            ("{join: application}", "has no `application`"),
            ("{push: {}}", "/.turted.push has no password"),
            ("{push: {password: \"\"}}", "password is empty"),
            ("{push: {password: 0123456789abcdef, path: push}}", "is not a path of pushes"),
            ("{push: {password: 0123456789abcdef, bind: 0.0.0.0}}", "`bind` and no `port`"),
            ("{push: {password: 0123456789abcdef, redis_channel: turted}}", "has no `redis`"),
        ] {
            let report = Config::from_yaml(&format!("/:\n  dialect: turted\n  turted: {text}\n")).unwrap_err();
            assert!(report.to_string().contains(error), "{text}: {report}");
        }
    }
}
