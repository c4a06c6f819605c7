//! `token`: the tokens of a namespace, and the secrets and public keys that verify them.
//!
//! Owns how they are written. Which keys are acceptable is decided by [`crate::token`].

use super::application::{self, KeySet};
use super::credentials;
use super::keys;
use super::reader::{MapReader, shown_path};
use super::report::{Location, Report};
use super::tree::{Node, Value};
use super::values::parse_date;
use crate::clock::now_ms;
use crate::token::{ALGORITHMS, MAX_KEY_ID_BYTES, Settings, TokenKey, TokenSource};
use std::path::Path;

/// Secrets shorter than this are shorter than the result of SHA-256, so they weaken it. RFC 7518, section 3.2. Bytes.
const MIN_SECRET_BYTES: usize = 32;
/// Secrets and public keys of one namespace. A token without `kid` may be compared with all of them.
const MAX_KEYS: usize = 16;

/// Reads `token`. Settings that are wrong are reported, and leave a namespace that accepts no token.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> (Settings, Option<KeySet>) {
    let mut settings = Settings::default();
    let Some(mut map) = MapReader::open(node, path, &keys::TOKEN, report) else { return (settings, None) };
    let is_written =
        ["secret", "secret_file", "secrets", "public_key_file", "public_keys", "jwks_file", "jwks_url"]
            .iter()
            .any(|key| map.has(key));
    settings.keys.extend(secret(&mut map, folder, report));
    settings.keys.extend(entries(&mut map, "secrets", report, |map, report| {
        let is_written = map.has("secret") || map.has("secret_file");
        let key = secret(map, folder, report);
        (is_written, key)
    }));
    settings.keys.extend(public_key(&mut map, folder, report));
    settings.keys.extend(entries(&mut map, "public_keys", report, |map, report| {
        let is_written = map.has("public_key_file");
        (is_written, public_key(map, folder, report))
    }));
    settings.keys.extend(key_set(&mut map, folder, report));
    let remote = application::key_set(&mut map, folder, report);
    check_keys(&settings.keys, is_written, &map, now_ms(), report);
    for key in ["algorithms", "aud", "iss"] {
        check_list(&map, key, report);
    }
    let location = map.location_of("algorithms");
    let words = map.texts("algorithms", report);
    if !words.is_empty() {
        settings.algorithms = algorithms(&words, &map.name("algorithms"), report);
        let is_used = |key: &TokenKey| settings.algorithms.iter().any(|algorithm| key.can_use(*algorithm));
        if !settings.algorithms.is_empty() && !settings.keys.iter().all(is_used) {
            let what = format!("{path} has a key that none of its algorithms can use");
            report.error(location, what, "add its algorithm to `algorithms`, or delete the key");
        }
    }
    settings.audiences = map.texts("aud", report).into_iter().map(|(text, _)| text).collect();
    settings.issuers = map.texts("iss", report).into_iter().map(|(text, _)| text).collect();
    settings.leeway = map.duration("leeway", report).unwrap_or(settings.leeway);
    settings.max_lifetime = map.positive_duration("max_lifetime", report).unwrap_or(settings.max_lifetime);
    settings.grace = map.duration("grace", report).unwrap_or(settings.grace);
    settings.is_required = map.flag("required", report).unwrap_or(false);
    settings.sources = sources(&mut map, report);
    map.finish_strictly(report);
    (settings, remote)
}

