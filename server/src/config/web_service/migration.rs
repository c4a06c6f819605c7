//! Our configuration as text, with each secret in a file of its own.
//!
//! Knows which of our keys are secret, and nothing of the old files. Writing the files is the task of `nodevent migrate`.

use super::super::tree::{Entry, Node, Value};
use std::fmt::Write as _;

/// The name of the configuration.
pub const FILE: &str = "nodevent.yml";
/// The folder of the secrets, next to it.
pub const SECRETS: &str = "secrets";
/// The lines above the keys.
const HEAD: &str = "# Written by `nodevent migrate --web-service` from the files of SocketIO Web Service.\n\
                    # docs/configuration.md explains every key.\n";

/// A configuration of ours, ready to be written.
#[derive(Clone)]
pub struct Migration {
    /// The text of `nodevent.yml`.
    pub text: String,
    /// The files that it names.
    pub secrets: Vec<SecretFile>,
    /// Keys that cannot be written, because our file would replace `${…}` in their values.
    pub impossible: Vec<String>,
}

/// A file with a secret.
#[derive(Clone)]
pub struct SecretFile {
    /// Its path relative to the configuration.
    pub path: String,
    /// The secret. Never print it.
    pub secret: String,
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile").field("path", &self.path).finish_non_exhaustive()
    }
}

// === impl Migration ===

impl Migration {
    /// Writes a tree.
    pub(super) fn of(root: &Node) -> Self {
        let mut migration = Self { text: HEAD.to_owned(), secrets: Vec::new(), impossible: Vec::new() };
        migration.write(root.entries().unwrap_or_default(), "", 0);
        migration
    }

    fn write(&mut self, entries: &[Entry], path: &str, indent: usize) {
        for entry in entries {
            let full = if path.is_empty() { entry.name.clone() } else { format!("{path}.{}", entry.name) };
            let _ = write!(self.text, "{:indent$}", "");
            match &entry.node.value {
                Value::Map(below) => {
                    let _ = writeln!(self.text, "{}:", quoted(&entry.name));
                    self.write(below, &full, indent + 2);
                }
                Value::List(list) => {
                    let texts: Vec<String> = list.iter().filter_map(Node::scalar).map(quoted).collect();
                    let _ = writeln!(self.text, "{}: [{}]", entry.name, texts.join(", "));
                }
                Value::Scalar(secret) if matches!(entry.name.as_str(), "publish_key" | "password") => {
                    let file = self.secret_file(&full, secret);
                    let _ = writeln!(self.text, "{}_file: {}", entry.name, quoted(&file));
                }
                Value::Scalar(text) => {
                    if text.contains("${") {
                        self.impossible.push(full);
                    }
                    let _ = writeln!(self.text, "{}: {}", entry.name, quoted(text));
                }
                Value::Null => {
                    let _ = writeln!(self.text, "{}:", entry.name);
                }
            }
        }
    }

    /// Returns the name of the file with a secret. Namespaces that share a secret share its file.
    fn secret_file(&mut self, path: &str, secret: &str) -> String {
        let kind = path.rsplit('.').next().unwrap_or_default();
        // All namespaces have the same Redis.
        let name = match kind {
            "password" => "redis_password".to_owned(),
            _ => path.trim_start_matches('/').replace('/', "_"),
        };
        // `/a/b` and `/a_b` have the same name.
        let is_taken = |file: &str| self.secrets.iter().any(|one| one.path == file && one.secret != secret);
        let mut file = format!("{SECRETS}/{name}");
        let mut number = 1;
        while is_taken(&file) {
            number += 1;
            file = format!("{SECRETS}/{name}_{number}");
        }
        if !self.secrets.iter().any(|one| one.path == file) {
            self.secrets.push(SecretFile { path: file.clone(), secret: secret.to_owned() });
        }
        file
    }
}

/// Writes a scalar that our reader reads as the same text: plain if it is a simple word, a number or a flag, otherwise in
/// quotes.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let is_word =
        !["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    let is_flag = matches!(text, "true" | "false");
    match (starts_plain && text.chars().all(is_plain) && is_word) || is_flag {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}
