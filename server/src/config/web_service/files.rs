//! Finds the two files and the section of the environment, and reads them.
//!
//! Does not know any key of the files.

use super::super::report::{Diagnostic, Location, Report};
use super::super::tree::{Node, Value, shown_key};
use super::super::{read_file, syntax};
use std::path::{Path, PathBuf};

/// The variable that names the section.
const VARIABLE: &str = "NODE_ENV";
/// The section without a variable.
const SECTION: &str = "production";
/// Where the files are: as the documentation says, and where the program looked for them.
const FOLDERS: [&str; 2] = ["config", "."];

/// A file that was read.
pub(super) struct Text {
    pub(super) path: PathBuf,
    /// Its values: of `config.yml`, those of the section.
    pub(super) root: Node,
}

/// What was found.
pub(super) struct Files {
    /// `config.yml`. Without it, defaults and the environment count.
    pub(super) config: Option<Text>,
    /// `sites.yml`. Without it, the environment names the only site.
    pub(super) sites: Option<Text>,
    /// The name of the section that was read.
    pub(super) section: String,
}

// === impl Files ===

impl Files {
    /// Reads both files. Returns `None` after reporting an error.
    pub(super) fn read(
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
        report: &mut Report,
    ) -> Option<Self> {
        if !folder.is_dir() {
            let hint = "name the folder in which SocketIO Web Service was started";
            report.error_without_location("is not a folder", hint);
            return None;
        }
        let section = variable(VARIABLE).unwrap_or_else(|| SECTION.to_owned());
        let config = find(folder, "config.yml", report).and_then(|path| read(path, report));
        let config = config.and_then(|text| text.section(&section, report));
        let sites = find(folder, "sites.yml", report).and_then(|path| read(path, report));
        report.errors.is_empty().then_some(Self { config, sites, section })
    }

    /// The files that were read, the one with the sites last.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.config.iter().chain(&self.sites).map(|text| text.path.as_path())
    }

    /// What was read, for people.
    pub(super) fn sources(&self) -> Vec<String> {
        let config = self.config.iter().map(|text| format!("{}, section `{}`", text.path.display(), self.section));
        config.chain(self.sites.iter().map(|text| text.path.display().to_string())).collect()
    }
}

/// Returns the path of a file, if there is one. Two different ones are an error: it is not clear which counts.
fn find(folder: &Path, name: &str, report: &mut Report) -> Option<PathBuf> {
    let join = |one: &str| if one == "." { folder.join(name) } else { folder.join(one).join(name) };
    let found: Vec<PathBuf> = FOLDERS.iter().map(|one| join(one)).filter(|path| path.exists()).collect();
    let real = |path: &PathBuf| path.canonicalize().ok();
    if let [one, two] = found.as_slice()
        && real(one) != real(two)
    {
        let what = format!("there are two files `{name}`, {} and {}", one.display(), two.display());
        report.error_without_location(what, "delete the one that SocketIO Web Service did not read");
        return None;
    }
    found.into_iter().next()
}

fn read(path: PathBuf, report: &mut Report) -> Option<Text> {
    let name = path.display().to_string();
    let mut own = Report::about(&name);
    let root = read_file(&path, &mut own).and_then(|text| syntax::read(&text, false, &mut own));
    let named = |one: Diagnostic| Diagnostic { file: Some(name.clone()), ..one };
    report.errors.extend(own.errors.into_iter().map(named));
    root.map(|root| Text { path, root })
}

// === impl Text ===

impl Text {
    /// Reduces the file to a section. An empty section has the defaults.
    fn section(self, name: &str, report: &mut Report) -> Option<Self> {
        let Self { path, root } = self;
        let entries = root.entries().unwrap_or_default();
        if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
            let root = match &entry.node.value {
                Value::Map(_) => entry.node.clone(),
                _ => Node::new(entry.location, Value::Map(Vec::new())),
            };
            if !matches!(entry.node.value, Value::Map(_) | Value::Null) {
                let hint = format!("write the keys of the section below `{}:`", shown_key(name));
                report.errors.push(error(&path, entry.location, "the section has no keys".to_owned(), hint));
            }
            return Some(Self { path, root });
        }
        let names: Vec<String> = entries
            .iter()
            .filter(|entry| entry.node.entries().is_some())
            .map(|entry| shown_key(&entry.name))
            .collect();
        let what = format!("there is no section `{}`", shown_key(name));
        let hint = match names.is_empty() {
            true => format!("write the keys below `{}:`", shown_key(name)),
            false => format!("name another by {VARIABLE}; the file has {}", names.join(", ")),
        };
        report.errors.push(error(&path, root.location, what, hint));
        None
    }
}

fn error(path: &Path, location: Location, what: String, hint: String) -> Diagnostic {
    Diagnostic { file: Some(path.display().to_string()), location: Some(location), what, hint }
}
