//! Text from outside, made safe for logs and errors: what a server, a proxy or Redis returned.

/// The maximum length of one external text. Characters.
const MAX_CHARS: usize = 400;

/// Returns one line without control characters and characters that change the direction of text, of limited length.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_CHARS) + 3);
    for (index, char) in text.chars().enumerate() {
        if index == MAX_CHARS {
            out.push('…');
            break;
        }
        let is_unsafe = char.is_control()
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        out.push(if is_unsafe { ' ' } else { char });
    }
    out
}
