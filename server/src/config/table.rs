//! Reading a map of the tree key by key: what is asked for is known, what is left over is warned about.

use super::report::{Place, Report};
use super::tree::{Node, Value};
use std::str::FromStr;
use std::time::Duration;

/// How alike a misspelt key must be for the right one to be suggested; 1 is equal.
const ALIKE: f64 = 0.7;

/// A map that is being read.
pub struct Table<'a> {
    entries: Vec<(&'a str, Place, &'a Node)>,
    /// Dotted names before its keys, for the report.
    path: String,
    known: Vec<&'static str>,
    /// Where the map stands.
    pub place: Place,
}

// === impl Table ===

impl<'a> Table<'a> {
    /// Begins to read `node`. `None`: it is no map, which is reported.
    pub fn open(node: &'a Node, path: &str, report: &mut Report) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => {
                entries.iter().map(|(name, place, node)| (name.as_str(), *place, node)).collect()
            }
            Value::Null => Vec::new(),
            _ => {
                let name = if path.is_empty() { "the file" } else { path };
                report.mistake(node.place, format!("{name} has no keys"), "write `key: value` lines below it");
                return None;
            }
        };
        Some(Self { entries, path: path.to_owned(), known: Vec::new(), place: node.place })
    }

    /// A key's name with the names before it.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Takes the value of the first of `names` that is there. The first is the name to write, others are old ones.
    pub fn take(&mut self, names: &[&'static str]) -> Option<&'a Node> {
        self.known.extend(names.first());
        let found = self.entries.iter().position(|(name, ..)| names.contains(name))?;
        let (.., node) = self.entries.remove(found);
        Some(node).filter(|node| node.value != Value::Null)
    }

    /// Takes all entries whose name begins with `prefix`.
    pub fn take_prefixed(&mut self, prefix: &str) -> Vec<(&'a str, Place, &'a Node)> {
        let (taken, left) = self.entries.iter().partition(|(name, ..)| name.starts_with(prefix));
        self.entries = left;
        taken
    }

    /// Warns about what nobody has asked for.
    pub fn finish(self, report: &mut Report) {
        for (name, place, _) in &self.entries {
            let near = self
                .known
                .iter()
                .map(|known| (strsim::jaro_winkler(name, known), known))
                .filter(|(alike, _)| *alike > ALIKE)
                .max_by(|one, other| one.0.total_cmp(&other.0));
            let remedy = match near {
                Some((_, known)) => format!("did you mean `{known}`? It is ignored"),
                None => "it is ignored".to_owned(),
            };
            report.warn(*place, format!("unknown key `{}`", self.name(name)), remedy);
        }
    }

    /// A text.
    pub fn text(&mut self, names: &[&'static str], report: &mut Report) -> Option<String> {
        let name = self.name(names[0]);
        let node = self.take(names)?;
        match &node.value {
            Value::Scalar(text) => Some(text.clone()),
            _ => {
                report.mistake(node.place, format!("{name} is not text"), "write one value");
                None
            }
        }
    }

    /// A whole number between `least` and `most`.
    pub fn number<T>(&mut self, names: &[&'static str], least: T, most: T, report: &mut Report) -> Option<T>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let place = self.place_of(names);
        let name = self.name(names[0]);
        let text = self.text(names, report)?;
        match text.parse::<T>() {
            Ok(number) if number >= least && number <= most => Some(number),
            _ => {
                let what = format!("{name} is `{text}`");
                report.mistake(place, what, format!("write a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// A duration: `500ms`, `30s`, `5m`, `1h`, `2d`, or plain seconds.
    pub fn duration(&mut self, names: &[&'static str], report: &mut Report) -> Option<Duration> {
        let place = self.place_of(names);
        let name = self.name(names[0]);
        let text = self.text(names, report)?;
        let read = parse_duration(&text);
        if read.is_none() {
            report.mistake(
                place,
                format!("{name} is `{text}`"),
                "write a duration with its unit, like 30s, 5m or 1h",
            );
        }
        read
    }

    /// A size in bytes: `64KB`, `1MB`, or plain bytes. One KB is 1,024 bytes.
    pub fn size(&mut self, names: &[&'static str], report: &mut Report) -> Option<usize> {
        let place = self.place_of(names);
        let name = self.name(names[0]);
        let text = self.text(names, report)?;
        let read = parse_size(&text).filter(|size| *size > 0);
        if read.is_none() {
            report.mistake(place, format!("{name} is `{text}`"), "write a size like 64KB or 1MB");
        }
        read
    }

    /// Yes or no.
    pub fn flag(&mut self, names: &[&'static str], report: &mut Report) -> Option<bool> {
        let place = self.place_of(names);
        let name = self.name(names[0]);
        let text = self.text(names, report)?;
        match text.as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => {
                report.mistake(place, format!("{name} is `{text}`"), "write true or false");
                None
            }
        }
    }

    /// One text, or a list of them.
    pub fn texts(&mut self, names: &[&'static str], report: &mut Report) -> Vec<(String, Place)> {
        let name = self.name(names[0]);
        let Some(node) = self.take(names) else { return Vec::new() };
        let list = match &node.value {
            Value::List(list) => list.iter().collect(),
            _ => vec![node],
        };
        let mut texts = Vec::with_capacity(list.len());
        for one in list {
            match &one.value {
                Value::Scalar(text) => texts.push((text.clone(), one.place)),
                _ => report.mistake(one.place, format!("{name} holds something else than text"), "write texts"),
            }
        }
        texts
    }

    /// Where the value of one of `names` stands, or else the map.
    pub fn place_of(&self, names: &[&str]) -> Place {
        let found = self.entries.iter().find(|(name, ..)| names.contains(name));
        found.map_or(self.place, |(.., node)| node.place)
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim())
}

/// Reads a duration: `500ms`, `30s`, `5m`, `1h`, `2d`, or plain seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text);
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" => 1 << 10,
        "M" | "MB" => 1 << 20,
        "G" | "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("500ms", 0.5), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("20", 20.0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "s", "5 weeks", "-1s", "1e9h", "5m3"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("64KB", 65_536), ("1 MB", 1_048_576), ("200", 200)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "KB", "1.5MB", "99999999999999999999", "64KiX"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
