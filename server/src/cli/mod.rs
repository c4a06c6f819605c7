//! The command line, one file per command.
//!
//! Part of the binary, not of the library. The commands use the library's configuration; only `serve` starts a server,
//! the others talk to a running one over HTTP, and `notify` to Redis if it is asked to.

mod check;
mod diagnostics;
mod emit;
mod generate;
mod hooks;
mod http;
mod key;
mod memory;
mod migrate;
mod notify;
mod output;
mod publish_key;
mod push;
mod reload;
mod revoke;
mod secret;
mod serve;
mod status;
mod store;
mod subscribe;
mod systemd;
mod upgrade;

pub(crate) use output::failure;
pub(crate) use status::{CommandResult, ExitStatus, Failure};

use clap::{Args, Parser, Subcommand};
use hyper::Uri;
use nodevent_server::config::listen::Listen;
use nodevent_server::config::web_service::{self, WebService};
use nodevent_server::config::{self, Loaded, namespace::Namespace};
use nodevent_server::protocols;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Delivers the events of an application to every browser in a room.
#[derive(Debug, Parser)]
#[command(name = "nodevent", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  nodevent                                 run with config/nodevent.yml, /etc/nodevent.json, or defaults
  nodevent serve nodevent.yml              run with this configuration
  nodevent check nodevent.yml              report what is wrong with it and with its surroundings
  nodevent migrate --web-service old new   write the configuration of SocketIO Web Service as one of NoDevent
  nodevent key User_12 --expires-in 1h     print a key with which a browser may join the room
  nodevent emit User_12 hello '\"you\"'      emit an event to the room
  nodevent push --user ann NEWS            push an event to a user of TURTED
  nodevent notify --user 12 mention hello  store a message for a user until it is acknowledged
  nodevent revoke --user 12                end the connections of a user
  nodevent reload nodevent.yml             make the running server use secrets and limits of the file
  nodevent hooks list                      print the events that the application has not accepted
  nodevent subscribe User_12               print the events of the room
  nodevent store check                     verify the store of a server that does not run

Exit status: 0 success; 64 the command line or the configuration is wrong; 69 something is unavailable")]
pub(crate) struct Arguments {
    /// Configuration file, YAML or JSON.
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default).
    #[command(after_help = "Examples:
  nodevent serve /etc/nodevent.yml
  nodevent serve --web-service /srv/socketio-webservice")]
    Serve(serve::Serve),
    /// Check a configuration, its ports, its Redis and the running server.
    Check(check::Check),
    /// Print a key with which a browser may join a room.
    Key(key::Key),
    /// Emit an event through a running server.
    Emit(emit::Emit),
    /// Push an event to the users and channels of the dialect `turted`.
    Push(push::Push),
    /// Store a message in the mailboxes of users.
    Notify(notify::Notify),
    /// End the connections of a user, or memberships of a room.
    Revoke(revoke::Revoke),
    /// Read, resend or delete the events that the application has not accepted.
    Hooks(hooks::Hooks),
    /// Make a running server read its configuration again.
    Reload(reload::Reload),
    /// Print the events of a room of a running server, one line of JSON each.
    Subscribe(subscribe::Subscribe),
    /// Check, compact or print the store of a server that does not run.
    Store(store::StoreArguments),
    /// Write the configuration of another program as one of NoDevent.
    Migrate(migrate::Migrate),
    /// Print completions for a shell.
    Completions(generate::Completions),
    /// Print the manual page, in the format of man(1).
    Man(generate::ManPage),
}

/// Where the configuration of a server is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Source {
    /// Configuration file, YAML or JSON.
    file: Option<PathBuf>,
    /// Read config.yml and sites.yml of SocketIO Web Service, in this folder or in its folder `config`.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    web_service: Option<PathBuf>,
}

/// The namespace that a command is for, and the configuration with its secrets.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Namespace [default: the first of the configuration].
    #[arg(long, global = true)]
    namespace: Option<String>,
    /// Configuration file with secrets, keys and the port.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
}

// === impl Arguments ===

