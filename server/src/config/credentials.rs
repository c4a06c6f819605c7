//! Secrets and publish keys: written in the file, or in files of their own.
//!
//! Owns which values can be a secret. No error contains one.

use super::keys;
use super::reader::{MapReader, check_credential, shown_path};
use super::report::{Location, Report};
use super::tree::{Node, Value};
use crate::publish_key::{NamePattern, PublishKey, TargetLimit};
use nodevent_protocol::key::Secret;
use std::io::Read as _;
use std::path::Path;

/// Secrets shorter than this can be found by brute force. Bytes.
const MIN_SECRET_BYTES: usize = 16;
/// Maximum size of a file that contains a secret. A larger file is not a secret. Bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Hint for an empty secret.
const EMPTY_HINT: &str = "write a long random text, e.g. from `openssl rand -hex 32`; for a namespace that every client may \
                          join, delete the key and write `open: true`";

/// Reads `secret`, `secret_file` and `secrets`. Returns `None` if none of them is written.
pub(super) fn secrets(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<Vec<Secret>> {
    several(map, ["secret", "secret_file", "secrets"], folder, report)
}

/// Reads the keys for one secret, for its file, and for a list of secrets. Returns `None` if none of them is written.
pub(super) fn several(
    map: &mut MapReader<'_>,
    names: [&'static str; 3],
    folder: &Path,
    report: &mut Report,
) -> Option<Vec<Secret>> {
    let [single, _, list] = names;
    let is_written = names.iter().any(|key| map.has(key));
    let mut all = Vec::new();
    all.extend(one(map, single, folder, report));
    if let Some(entry) = map.take_entry(list) {
        let name = map.name(list);
        let node = &entry.node;
        match &node.value {
            Value::List(list) if !list.is_empty() => {
                for (index, node) in list.iter().enumerate() {
                    all.extend(entry_of_list(node, &format!("{name}[{index}]"), folder, report));
                }
            }
            Value::List(_) | Value::Null if list == "secrets" => {
                report.error(node.location, format!("{name} is empty, so every client could join"), EMPTY_HINT);
            }
            Value::List(_) | Value::Null => {
                report.error(node.location, format!("{name} is empty"), "write a list of secrets, or delete it");
            }
            _ => report.error(
                node.location,
                format!("{name} is not a list"),
                format!("write `{list}: [{{id: a, secret: …}}]`, or `{single}: …`"),
            ),
        }
    }
    is_written.then_some(all)
}

fn entry_of_list(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<Secret> {
    if !matches!(node.value, Value::Map(_)) {
        return from_node(node, path, report);
    }
    let mut map = MapReader::open(node, path, &keys::SECRET_ENTRY, report)?;
    map.take("id");
    let is_written = map.has("secret") || map.has("secret_file");
    let secret = one(&mut map, "secret", folder, report);
    if !is_written {
        report.error(map.location, format!("{path} has no secret"), "write `secret: <random text>`");
    }
    map.finish_strictly(report);
    secret
}

/// Reads `publish_key`, `publish_key_file` and `publish_keys`. Returns `None` if none of them is written.
pub(super) fn publish_keys(map: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<Vec<PublishKey>> {
    let is_written = ["publish_key", "publish_key_file", "publish_keys"].iter().any(|key| map.has(key));
    let unlimited = |id: &str, key| PublishKey { id: id.to_owned(), key, limit: None, may_revoke: true };
    let mut all: Vec<PublishKey> = Vec::new();
    all.extend(one(map, "publish_key", folder, report).map(|key| unlimited("publish_key", key)));
    let name = map.name("publish_keys");
    match map.take_entry("publish_keys").map(|entry| (&entry.node.value, entry.node.location)) {
        None => {}
        Some((Value::List(list), _)) if !list.is_empty() => {
            for (index, node) in list.iter().enumerate() {
                let path = format!("{name}[{index}]");
                match node.value {
                    Value::Map(_) => all.extend(publish_key_entry(node, &path, &index.to_string(), folder, report)),
                    _ => all.extend(from_node(node, &path, report).map(|key| unlimited(&index.to_string(), key))),
                }
            }
        }
        Some((_, location)) => {
            report.error(
                location,
                format!("{name} is not a list of keys"),
                "write `publish_keys: [{id: a, key: …}]`",
            );
        }
    }
    is_written.then_some(all)
}

fn publish_key_entry(
    node: &Node,
    path: &str,
    number: &str,
    folder: &Path,
    report: &mut Report,
) -> Option<PublishKey> {
    let mut map = MapReader::open(node, path, &keys::PUBLISH_KEY_ENTRY, report)?;
    let id = map.text("id", report).unwrap_or_else(|| number.to_owned());
    let is_written = map.has("key") || map.has("key_file");
    let key = one(&mut map, "key", folder, report);
    if !is_written {
        report.error(map.location, format!("{path} has no key"), "write `key: <random text>`");
    }
    let limited_by = ["rooms", "users", "broadcast"].into_iter().find(|name| map.has(name));
    let location = limited_by.map(|name| map.location_of(name));
    let rooms = patterns(&mut map, path, "rooms", report);
    let users = patterns(&mut map, path, "users", report);
    let broadcast = map.flag("broadcast", report).unwrap_or(false);
    if let Some(location) = location.filter(|_| rooms.is_empty() && users.is_empty() && !broadcast) {
        let hint =
            "write `rooms`, `users` or `broadcast: true`; or delete them if the key may publish to everything";
        report.error(location, format!("{path} may publish to nothing"), hint);
    }
    let may_revoke = map.flag("revoke", report).unwrap_or(limited_by.is_none());
    map.finish_strictly(report);
    let limit = limited_by.map(|_| TargetLimit { rooms, users, broadcast });
    key.map(|key| PublishKey { id, key, limit, may_revoke })
}

/// Reads `rooms` or `users` of a publish key.
fn patterns(map: &mut MapReader<'_>, path: &str, name: &'static str, report: &mut Report) -> Vec<NamePattern> {
    let (is_written, location) = (map.has(name), map.location_of(name));
    let (mut patterns, texts) = (Vec::new(), map.texts(name, report));
    let is_empty = texts.is_empty();
    for (text, location) in texts {
        match NamePattern::parse(&text) {
            Some(pattern) => patterns.push(pattern),
            None => report.error(
                location,
                format!("{path}.{name} has an entry with a `*` before its end"),
                "write a name, or its beginning followed by `*`, like Chat_*",
            ),
        }
    }
    if is_written && is_empty {
        let hint = format!("write the {name} to which the key may publish, or delete `{name}`");
        report.error(location, format!("{path}.{name} is empty"), hint);
    }
    patterns
}

/// Reads `key`, or the file that `key` with `_file` names.
pub(super) fn one(
    map: &mut MapReader<'_>,
    key: &'static str,
    folder: &Path,
    report: &mut Report,
) -> Option<Secret> {
    let (name, file_key) = match key {
        "secret" => (map.name(key), "secret_file"),
        "key" => (map.name(key), "key_file"),
        "authorization" => (map.name(key), "authorization_file"),
        "password" => (map.name(key), "password_file"),
        "ident_password" => (map.name(key), "ident_password_file"),
        "secret_key_base" => (map.name(key), "secret_key_base_file"),
        "signed_stream_key" => (map.name(key), "signed_stream_key_file"),
        _ => (map.name(key), "publish_key_file"),
    };
    let file_name = map.name(file_key);
    let (written, file) = (map.take_entry(key), map.take_entry(file_key));
    if let (Some(_), Some(file)) = (written, file) {
        report.error(file.location, format!("{name} and {file_name} are both written"), "delete one of them");
        return None;
    }
    if let Some(entry) = written {
        return from_node(&entry.node, &name, report);
    }
    let text = read_file(&file?.node, &file_name, folder, report)?;
    check(&text, file?.node.location, &file_name, report)
}

/// Reads a secret that is written in the file.
fn from_node(node: &Node, name: &str, report: &mut Report) -> Option<Secret> {
    match &node.value {
        Value::Scalar(text) if text.trim().is_empty() => {
            report.error(
                node.location,
                format!("{name} is empty, so anyone could forge what it signs"),
                EMPTY_HINT,
            );
            None
        }
        Value::Scalar(text) => {
            let (text, location) = check_credential(text, node, name, report)?;
            check(&text, location, name, report)
        }
        // A variable that the environment lacks has been reported already.
        Value::Null if !node.is_literal => None,
        Value::Null => {
            report_empty(node, name, report);
            None
        }
        _ => {
            report.error(node.location, format!("{name} is not text"), "write one value");
            None
        }
    }
}

fn report_empty(node: &Node, name: &str, report: &mut Report) {
    let (what, hint) = match name.contains("publish_key") {
        true => ("anyone could publish", "write a long random text, or delete the key: then `publish` decides"),
        false => ("every client could join", EMPTY_HINT),
    };
    report.error(node.location, format!("{name} is empty, so {what}"), hint);
}

fn check(text: &str, location: Location, name: &str, report: &mut Report) -> Option<Secret> {
    let secret = Secret::new(text).ok()?;
    if text.len() < MIN_SECRET_BYTES {
        let what = format!("{name} is only {} bytes long and can be brute-forced", text.len());
        report.warn(location, what, "use 32 random bytes or more, e.g. from `openssl rand -hex 32`");
    }
    Some(secret)
}

/// Reads a secret from the file that a value names. A line break at its end is not part of it.
pub(super) fn read_file(node: &Node, name: &str, folder: &Path, report: &mut Report) -> Option<String> {
    let Some(file) = node.scalar().filter(|file| !file.trim().is_empty()) else {
        if node.is_literal || node.value != Value::Null {
            report.error(node.location, format!("{name} is empty"), "write the path of a file, or delete the key");
        }
        return None;
    };
    let path = folder.join(file);
    let problem = match read_text(&path) {
        Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
        Ok(text) if text.trim() != text || text.chars().any(char::is_control) => {
            "contains white space at an end, several lines, or control characters".to_owned()
        }
        Ok(text) => {
            if is_world_readable(&path) {
                let what = format!("{name}: every user of this machine can read {}", path.display());
                report.warn(node.location, what, format!("chmod 600 {}", path.display()));
            }
            return Some(text);
        }
        Err(error) => error,
    };
    report.error(
        node.location,
        format!("{name}: {} {problem}", shown_path(&path, file)),
        "name a file that contains the secret",
    );
    None
}

/// Returns the text of a small file without the line break at its end.
///
/// # Errors
/// Returns the reason, without the text.
pub fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > MAX_FILE_BYTES {
        return Err("is larger than 64 KB".to_owned());
    }
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    Ok(text)
}

/// Whether every user of the machine can read a file.
pub(super) fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}
