//! `nodevent completions` and `nodevent man`: files for a shell and for man(1), written from the command line's own source.

use super::{Arguments, CommandResult, Failure, output};
use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent completions bash > /usr/share/bash-completion/completions/nodevent
  nodevent completions zsh > /usr/share/zsh/site-functions/_nodevent
  nodevent completions fish > /usr/share/fish/vendor_completions.d/nodevent.fish")]
pub(super) struct Completions {
    /// Shell.
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  nodevent man > /usr/share/man/man1/nodevent.1
  nodevent man serve | man -l -")]
pub(super) struct ManPage {
    /// Command [default: the page about all of them].
    name: Option<String>,
}

// === impl Completions ===

impl Completions {
    pub(super) fn run(&self) -> CommandResult {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "nodevent", &mut text);
        print(&text)
    }
}

// === impl ManPage ===

impl ManPage {
    pub(super) fn run(&self) -> CommandResult {
        let mut command = Arguments::command();
        command.build();
        let command = match &self.name {
            None => command,
            Some(name) => {
                let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
                let unknown = || Failure::usage(format!("there is no command `{name}`, only {}", names.join(", ")));
                command.find_subcommand(name).ok_or_else(unknown)?.clone()
            }
        };
        let mut text = Vec::new();
        let rendered = Man::new(command).section("1").manual("NoDevent").render(&mut text);
        rendered.map_err(|error| Failure::unavailable(format!("cannot write the page: {error}")))?;
        print(&text)
    }
}

fn print(text: &[u8]) -> CommandResult {
    output::generated(&String::from_utf8_lossy(text));
    Ok(())
}
