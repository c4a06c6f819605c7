//! What the commands print: lines without characters that drive a terminal, whatever a server, Redis, a file or a
//! publisher wrote.
//!
//! External texts in them are shortened where they arrive, by [`external`].

use nodevent_protocol::text;

/// The maximum length of one external text. Characters.
const MAX_EXTERNAL: usize = 400;

/// Returns text from outside as a part of a line: printable and shortened.
pub(super) fn external(text: &str) -> String {
    text::printable(text, MAX_EXTERNAL)
}

/// Prints one line to standard output.
pub(super) fn line(text: &str) {
    println!("{}", safe(text, false));
}

/// Prints JSON, or several values of it, as one line to standard output. It means the same.
pub(super) fn json(text: &str) {
    println!("{}", text::printable_json(text));
}

/// Prints lines of the program's own to standard output.
pub(super) fn lines(text: &str) {
    print!("{}", safe(text, true));
}

/// Prints a file that this program has generated to standard output, unchanged.
pub(super) fn generated(text: &str) {
    print!("{text}");
}

/// Prints one line to standard error.
pub(super) fn warning(text: &str) {
    eprintln!("{}", safe(text, false));
}

/// Prints the message of a failed command, which may have several lines, to standard error.
pub(crate) fn failure(text: &str) {
    eprintln!("{}", safe(text, true));
}

/// Replaces unsafe characters by spaces. `keeps_lines`: except for line feeds.
fn safe(text: &str, keeps_lines: bool) -> String {
    let shown = |c: char| if text::is_unsafe(c) && !(keeps_lines && c == '\n') { ' ' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_is_printed() {
        assert_eq!(safe("FAIL  a\n\u{1b}[2J\u{9b}1m\r\u{202e}x\tb", false), "FAIL  a  [2J 1m  x b");
        assert_eq!(safe("one:\n  two\u{7}\n", true), "one:\n  two \n");
        assert_eq!(external(&"é\n".repeat(10_000)).chars().count(), MAX_EXTERNAL);
    }
}
