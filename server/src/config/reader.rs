//! Reads the values of one map, key by key, with the types of the registry.
//!
//! Owns the wording of errors about types, blank values and unknown keys. Does not know what a key is for.

use super::keys::{Key, Kind, Section};
use super::report::{Location, Report};
use super::secret::Redacted;
use super::tree::{Entry, Node, Value};
use super::values::{parse_duration, parse_number, parse_size};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Minimum similarity of an unknown key to a known one for a suggestion; 1 is equal.
const SIMILARITY: f64 = 0.8;

/// Keys that restrict what clients and publishers may do. Without them more is allowed.
const RESTRICTING: [&str; 10] = [
    "secret",
    "secret_file",
    "secrets",
    "token",
    "auth",
    "bound_keys",
    "max_key_lifetime",
    "publish_key",
    "publish_key_file",
    "publish_keys",
];

/// A map that is being read. Keys that are not taken are unknown keys.
pub(super) struct MapReader<'a> {
    entries: Vec<&'a Entry>,
    /// The dotted name of the map, for the report.
    path: String,
    sections: Vec<&'static Section>,
    /// The names that were asked for.
    asked: Vec<&'static str>,
    /// Location of the map.
    pub(super) location: Location,
}

// === impl MapReader ===

impl<'a> MapReader<'a> {
    /// Starts to read `node` as a map with the keys of `section`. Returns `None` after reporting that it is not a map.
    pub(super) fn open(node: &'a Node, path: &str, section: &'static Section, report: &mut Report) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            Value::Null => Vec::new(),
            _ => {
                let name = if path.is_empty() { "the file" } else { path };
                report.error(node.location, format!("{name} has no keys"), "write `key: value` lines below it");
                return None;
            }
        };
        Some(Self {
            entries,
            path: path.to_owned(),
            sections: vec![section],
            asked: Vec::new(),
            location: node.location,
        })
    }

    /// Adds the keys of another section.
    pub(super) fn with(mut self, section: &'static Section) -> Self {
        self.sections.push(section);
        self
    }

    /// Returns a key's name with the names before it.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Returns the location of a key's value, or of the map.
    pub(super) fn location_of(&self, name: &'static str) -> Location {
        self.position(name).map_or(self.location, |index| self.entries[index].node.location)
    }

    /// The value of a key, which is not taken.
    pub(super) fn peek(&self, name: &'static str) -> Option<&Node> {
        self.position(name).map(|index| &self.entries[index].node)
    }

    /// Whether the key is written, with or without a value.
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.position(name).is_some()
    }

    fn position(&self, name: &'static str) -> Option<usize> {
        let key = self.key(name)?;
        let named = |wanted: &str| self.entries.iter().position(|entry| entry.name == wanted);
        named(key.name).or_else(|| key.old_names.iter().find_map(|old| named(old)))
    }

    fn key(&self, name: &'static str) -> Option<&'static Key> {
        let key = self.sections.iter().find_map(|section| section.find(name));
        debug_assert!(key.is_some(), "the registry has no key {name} for {}", self.path);
        key
    }

    /// Takes the entry of a key, whether it has a value or not.
    pub(super) fn take_entry(&mut self, name: &'static str) -> Option<&'a Entry> {
        self.asked.push(name);
        let index = self.position(name)?;
        Some(self.entries.remove(index))
    }

    /// Takes the value of a key. Returns `None` if the key has no value.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.take_entry(name).map(|entry| &entry.node).filter(|node| node.value != Value::Null)
    }

    /// Takes the entries whose names are wanted, although the registry does not have them.
    pub(super) fn take_unknown(&mut self, is_wanted: impl Fn(&str) -> bool) -> Vec<&'a Entry> {
        let (taken, left) = self.entries.iter().partition(|entry| is_wanted(&entry.name));
        self.entries = left;
        taken
    }

    /// Returns the keys that the registry does not have.
    pub(super) fn unknown(&self) -> &[&'a Entry] {
        &self.entries
    }

    /// Returns the known key that is most similar to an unknown one.
    pub(super) fn suggestion(&self, unknown: &str) -> Option<&'static str> {
        let lower = unknown.to_lowercase();
        let keys = self.sections.iter().flat_map(|section| section.keys);
        keys.map(|key| (strsim::jaro_winkler(&lower, key.name), key.name))
            .filter(|(similarity, _)| *similarity > SIMILARITY)
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, name)| name)
    }

    /// Warns about the keys that were not taken. It is an error if one is similar to a key that restricts.
    pub(super) fn finish(self, report: &mut Report) {
        self.end(report, |known| known.is_some_and(|known| RESTRICTING.contains(&known)));
    }

    /// Rejects the keys that were not taken: the map says what is allowed, and without a key that is ignored more would be.
    pub(super) fn finish_strictly(self, report: &mut Report) {
        self.end(report, |_| true);
    }

    /// `is_error` decides about an unknown key by the known one that it is similar to.
    fn end(self, report: &mut Report, is_error: impl Fn(Option<&'static str>) -> bool) {
        if cfg!(debug_assertions) {
            for key in self.sections.iter().flat_map(|section| section.keys) {
                assert!(self.asked.contains(&key.name), "the registry has {}, which nothing reads", key.name);
            }
        }
        for entry in &self.entries {
            // One mistake has one line.
            if report.has_error_at(entry.location) {
                continue;
            }
            let known = self.suggestion(&entry.name);
            let shown = entry.shown_key(|name| self.suggestion(name).is_some());
            let what = format!("unknown key `{}`", self.name(&shown));
            match (is_error(known), known) {
                (true, Some(known)) => report.error(entry.location, what, format!("did you mean `{known}`?")),
                (true, None) => report.error(entry.location, what, "delete it"),
                (false, Some(known)) => {
                    report.warn(entry.location, what, format!("did you mean `{known}`? It is ignored"));
                }
                (false, None) => report.warn(entry.location, what, "it is ignored"),
            }
        }
    }

    /// Takes a scalar. Reports a key without a value.
    fn scalar(&mut self, name: &'static str, report: &mut Report) -> Option<(&'a str, &'a Node)> {
        let full = self.name(name);
        let entry = self.take_entry(name)?;
        match &entry.node.value {
            Value::Scalar(text) if !text.trim().is_empty() => Some((text, &entry.node)),
            Value::Scalar(_) | Value::Null => {
                // A variable that the environment lacks has been reported already.
                if entry.node.is_literal || entry.node.value != Value::Null {
                    report.error(
                        entry.node.location,
                        format!("{full} is empty"),
                        "write a value, or delete the key",
                    );
                }
                None
            }
            _ => {
                report.error(entry.node.location, format!("{full} is not text"), "write one value");
                None
            }
        }
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &'static str, report: &mut Report) -> Option<String> {
        self.scalar(name, report).map(|(text, _)| text.to_owned())
    }

    /// Takes one of the words of the registry.
    pub(super) fn word(&mut self, name: &'static str, report: &mut Report) -> Option<String> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        let words: &[&str] = match self.key(name)?.kind {
            Kind::Word(words) => words,
            _ => &[],
        };
        if words.contains(&text) {
            return Some(text.to_owned());
        }
        report.error(
            node.location,
            format!("{full} is not one of its words"),
            format!("write {}", words.join(" or ")),
        );
        None
    }

    /// Takes a whole number in the range of the registry.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &'static str, report: &mut Report) -> Option<T> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        let (min, max) = match self.key(name)?.kind {
            Kind::Number(min, max) => (min, max),
            _ => (0, u64::MAX),
        };
        let number =
            parse_number(text).filter(|number| (min..=max).contains(number)).and_then(|n| T::try_from(n).ok());
        if number.is_none() {
            let hint = format!("write a whole number from {min} to {max}");
            report.error(node.location, format!("{full} is not a valid number"), hint);
        }
        number
    }

    /// Takes a duration that is not 0: a timeout or an interval of 0 would close everything, or never pause.
    pub(super) fn positive_duration(&mut self, name: &'static str, report: &mut Report) -> Option<Duration> {
        let (full, location) = (self.name(name), self.location_of(name));
        let duration = self.duration(name, report)?;
        if duration.is_zero() {
            report.error(location, format!("{full} is 0"), "write a duration above 0, like 30s, 5m or 1h");
            return None;
        }
        Some(duration)
    }

    /// Takes a duration.
    pub(super) fn duration(&mut self, name: &'static str, report: &mut Report) -> Option<Duration> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        let duration = parse_duration(text);
        if duration.is_none() {
            let hint = "write a duration with its unit, like 30s, 5m or 1h";
            report.error(node.location, format!("{full} is not a valid duration"), hint);
        }
        duration
    }

    /// Takes a size in bytes.
    pub(super) fn size(&mut self, name: &'static str, report: &mut Report) -> Option<usize> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        let size = parse_size(text).filter(|size| *size > 0);
        if size.is_none() {
            let what = format!("{full} is not a valid size");
            report.error(node.location, what, "write a size like 64KB or 1MB");
        }
        size
    }

    /// Takes a flag.
    pub(super) fn flag(&mut self, name: &'static str, report: &mut Report) -> Option<bool> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => {
                let what = format!("{full} is neither true nor false");
                report.error(node.location, what, "write true or false");
                None
            }
        }
    }

    /// Takes one text, or a list of them. Words that YAML may take for no value, such as `null`, stay text in a list.
    pub(super) fn texts(&mut self, name: &'static str, report: &mut Report) -> Vec<(String, Location)> {
        let full = self.name(name);
        let Some(node) = self.take(name) else { return Vec::new() };
        let list = match &node.value {
            Value::List(list) => list.iter().collect(),
            _ => vec![node],
        };
        let mut texts = Vec::with_capacity(list.len());
        for one in list {
            match &one.value {
                Value::Scalar(text) if !text.trim().is_empty() => texts.push((text.clone(), one.location)),
                Value::Scalar(_) | Value::Null => {
                    if one.is_literal || one.value != Value::Null {
                        let hint = "write a value, or delete it; a word such as null must be in quotes";
                        report.error(one.location, format!("{full} has an empty entry"), hint);
                    }
                }
                _ => {
                    report.error(one.location, format!("{full} contains something other than text"), "write texts")
                }
            }
        }
        texts
    }

    /// Takes the path of a readable file, relative to `folder`.
    pub(super) fn file(&mut self, name: &'static str, folder: &Path, report: &mut Report) -> Option<PathBuf> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        let path = folder.join(text);
        match std::fs::File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                let what = format!("{full}: {} cannot be read: {error}", shown_path(&path, text));
                report.error(node.location, what, "name a readable file");
                None
            }
        }
    }

    /// Takes a password.
    pub(super) fn password(&mut self, name: &'static str, report: &mut Report) -> Option<Redacted> {
        self.credential(name, report).map(|(text, _)| Redacted::new(text))
    }

    /// Takes a text that must not be printed, and notes where it is written in the file itself.
    pub(super) fn credential(&mut self, name: &'static str, report: &mut Report) -> Option<(String, Location)> {
        let full = self.name(name);
        let (text, node) = self.scalar(name, report)?;
        check_credential(text, node, &full, report)
    }
}

