//! Where each of our keys comes from, and what was made of each old key.
//!
//! Every value of the translated tree has a line of its own as its location: the number of its [`Source`]. So what the
//! readers of our configuration report can be shown with the old file, line and key. Does not know any key.

use super::super::report::{Diagnostic, Location, Report};
use super::super::tree::{Entry, Node, Value, shown_key};
use super::super::values::parse_number;
use std::path::Path;
use std::rc::Rc;

/// The name of the environment in reports.
const ENVIRONMENT: &str = "environment";
/// Minimum similarity of an unknown key to a known one for a suggestion; 1 is equal.
const SIMILARITY: f64 = 0.8;

/// The origin of one of our values.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The file, or the environment.
    pub(super) file: Rc<str>,
    /// Location in the file.
    pub(super) location: Option<Location>,
    /// The old key with those before it.
    pub(super) key: String,
    /// Whether it is written somewhere. Otherwise it is a default of the old program.
    pub(super) is_written: bool,
}

/// One old setting: a key of a file, or a variable of the environment.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The old key.
    pub(super) name: String,
    /// Its value.
    pub(super) node: Node,
    source: Source,
}

/// Builds the tree of our configuration.
pub(super) struct Mapper {
    sources: Vec<Source>,
    explanations: Vec<String>,
    report: Report,
}

// === impl Setting ===

impl Setting {
    /// The setting of a variable of the environment that takes the place of the key `name`.
    pub(super) fn of_variable(name: &str, variable: &str, value: String) -> Self {
        let source =
            Source { file: ENVIRONMENT.into(), location: None, key: variable.to_owned(), is_written: true };
        Self { name: name.to_owned(), node: Node::new(Location::START, Value::Scalar(value)), source }
    }

    /// The keys below this one.
    pub(super) fn below(&self) -> Vec<Self> {
        let entries = self.node.entries().unwrap_or_default();
        entries.iter().map(|entry| Self::of_entry(entry, &self.source.file, &self.source.key)).collect()
    }

    fn of_entry(entry: &Entry, file: &Rc<str>, path: &str) -> Self {
        let name = entry.shown_key(super::is_known);
        let key = if path.is_empty() { name } else { format!("{path}.{name}") };
        let source = Source { file: Rc::clone(file), location: Some(entry.location), key, is_written: true };
        Self { name: entry.name.clone(), node: entry.node.clone(), source }
    }

    /// The keys at the top of a file.
    pub(super) fn of_file(path: &Path, root: &Node) -> Vec<Self> {
        let file: Rc<str> = path.display().to_string().into();
        let entries = root.entries().unwrap_or_default();
        entries.iter().map(|entry| Self::of_entry(entry, &file, "")).collect()
    }

    /// Shows the name of a site in the path of its keys, whatever characters it has.
    pub(super) fn shown_as(mut self, key: &str) -> Self {
        key.clone_into(&mut self.source.key);
        self
    }

    /// The path of the key, for a sentence.
    pub(super) fn key(&self) -> &str {
        &self.source.key
    }

    /// Whether a value is written.
    pub(super) fn has_value(&self) -> bool {
        self.node.value != Value::Null
    }
}

// === impl Mapper ===

impl Mapper {
    /// A mapper for the files of a folder. Its root is the first source.
    pub(super) fn new(folder: &Path, report: Report) -> Self {
        let root = Source {
            file: folder.display().to_string().into(),
            location: None,
            key: "the files".to_owned(),
            is_written: true,
        };
        Self { sources: vec![root], explanations: Vec::new(), report }
    }

    /// Returns the sources by line, the explanations and the report.
    pub(super) fn finish(self) -> (Vec<Source>, Vec<String>, Report) {
        (self.sources, self.explanations, self.report)
    }

    // --- our tree ---

    /// An entry with one of our keys, which comes from `setting`.
    pub(super) fn entry(&mut self, setting: &Setting, name: &str, value: impl Into<String>) -> Entry {
        self.entry_with(setting.source.clone(), name, Value::Scalar(value.into()))
    }

    /// An entry with keys below it.
    pub(super) fn map(&mut self, setting: &Setting, name: &str, entries: Vec<Entry>) -> Entry {
        self.entry_with(setting.source.clone(), name, Value::Map(entries))
    }

    /// An entry with a list.
    pub(super) fn list(&mut self, setting: &Setting, name: &str, texts: Vec<String>) -> Entry {
        let location = self.place(setting.source.clone());
        let nodes = texts.into_iter().map(|text| Node::new(location, Value::Scalar(text))).collect();
        self.entry_with(setting.source.clone(), name, Value::List(nodes))
    }

