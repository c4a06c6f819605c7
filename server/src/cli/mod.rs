//! What may be typed, one file per command.

mod check;
mod diagnostics;
mod emit;
mod http;
mod key;
mod serve;
mod subscribe;

use clap::{Args, Parser, Subcommand};
use nodevent_server::config::listen::Listen;
use nodevent_server::config::{self, Loaded, namespace::Namespace};
use std::path::{Path, PathBuf};

/// The configuration or the command line is wrong (sysexits: EX_USAGE).
pub(crate) const USAGE: u8 = 64;
/// Something that is needed is not to be had, e.g. a port (sysexits: EX_UNAVAILABLE).
pub(crate) const UNAVAILABLE: u8 = 69;

/// How a command ends: well, or with a status and what to say.
pub(crate) type Done = Result<(), (u8, String)>;

/// Delivers what happens in an application to every browser in the room.
#[derive(Debug, Parser)]
#[command(name = "nodevent", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  nodevent                              config/nodevent.yml, /etc/nodevent.json, or defaults
  nodevent serve nodevent.yml           this configuration
  nodevent check nodevent.yml           what is wrong with it, and around it
  nodevent key User_12 --expires-in 1h a key with which a browser may join the room
  nodevent emit User_12 hello '\"you\"'   says something in the room
  nodevent subscribe User_12            prints what is said there")]
pub(crate) struct Arguments {
    /// The configuration, YAML or JSON.
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    #[command(after_help = "Example:\n  nodevent serve /etc/nodevent.yml")]
    Serve {
        /// The configuration, YAML or JSON.
        file: Option<PathBuf>,
    },
    /// Read a configuration, tell what is wrong with it and with its ports, its Redis, and the server that runs.
    #[command(after_help = "Examples:
  nodevent check config/nodevent.yml --origin https://www.example.com
  nodevent check --offline config/nodevent.yml && systemctl restart nodevent")]
    Check {
        /// The configuration, YAML or JSON.
        file: Option<PathBuf>,
        /// Only read the file; connect to nothing.
        #[arg(long)]
        offline: bool,
        /// A page that wants to connect, like https://www.example.com: may it?
        #[arg(long, conflicts_with = "offline")]
        origin: Option<String>,
    },
    /// Print a key with which a browser may join a room.
    Key(key::Key),
    /// Publish one publication through a running server.
    Emit(emit::Emit),
    /// Print what is said in a room of a running server, a line of JSON each.
    Subscribe(subscribe::Subscribe),
}

/// Which namespace is meant, and where what it needs is found.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The namespace; the first of the configuration where none is named.
    #[arg(long)]
    namespace: Option<String>,
    /// The configuration with secrets, keys and the port.
    #[arg(long)]
    config: Option<PathBuf>,
}

// === impl Arguments ===

impl Arguments {
    /// Does what was typed.
    pub(crate) fn run(self) -> Done {
        match self.command {
            None => serve::run(self.file.as_deref()),
            Some(Command::Serve { file }) => serve::run(file.as_deref()),
            Some(Command::Check { file, offline, origin }) => {
                check::run(file.as_deref(), offline, origin.as_deref())
            }
            Some(Command::Key(key)) => key.run(),
            Some(Command::Emit(emit)) => emit.run(),
            Some(Command::Subscribe(subscribe)) => subscribe.run(),
        }
    }
}

// === impl Target ===

impl Target {
    fn load(&self) -> Result<(Loaded, Namespace), (u8, String)> {
        let loaded = load(self.config.as_deref())?;
        let all = &loaded.config.namespaces;
        let found = match &self.namespace {
            None => all.first(),
            Some(name) => all.iter().find(|one| one.name == format!("/{}", name.trim_start_matches('/'))),
        };
        let Some(namespace) = found.cloned() else {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            let named = self.namespace.as_deref().unwrap_or_default();
            return Err((USAGE, format!("there is no namespace {named}; there are: {}", names.join(", "))));
        };
        Ok((loaded, namespace))
    }
}

fn load(file: Option<&Path>) -> Result<Loaded, (u8, String)> {
    config::load(file).map_err(|report| (USAGE, report.to_string()))
}

/// Where the server of that configuration is reached from this machine.
fn local_url(loaded: &Loaded) -> String {
    let listen = loaded.config.listen.iter().find(|one| one.tls.is_none()).or(loaded.config.listen.first());
    listen.map_or_else(|| format!("http://localhost:{}", config::listen::PORT), url_of)
}

/// Where a listener is reached from this machine.
fn url_of(listen: &Listen) -> String {
    let scheme = if listen.tls.is_some() { "https" } else { "http" };
    let host = match listen.host.as_str() {
        "0.0.0.0" | "::" | "127.0.0.1" | "::1" => "localhost".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("{scheme}://{host}:{}", listen.port)
}