/// Reads `secret` or `secret_file`.
fn secret(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<TokenKey> {
    let name = if map.has("secret_file") { "secret_file" } else { "secret" };
    let (full, location) = (map.name(name), map.location_of(name));
    let secret = credentials::one(map, "secret", folder, report)?;
    if secret.as_bytes().starts_with(b"-----BEGIN") {
        // With a public key as the secret, everyone who has this public key could sign tokens.
        let what = format!("{full} is a key in PEM, not a secret");
        report.error(location, what, "write a public key as `public_key_file`");
        return None;
    }
    if secret.as_bytes().len() < MIN_SECRET_BYTES {
        let what = format!("{full} is shorter than {MIN_SECRET_BYTES} bytes, so tokens are easier to forge");
        report.warn(location, what, "use 32 random bytes or more, e.g. from `openssl rand -hex 32`");
    }
    TokenKey::secret(&secret)
}

/// Reads `public_key_file`.
fn public_key(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<TokenKey> {
    let (text, location) = file(map, "public_key_file", folder, report)?;
    let name = map.name("public_key_file");
    TokenKey::public(&text)
        .map_err(|error| report.error(location, format!("{name} {error}"), "name a file with a public key in PEM"))
        .ok()
}

/// Reads `jwks_file`.
fn key_set(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Vec<TokenKey> {
    let Some((text, location)) = file(map, "jwks_file", folder, report) else { return Vec::new() };
    let name = map.name("jwks_file");
    TokenKey::key_set(&text).unwrap_or_else(|error| {
        report.error(location, format!("{name} {error}"), "name a file with a JSON Web Key Set of public keys");
        Vec::new()
    })
}

/// Reads the file that a key names.
fn file(
    map: &mut MapReader<'_>,
    key: &'static str,
    folder: &Path,
    report: &mut Report,
) -> Option<(String, Location)> {
    let (name, location) = (map.name(key), map.location_of(key));
    let written = map.text(key, report)?;
    let path = folder.join(&written);
    match credentials::read_text(&path) {
        Ok(text) => Some((text, location)),
        Err(error) => {
            let what = format!("{name}: {} {error}", shown_path(&path, &written));
            report.error(location, what, "name a readable file");
            None
        }
    }
}

/// Reads a list of maps with a key, an optional `id` and an optional `until`. `read` returns whether a key is written,
/// and the key.
fn entries(
    map: &mut MapReader<'_>,
    key: &'static str,
    report: &mut Report,
    read: impl Fn(&mut MapReader<'_>, &mut Report) -> (bool, Option<TokenKey>),
) -> Vec<TokenKey> {
    let name = map.name(key);
    let Some(node) = map.take_entry(key).map(|entry| &entry.node) else { return Vec::new() };
    let (section, example) = match key {
        "secrets" => (&keys::TOKEN_SECRET, "secret: …"),
        _ => (&keys::TOKEN_PUBLIC_KEY, "public_key_file: …"),
    };
    let list = match &node.value {
        Value::List(list) if !list.is_empty() => list,
        _ => {
            let what = format!("{name} is not a list of keys");
            report.error(node.location, what, format!("write `{key}: [{{id: a, {example}}}]`"));
            return Vec::new();
        }
    };
    let mut all = Vec::new();
    for (index, node) in list.iter().enumerate() {
        let path = format!("{name}[{index}]");
        let Some(mut map) = MapReader::open(node, &path, section, report) else { continue };
        let (is_written, key) = read(&mut map, report);
        if !is_written {
            report.error(map.location, format!("{path} has no key"), format!("write `{example}`"));
        }
        let (id, until_ms) = (id(&mut map, report), until(&mut map, report));
        map.finish_strictly(report);
        all.extend(key.map(|key| key.with(id, until_ms)));
    }
    all
}

fn id(map: &mut MapReader<'_>, report: &mut Report) -> Option<String> {
    let (name, location) = (map.name("id"), map.location_of("id"));
    let id = map.text("id", report)?;
    if id.len() > MAX_KEY_ID_BYTES {
        report.error(location, format!("{name} is longer than {MAX_KEY_ID_BYTES} bytes"), "write a shorter one");
    }
    Some(id)
}

fn until(map: &mut MapReader<'_>, report: &mut Report) -> Option<u64> {
    let (name, location) = (map.name("until"), map.location_of("until"));
    let written = map.text("until", report)?;
    let until = parse_date(&written);
    if until.is_none() {
        let hint = "write a day in UTC like 2026-12-31, which is the last one, or a time like 2026-12-31T12:00:00Z";
        report.error(location, format!("{name} is not a date"), hint);
    }
    until
}

/// Checks all keys together.
fn check_keys(keys: &[TokenKey], is_written: bool, map: &MapReader<'_>, now_ms: u64, report: &mut Report) {
    let path = map.name("secret");
    let path = path.trim_end_matches(".secret");
    if !is_written {
        let what = format!("{path} has neither a secret nor a public key, so no token is valid");
        report.error(map.location, what, "write `secret:`, e.g. from `openssl rand -hex 32`");
    }
    if keys.len() > MAX_KEYS {
        let what = format!("{path} has more than {MAX_KEYS} secrets and public keys");
        report.error(map.location, what, "delete those that no token is signed with any more");
    }
    let has_duplicate = keys
        .iter()
        .enumerate()
        .any(|(index, key)| key.id.is_some() && keys[..index].iter().any(|other| other.id == key.id));
    if has_duplicate {
        let what = format!("{path} has two keys with the same id");
        report.error(map.location, what, "give each key an `id` of its own");
    }
    for key in keys.iter().filter(|key| key.has_ended(now_ms)) {
        let id = if key.id.is_some() { " with an id" } else { "" };
        let what = format!("{path} has a key{id} whose `until` has passed");
        report.warn(map.location, what, "delete the key");
    }
}

/// Rejects an empty list: it would allow everything, like a key that is missing.
fn check_list(map: &MapReader<'_>, key: &'static str, report: &mut Report) {
    let is_empty = |node: &Node| matches!(&node.value, Value::List(list) if list.is_empty());
    if let Some(node) = map.peek(key).filter(|node| is_empty(node)) {
        report.error(
            node.location,
            format!("{} is an empty list", map.name(key)),
            "write what is allowed, or delete the key",
        );
    }
}

fn algorithms(words: &[(String, Location)], name: &str, report: &mut Report) -> Vec<crate::token::Algorithm> {
    let mut algorithms = Vec::new();
    for (word, location) in words {
        match ALGORITHMS.iter().find(|(name, _)| name == word) {
            Some((_, algorithm)) if !algorithms.contains(algorithm) => algorithms.push(*algorithm),
            Some(_) => {}
            None => {
                let names: Vec<&str> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
                let hint = format!("write one of {}", names.join(", "));
                report.error(*location, format!("{name} has an entry that is not supported"), hint);
            }
        }
    }
    algorithms
}

/// Reads where a request for a connection may contain a token.
fn sources(map: &mut MapReader<'_>, report: &mut Report) -> Vec<TokenSource> {
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let mut sources = Vec::new();
    for key in ["header", "cookie", "query"] {
        let (name, location) = (map.name(key), map.location_of(key));
        let Some(text) = map.text(key, report) else { continue };
        if !is_name(&text) {
            let what = format!("{name} contains a character other than letters, digits, `-`, `_` and `.`");
            report.error(location, what, "write the name only");
            continue;
        }
        sources.push(match key {
            "header" => TokenSource::Header(text.to_ascii_lowercase().into()),
            "cookie" => TokenSource::Cookie(text.into()),
            _ => TokenSource::Query(text.into()),
        });
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use crate::token::Algorithm;
    use std::time::Duration;

    const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

    /// The public keys of the vectors: PEM of RSA and EC, and a key set.
    fn public_keys() -> [String; 3] {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/tokens.json");
        let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let pem = |name: &str| vectors["public_keys"][name].as_str().unwrap().to_owned();
        [pem("rsa"), pem("ec"), vectors["jwks"].to_string()]
    }

    /// Reads a namespace with this `token`, in a folder with the files `rsa.pem`, `ec.pem`, `jwks.json` and `secret`.
    fn read(token: &str) -> Result<(Settings, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        let [rsa, ec, jwks] = public_keys();
        for (name, text) in [("rsa.pem", &*rsa), ("ec.pem", &*ec), ("jwks.json", &*jwks), ("secret", SECRET)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("nodevent.yml");
        std::fs::write(&file, format!("/a:\n  open: true\n  token: {token}\n")).unwrap();
        let loaded = load(Some(&file)).map_err(|report| report.to_string())?;
        Ok((loaded.config.namespaces[0].token.clone().unwrap(), loaded.warnings))
    }

    fn ids(settings: &Settings) -> Vec<Option<&str>> {
        settings.keys.iter().map(|key| key.id.as_deref()).collect()
    }

    #[test]
    fn every_kind_of_key_is_read() {
        let written = format!(
            "{{secret_file: secret, secrets: [{{id: new, secret: {SECRET}1}}, {{id: old, secret_file: secret, until: 2099-12-31}}], \
             public_key_file: rsa.pem, public_keys: [{{id: ec, public_key_file: ec.pem, until: \"2099-01-01T00:00:00Z\"}}], \
             jwks_file: jwks.json}}"
        );
        let (settings, _) = read(&written).unwrap();
        let expected = [None, Some("new"), Some("old"), None, Some("ec"), Some("jwks-rsa"), Some("jwks-ec")];
        assert_eq!(ids(&settings), expected);
        let until: Vec<Option<u64>> = settings.keys.iter().map(|key| key.until_ms).collect();
        let (day, time) = (Some(4_102_444_799_999), Some(4_070_908_800_000));
        assert_eq!(until, [None, None, day, None, time, None, None]);
        assert!(settings.keys[0].can_use(Algorithm::HS512) && !settings.keys[0].can_use(Algorithm::RS256));
        assert!(settings.keys[3].can_use(Algorithm::RS256) && settings.keys[4].can_use(Algorithm::ES256));
    }

    #[test]
    fn settings_have_defaults_and_can_be_changed() {
        let (settings, warnings) = read(&format!("{{secret: {SECRET}}}")).unwrap();
        assert_eq!(settings.leeway, Duration::from_secs(30));
        assert_eq!((settings.is_required, settings.sources.len(), settings.algorithms.len()), (false, 0, 5));
        assert!(!warnings.iter().any(|line| line.contains("token")), "{warnings:?}");
        let (settings, _) = read(&format!(
            "{{secret: {SECRET}, algorithms: [HS256], aud: live, iss: [a, b], leeway: 1s, max_lifetime: 2h, grace: 0s, \
             required: true, header: X-Token, cookie: c, query: q}}"
        ))
        .unwrap();
        assert_eq!(
            (settings.audiences, settings.issuers),
            (vec!["live".to_owned()], vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(settings.algorithms, [Algorithm::HS256]);
        assert_eq!((settings.leeway, settings.grace), (Duration::from_secs(1), Duration::ZERO));
        assert_eq!((settings.max_lifetime, settings.is_required), (Duration::from_secs(7200), true));
        let sources = [
            TokenSource::Header("x-token".into()),
            TokenSource::Cookie("c".into()),
            TokenSource::Query("q".into()),
        ];
        assert_eq!(settings.sources, sources);
    }

    #[test]
    fn mistakes_are_errors_that_name_the_key() {
        for (written, part) in [
            ("{}", "/a.token has neither a secret nor a public key"),
            ("", "/a.token has neither a secret nor a public key"),
            ("x", "/a.token has no keys"),
            ("{secret: x, secret_file: secret}", "both written"),
            ("{secrets: []}", "/a.token.secrets is not a list of keys"),
            ("{secrets: [{id: a}]}", "/a.token.secrets[0] has no key"),
            ("{secrets: [{secret: SECRET, until: tomorrow}]}", "/a.token.secrets[0].until is not a date"),
            ("{secrets: [{id: a, secret: SECRET}, {id: a, secret: SECRET}]}", "two keys with the same id"),
            ("{public_key_file: secret}", "/a.token.public_key_file is not a public key"),
            ("{public_key_file: missing.pem}", "/a.token.public_key_file: the file cannot be read"),
            ("{jwks_file: rsa.pem}", "/a.token.jwks_file is not a JSON Web Key Set"),
            ("{secret: SECRET, algorithms: [none]}", "/a.token.algorithms has an entry that is not supported"),
            ("{secret: SECRET, algorithms: [RS256]}", "has a key that none of its algorithms can use"),
            ("{secret: SECRET, cookie: \"a;b\"}", "/a.token.cookie contains a character"),
            ("{secret: SECRET, max_lifetime: 0s}", "/a.token.max_lifetime is 0"),
            (
                "{secret: \"-----BEGIN PUBLIC KEY----- x -----END PUBLIC KEY-----\"}",
                "/a.token.secret is a key in PEM",
            ),
        ] {
            let error = read(&written.replace("SECRET", SECRET)).map(drop).unwrap_err();
            assert!(error.contains(part), "{written}: {error}");
            assert!(!error.contains(SECRET), "{written}: {error}");
        }
        let many: Vec<String> = (0..17).map(|id| format!("{{id: {id}, secret: {SECRET}{id}}}")).collect();
        assert!(
            read(&format!("{{secrets: [{}]}}", many.join(", "))).map(drop).unwrap_err().contains("more than 16")
        );
    }

    #[test]
    fn a_short_secret_and_one_that_has_ended_are_warnings() {
        let (_, warnings) = read("{secret: sixteen-bytes-long}").unwrap();
        assert!(warnings.iter().any(|line| line.contains("shorter than 32 bytes")), "{warnings:?}");
        let (_, warnings) = read(&format!("{{secrets: [{{secret: {SECRET}, until: 2020-01-01}}]}}")).unwrap();
        assert!(warnings.iter().any(|line| line.contains("whose `until` has passed")), "{warnings:?}");
    }
}
