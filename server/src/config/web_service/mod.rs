//! The configuration files of SocketIO Web Service, read as our configuration.
//!
//! Owns what each of its keys means here. [`files`] finds and reads the files, [`mapping`] notes where each of our keys
//! comes from, [`server_keys`], [`redis_keys`], [`io_keys`] and [`site_keys`] translate, and [`migration`] writes the
//! result as a file of ours. The result is a tree that the other files of `config` read like any other, so every rule
//! applies to it.
//!
//! **Architecture Invariant:** what cannot be honoured is an error if ignoring it could change who receives or sends
//! something, or which Redis is used. Everything else is explained. `${…}` is not replaced: these files do not have it.

mod files;
mod io_keys;
mod mapping;
mod migration;
mod redis_keys;
mod server_keys;
mod site_keys;

use super::credentials::is_world_readable;
use super::report::{Diagnostic, Location, Report};
use super::tree::{Entry, Node, Value};
use super::{Config, Loaded, read_tree};
use files::Files;
use mapping::{Mapper, Source};
pub use migration::{FILE, Migration, SECRETS, SecretFile};
use std::path::{Path, PathBuf};

/// A configuration that was read from the files of SocketIO Web Service.
#[derive(Debug, Clone)]
pub struct WebService {
    /// The configuration. Its file is the one with the sites.
    pub loaded: Loaded,
    /// What was read: files and variables of the environment.
    pub sources: Vec<String>,
    /// The meaning of each key, one line each, with its location.
    pub explanations: Vec<String>,
    /// The same settings as files of ours.
    pub migration: Migration,
}

// === impl WebService ===

impl WebService {
    /// What was read, for a sentence.
    pub fn sources(&self) -> String {
        match self.sources.is_empty() {
            true => "the environment".to_owned(),
            false => self.sources.join(" and "),
        }
    }
}

/// Reads `config.yml` and `sites.yml` in `folder` or in `folder/config`, and the environment.
///
/// # Errors
/// Returns the report with every error.
pub fn load(folder: &Path) -> Result<WebService, Report> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut report = Report::about(folder.display().to_string());
    let Some(files) = Files::read(folder, &variable, &mut report) else { return Err(report) };
    let (read, mut report) = read(folder, &files, &variable, report);
    let Some((config, explanations, migration)) = read.filter(|_| report.errors.is_empty()) else {
        return Err(report);
    };
    for file in files.paths().filter(|file| is_world_readable(file)) {
        let what = "contains secrets, and every user of this machine can read it".to_owned();
        let hint = format!("chmod 640 {}", file.display());
        report.warnings.push(Diagnostic { file: Some(file.display().to_string()), location: None, what, hint });
    }
    let file: PathBuf = files.paths().last().unwrap_or(folder).to_owned();
    let warnings = report.warning_lines().collect();
    let loaded = Loaded { config, file: Some(file), warnings };
    Ok(WebService { loaded, sources: files.sources(), explanations, migration })
}

/// Reads what the files say. Knows no file system except for the certificates that they name.
fn read(
    folder: &Path,
    files: &Files,
    variable: &dyn Fn(&str) -> Option<String>,
    report: Report,
) -> (Option<(Config, Vec<String>, Migration)>, Report) {
    let mut mapper = Mapper::new(folder, report);
    let root = map(files, variable, &mut mapper);
    let (sources, explanations, mut report) = mapper.finish();
    if !report.errors.is_empty() {
        return (None, report);
    }
    let mut ours = Report::about(folder.display().to_string());
    let config = read_tree(&root, false, folder, &mut ours);
    report.errors.extend(ours.errors.into_iter().map(|error| translate(error, &sources)));
    // What is not written in the old files has a warning of its own.
    let is_written = |warning: &Diagnostic| source_of(warning, &sources).is_some_and(|source| source.is_written);
    let warnings = ours.warnings.into_iter().filter(is_written);
    report.warnings.extend(warnings.map(|warning| translate(warning, &sources)));
    (config.map(|config| (config, explanations, Migration::of(&root))), report)
}

/// Translates both files into a tree with our keys.
fn map(files: &Files, variable: &dyn Fn(&str) -> Option<String>, mapper: &mut Mapper) -> Node {
    let server = server_keys::map(files.config.as_ref(), variable, mapper);
    let sites = site_keys::sites(files.sites.as_ref(), variable, mapper);
    let mut entries = server.top;
    for site in &sites {
        entries.extend(site_keys::map(site, &server.shared, mapper));
    }
    let is_public = |site: &Entry| matches!(&site.node.value, Value::Map(keys) if keys.iter().any(|key| key.name == "public_room"));
    if entries.iter().any(is_public) {
        mapper.explain_default("requests may name any host (`hosts`), as before; list the names of the server to prevent DNS rebinding");
        entries.push(mapper.default("hosts", Value::Scalar("*".to_owned())));
    }
    Node::new(Location::START, Value::Map(entries))
}

/// Whether a key is one of those that SocketIO Web Service documents, or one of its libraries.
fn is_known(name: &str) -> bool {
    let lists: [&[&str]; 4] = [&server_keys::KNOWN, &redis_keys::KNOWN, &io_keys::KNOWN, &site_keys::NAMES];
    lists.iter().any(|list| list.contains(&name))
}

fn source_of<'a>(diagnostic: &Diagnostic, sources: &'a [Source]) -> Option<&'a Source> {
    sources.get(diagnostic.location?.line.checked_sub(1)?)
}

/// Replaces a location in our tree by the one in the old files, and names the old key.
fn translate(diagnostic: Diagnostic, sources: &[Source]) -> Diagnostic {
    match source_of(&diagnostic, sources) {
        Some(source) => Diagnostic {
            file: Some(source.file.to_string()),
            location: source.location,
            what: format!("{}: {}", source.key, diagnostic.what),
            hint: diagnostic.hint,
        },
        None => diagnostic,
    }
}

#[cfg(test)]
mod tests;
