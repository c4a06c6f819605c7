//! The command `nodevent`: parses the command line, runs the command, and exits with a status of sysexits(3).

mod cli;

use clap::Parser as _;
use cli::{Arguments, ExitStatus, Failure};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { status, message }) => {
            cli::failure(&message);
            status.into()
        }
    }
}
