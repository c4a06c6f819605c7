//! `nodevent store`: verifies, compacts or prints the store of a server that does not run.

use super::{CommandResult, Failure, load};
use clap::{Args, Subcommand};
use nodevent_server::config::Config;
use nodevent_server::engine::memory;
use nodevent_server::server::stored_namespaces;
use nodevent_server::store::{Loading, Settings, StoreError};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent store check                          verify every page and every record of the configured store
  nodevent store compact --config nodevent.yml  make the file as small as possible
  nodevent store export > store.jsonl           print everything that it has, one line of JSON each

The server must not run: it uses the store alone. Exit status: 0 success; 64 there is no store in the configuration; 69 the
store is used, damaged, or was written by a newer version")]
pub(super) struct StoreArguments {
    #[command(subcommand)]
    command: Command,
    /// Configuration file with the store and its namespaces.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Verify every page and every record, and print what each namespace has.
    Check,
    /// Make the file as small as possible.
    Compact,
    /// Print everything that it has, one line of JSON each.
    Export,
}

// === impl StoreArguments ===

impl StoreArguments {
    pub(super) fn run(self) -> CommandResult {
        let loaded = load(self.config.as_deref())?;
        let Some(settings) = &loaded.config.store else {
            return Err(Failure::usage("the configuration has no store; write `store: storage/nodevent`"));
        };
        let run = match self.command {
            Command::Check => check,
            Command::Compact => compact,
            Command::Export => export,
        };
        run(settings, &loaded.config).map_err(|error| Failure::unavailable(error.to_string()))
    }
}

fn check(settings: &Settings, config: &Config) -> Result<(), StoreError> {
    let mut loading = Loading::open_existing(settings)?;
    loading.check()?;
    let contents = memory::inspect(&mut loading, &stored_namespaces(config))?;
    for summary in contents.summary() {
        println!("{summary}");
    }
    let (log, file, others) = (loading.log_bytes(), loading.file_size(), contents.other_bytes());
    println!(
        "the store is whole: {log} bytes of records, {others} of them not in the configuration, {file} on disk"
    );
    Ok(())
}

fn compact(settings: &Settings, config: &Config) -> Result<(), StoreError> {
    let before = {
        let loading = Loading::open_existing(settings)?;
        let before = loading.file_size();
        memory::compact(loading, &stored_namespaces(config))?;
        before
    };
    let mut loading = Loading::open_existing(settings)?;
    loading.compact()?;
    println!("the store had {before} bytes and has {}", loading.file_size());
    Ok(())
}

fn export(settings: &Settings, config: &Config) -> Result<(), StoreError> {
    let mut loading = Loading::open_existing(settings)?;
    let contents = memory::inspect(&mut loading, &stored_namespaces(config))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    contents.export(|one| {
        // A closed pipe means that the reader has ended.
        let _ = writeln!(out, "{one}");
    });
    let _ = out.flush();
    Ok(())
}