/// Returns a path as a report may contain it: if there is such a file or folder. Otherwise the text may be a secret that
/// was written instead of the name of its file. `text` is what the file says.
pub(super) fn shown_path(path: &Path, text: &str) -> String {
    let is_below = |folder: &Path| folder.parent().is_some() && folder.is_dir();
    let names_a_folder = text.contains('/') && path.parent().is_some_and(is_below);
    match path.symlink_metadata().is_ok() || names_a_folder {
        true => path.display().to_string(),
        false => "the file".to_owned(),
    }
}

/// Checks a text that signs or opens something. The report never contains it.
pub(super) fn check_credential(
    text: &str,
    node: &Node,
    name: &str,
    report: &mut Report,
) -> Option<(String, Location)> {
    if node.is_literal {
        report.literal_secret.get_or_insert(node.location);
        if text.strip_prefix('$').is_some_and(super::environment::is_name) {
            let what = format!("{name} looks like a variable of the environment without braces");
            report.error(node.location, what, "write ${NAME}, which the server replaces");
            return None;
        }
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        let what = format!("{name} begins or ends with white space, or contains a line break or control character");
        let hint = "write it in one line, in quotes if necessary";
        report.error(node.location, what, hint);
        return None;
    }
    Some((text.to_owned(), node.location))
}
