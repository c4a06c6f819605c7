//! `nodevent check`: reports what is wrong with a configuration and with the surroundings of its server.

use super::{CommandResult, Failure, Source, diagnostics, http, output};
use clap::Args;
use nodevent_server::config::reference;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent check config/nodevent.yml --origin https://www.example.com
  nodevent check --offline config/nodevent.yml && systemctl restart nodevent
  nodevent check --explain limits.send_buffer
  nodevent check --web-service /srv/socketio-webservice")]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// Only read the file; do not connect to anything.
    #[arg(long)]
    offline: bool,
    /// Origin of a page, like https://www.example.com; checks whether it may connect.
    #[arg(long, conflicts_with = "offline")]
    origin: Option<String>,
    /// Explain a key of the configuration, like limits.send_buffer, instead of checking.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["file", "web_service", "offline", "origin"])]
    explain: Option<String>,
}

// === impl Check ===

impl Check {
    pub(super) fn run(self) -> CommandResult {
        if let Some(key) = &self.explain {
            let text = reference::explain(key).map_err(|near| {
                Failure::usage(format!("there is no key `{key}`; did you mean {}?", near.join(", ")))
            })?;
            output::lines(&text);
            return Ok(());
        }
        let (loaded, web_service) = self.source.load()?;
        for line in web_service.iter().flat_map(|read| &read.explanations) {
            output::line(line);
        }
        for warning in &loaded.warnings {
            output::warning(&format!("warning: {warning}"));
        }
        match &loaded.file {
            _ if let Some(read) = &web_service => output::line(&format!("{}: no errors", read.sources())),
            Some(file) => output::line(&format!("{}: no errors", file.display())),
            None => output::line("no configuration file was found; the defaults apply"),
        }
        for namespace in &loaded.config.namespaces {
            let engine = namespace.redis.as_ref().map_or("memory".to_owned(), |redis| format!("redis at {redis}"));
            let access = match namespace.is_open() {
                true if namespace.is_open_to_users() => "open to every client with a token",
                true => "open to every client",
                false => "secured",
            };
            let history = if namespace.history.is_on() { "history" } else { "no history" };
            output::line(&format!("  {}: {engine}, {access}, {history}", namespace.name));
        }
        output::line(&format!("  publishing over HTTP: {}", loaded.config.publishing()));
        if self.offline {
            return Ok(());
        }
        http::run(async {
            let report = diagnostics::run(&loaded, self.origin.as_deref()).await;
            match report.has_failures {
                true => Err(Failure::unavailable("one or more checks failed (see FAIL above)")),
                false => Ok(()),
            }
        })
    }
}