    /// An entry that no old key says: what the old program did without being asked.
    pub(super) fn default(&mut self, name: &str, value: Value) -> Entry {
        let source = Source { file: "default".into(), location: None, key: name.to_owned(), is_written: false };
        self.entry_with(source, name, value)
    }

    fn entry_with(&mut self, source: Source, name: &str, value: Value) -> Entry {
        let location = self.place(source);
        Entry { name: name.to_owned(), location, node: Node::new(location, value) }
    }

    fn place(&mut self, source: Source) -> Location {
        self.sources.push(source);
        Location { line: self.sources.len(), column: 1 }
    }

    // --- what is said about the old keys ---

    /// Says what an old key means.
    pub(super) fn explain(&mut self, setting: &Setting, meaning: impl AsRef<str>) {
        let Source { file, location, key, .. } = &setting.source;
        let location = location.map_or(String::new(), |at| format!(":{}:{}", at.line, at.column));
        self.explanations.push(format!("{file}{location}: {key}: {}", meaning.as_ref()));
    }

    /// Says what happens without a key.
    pub(super) fn explain_default(&mut self, meaning: &str) {
        self.explanations.push(format!("default: {meaning}"));
    }

    /// Reports what cannot be used.
    pub(super) fn error(&mut self, setting: &Setting, what: &str, hint: impl Into<String>) {
        let diagnostic = diagnostic(setting, what, hint.into());
        self.report.errors.push(diagnostic);
    }

    /// Reports what is missing as a whole.
    pub(super) fn error_without_location(&mut self, what: &str, hint: &str) {
        self.report.error_without_location(what, hint);
    }

    /// Reports what is probably not intended.
    pub(super) fn warn(&mut self, setting: &Setting, what: &str, hint: impl Into<String>) {
        let diagnostic = diagnostic(setting, what, hint.into());
        self.report.warnings.push(diagnostic);
    }

    /// Warns about a default.
    pub(super) fn warn_without_location(&mut self, what: &str, hint: &str) {
        self.report.warn_without_location(what, hint);
    }

    /// Reports an unknown key, with the most similar known one.
    pub(super) fn unknown(&mut self, setting: &Setting, known: &[&str]) {
        let lower = setting.name.to_lowercase();
        let similar = known
            .iter()
            .map(|one| (strsim::jaro_winkler(&lower, &one.to_lowercase()), *one))
            .filter(|(similarity, _)| *similarity > SIMILARITY)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        let hint = match similar {
            Some((_, name)) => format!("did you mean `{name}`? Otherwise delete it"),
            None => "delete it: SocketIO Web Service does not document it".to_owned(),
        };
        self.error(setting, "is an unknown key", hint);
    }

    // --- values ---

    /// Returns the text of a setting. Explains one without a value, and reports one that is not text.
    pub(super) fn text(&mut self, setting: &Setting) -> Option<String> {
        match &setting.node.value {
            Value::Scalar(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Scalar(_) | Value::Null => {
                self.explain(setting, "has no value, as if it were not written");
                None
            }
            _ => {
                self.error(setting, "is not one value", "write a text or a number");
                None
            }
        }
    }

    /// Returns a whole number in a range.
    pub(super) fn number(&mut self, setting: &Setting, min: u64, max: u64) -> Option<u64> {
        let text = self.text(setting)?;
        let number = parse_number(text.trim()).filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.error(setting, "is not a valid number", format!("write a whole number from {min} to {max}"));
        }
        number
    }

    /// Returns a flag.
    pub(super) fn flag(&mut self, setting: &Setting) -> Option<bool> {
        let text = self.text(setting)?;
        match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.error(setting, "is neither true nor false", "write true or false");
                None
            }
        }
    }

    /// Returns one text or a list of texts.
    pub(super) fn texts(&mut self, setting: &Setting) -> Option<Vec<String>> {
        let Value::List(list) = &setting.node.value else { return self.text(setting).map(|text| vec![text]) };
        let texts: Option<Vec<String>> = list.iter().map(|node| node.scalar().map(str::to_owned)).collect();
        if texts.is_none() {
            self.error(setting, "is not a list of texts", "write a list like [https://www.example.com]");
        }
        texts
    }
}

fn diagnostic(setting: &Setting, what: &str, hint: String) -> Diagnostic {
    let Source { file, location, key, .. } = &setting.source;
    Diagnostic { file: Some(file.to_string()), location: *location, what: format!("{key} {what}"), hint }
}

/// Returns the name of a site as a report may show it: if it can be the name of a namespace.
pub(super) fn shown_site(name: &str) -> String {
    let is_char = |c: char| c.is_alphanumeric() || "-_.~".contains(c);
    if name.chars().all(is_char) { name.to_owned() } else { shown_key(name) }
}