impl Arguments {
    /// Runs the command.
    pub(crate) fn run(self) -> CommandResult {
        match self.command {
            None => serve::Serve::with_file(self.file).run(),
            Some(Command::Serve(serve)) => serve.run(),
            Some(Command::Check(check)) => check.run(),
            Some(Command::Key(key)) => key.run(),
            Some(Command::Emit(emit)) => emit.run(),
            Some(Command::Push(push)) => push.run(),
            Some(Command::Notify(notify)) => notify.run(),
            Some(Command::Revoke(revoke)) => revoke.run(),
            Some(Command::Hooks(hooks)) => hooks.run(),
            Some(Command::Reload(reload)) => reload.run(),
            Some(Command::Subscribe(subscribe)) => subscribe.run(),
            Some(Command::Store(store)) => store.run(),
            Some(Command::Migrate(migrate)) => migrate.run(),
            Some(Command::Completions(completions)) => completions.run(),
            Some(Command::Man(man)) => man.run(),
        }
    }
}

// === impl Source ===

impl Source {
    /// Loads the configuration. The second value explains the keys of another program's files.
    fn load(&self) -> CommandResult<(Loaded, Option<WebService>)> {
        let Some(folder) = &self.web_service else {
            return load(self.file.as_deref()).map(|loaded| (loaded, None));
        };
        let read = web_service::load(folder).map_err(|report| Failure::usage(report.to_string()))?;
        validate(&read.loaded)?;
        Ok((read.loaded.clone(), Some(read)))
    }
}

// === impl Target ===

impl Target {
    fn load(&self) -> CommandResult<(Loaded, Namespace)> {
        let loaded = load(self.config.as_deref())?;
        let all = &loaded.config.namespaces;
        let found = match &self.namespace {
            None => all.first(),
            Some(name) => all.iter().find(|one| one.name == format!("/{}", name.trim_start_matches('/'))),
        };
        let Some(namespace) = found.cloned() else {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            let named = self.namespace.as_deref().unwrap_or_default();
            let message = format!("there is no namespace `{named}`; the configuration has {}", names.join(", "));
            return Err(Failure::usage(message));
        };
        Ok((loaded, namespace))
    }
}

fn load(file: Option<&Path>) -> CommandResult<Loaded> {
    let loaded = config::load(file).map_err(|report| Failure::usage(report.to_string()))?;
    validate(&loaded)?;
    Ok(loaded)
}

/// Checks the names of protocols and dialects.
fn validate(loaded: &Loaded) -> CommandResult {
    let name = loaded.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
    protocols::validate(&loaded.config, &name).map_err(|report| Failure::usage(report.to_string()))
}

/// Returns the URL of the configured server on this machine.
fn local_url(loaded: &Loaded) -> String {
    let with_port = || loaded.config.listen.iter().filter(|one| one.socket.is_none());
    let listen = with_port().find(|one| one.tls.is_none()).or_else(|| with_port().next());
    listen.map_or_else(|| format!("http://localhost:{}", config::listen::PORT), url_of)
}

/// Whether the configuration names the server at a URL, or it is on this machine. Only there the configured keys are sent
/// without being asked for.
fn is_configured(loaded: &Loaded, url: &str) -> bool {
    let parse = |url: &str| url.parse::<Uri>().ok();
    let Some(uri) = parse(url) else { return false };
    let bare = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_local = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let is_same = |other: &str| {
        // A page uses its own scheme with an address that has none; a key needs the one that hides it.
        let other = if other.starts_with("//") { format!("https:{other}") } else { other.to_owned() };
        parse(&other).is_some_and(|other| {
            other.scheme_str() == uri.scheme_str() && other.host() == uri.host() && port(&other) == port(&uri)
        })
    };
    is_local
        || loaded.config.public_url.as_deref().is_some_and(is_same)
        || loaded.config.listen.iter().any(|listen| listen.socket.is_none() && is_same(&url_of(listen)))
}

/// Returns the URL of a listener on this machine.
fn url_of(listen: &Listen) -> String {
    let scheme = if listen.tls.is_some() { "https" } else { "http" };
    let host = match listen.host.as_str() {
        "0.0.0.0" | "::" | "127.0.0.1" | "::1" => "localhost".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    format!("{scheme}://{host}:{}", listen.port)
}
