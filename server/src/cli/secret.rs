//! Keys and secrets that a command needs. They come from a file, from standard input or from the configuration: every
//! user of a machine sees the arguments of its programs.

use super::{CommandResult, Failure, output};
use nodevent_server::config;
use std::io::Read as _;
use std::path::Path;

/// The file name for standard input.
pub(super) const STDIN: &str = "-";
/// The maximum size of a secret on standard input, as in a file. Bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a secret from a file, or from standard input if its name is `-`. The line break at its end does not count.
pub(super) fn read(file: &Path) -> CommandResult<String> {
    let name = if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() };
    let text = if is_stdin(file) { read_stdin(MAX_BYTES) } else { config::read_secret_file(file) };
    let text = text.map_err(|error| Failure::usage(format!("{name} {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    match text.is_empty() {
        true => Err(Failure::usage(format!("{name} is empty; write the secret into it"))),
        false => Ok(text.to_owned()),
    }
}

/// Reads standard input to its end, if it has at most `max` bytes.
///
/// # Errors
/// Returns the reason, without the text.
pub(super) fn read_stdin(max: u64) -> Result<String, String> {
    let mut text = String::new();
    let length = std::io::stdin().take(max + 1).read_to_string(&mut text);
    let length = length.map_err(|error| format!("cannot be read: {error}"))?;
    if length as u64 > max {
        return Err(format!("has more than {} KB", max / 1024));
    }
    Ok(text)
}

/// Whether a file name is that for standard input.
pub(super) fn is_stdin(file: &Path) -> bool {
    file == Path::new(STDIN)
}

/// Warns that a key was written as an argument. `better` says what to write.
pub(super) fn warn_of_argument(option: &str, better: &str) {
    output::warning(&format!(
        "warning: {option} shows the key to every user of this machine, in the list of processes; {better}"
    ));
}
