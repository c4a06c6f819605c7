//! `nodevent migrate`: writes the configuration of another program as one of NoDevent.
//!
//! Owns the files that it creates. All of them belong to the user who runs the command, and no other user can read them.

use super::{CommandResult, Failure, load, output};
use clap::Args;
use nodevent_server::config::web_service::{self, FILE, Migration, SECRETS};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  nodevent migrate --web-service /srv/socketio-webservice /etc/nodevent
  nodevent check /etc/nodevent/nodevent.yml")]
pub(super) struct Migrate {
    /// Folder of SocketIO Web Service, with config.yml and sites.yml in it or in its folder `config`.
    #[arg(long, value_name = "DIR")]
    web_service: PathBuf,
    /// Folder to write nodevent.yml and its secrets into; it is created if necessary.
    folder: PathBuf,
}

// === impl Migrate ===

impl Migrate {
    pub(super) fn run(self) -> CommandResult {
        let read = web_service::load(&self.web_service).map_err(|report| Failure::usage(report.to_string()))?;
        for warning in &read.loaded.warnings {
            output::warning(&format!("warning: {warning}"));
        }
        if !read.migration.impossible.is_empty() {
            let keys = read.migration.impossible.join(", ");
            let what =
                format!("{FILE} would replace `${{` in the values of {keys}; change them in the old files first");
            return Err(Failure::usage(what));
        }
        let file = self.write(&read.migration)?;
        for one in &read.migration.secrets {
            output::line(&format!("wrote {}", self.folder.join(&one.path).display()));
        }
        output::line(&format!("wrote {}", file.display()));
        load(Some(&file))?;
        output::line(&format!("next: nodevent check {}", file.display()));
        Ok(())
    }

    /// Writes all files, the configuration last. Nothing is overwritten.
    fn write(&self, migration: &Migration) -> CommandResult<PathBuf> {
        let file = self.folder.join(FILE);
        let secrets = migration.secrets.iter().map(|one| (self.folder.join(&one.path), one.secret.as_str()));
        let all: Vec<(PathBuf, &str)> = secrets.chain([(file.clone(), migration.text.as_str())]).collect();
        if let Some((path, _)) = all.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
            let what = format!("{} exists; name another folder, or delete the file", path.display());
            return Err(Failure::usage(what));
        }
        create_folder(&self.folder)?;
        create_folder(&self.folder.join(SECRETS))?;
        all.iter().try_for_each(|(path, text)| write(path, text))?;
        Ok(file)
    }
}

fn create_folder(path: &Path) -> CommandResult {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|error| Failure::usage(format!("{} cannot be created: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> CommandResult {
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = open().and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))
}
