//! Text from outside, made safe for terminals, logs and errors: what a server, a proxy, Redis, a file or a client wrote.
//!
//! The gem has the same rules in `lib/nodevent/text.rb`; `vectors/text.json` tests both. This file does not know what the
//! text means, nor who printed it.

/// Whether a terminal or a reader of a log may be deceived by a character: control characters, which drive terminals and
/// forge lines, other line breaks, and invisible characters that change the direction of text.
#[must_use]
pub const fn is_unsafe(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns text as one line of at most `max` characters. A run of spaces and unsafe characters becomes one space, and `…`
/// follows if something is left out.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    let (mut count, mut is_gap) = (0, false);
    for c in text.chars() {
        if c == ' ' || is_unsafe(c) {
            is_gap = true;
            continue;
        }
        let added = usize::from(is_gap && count > 0) + 1;
        if count + added > max {
            out.push('…');
            break;
        }
        if added == 2 {
            out.push(' ');
        }
        out.push(c);
        count += added;
        is_gap = false;
    }
    out
}

/// Returns JSON in which unsafe characters are escaped. In JSON they occur in strings only, except for white space, which
/// becomes a space; so the meaning stays the same.
#[must_use]
pub fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        match c {
            '\t' | '\n' | '\r' => out.push(' '),
            c if is_unsafe(c) => {
                c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn vectors() {
        let vectors: Value = serde_json::from_str(include_str!("../vectors/text.json")).unwrap();
        let cases = vectors["printable"].as_array().unwrap();
        assert!(cases.len() >= 10);
        for case in cases {
            let (text, max) = (case["text"].as_str().unwrap(), case["max"].as_u64().unwrap());
            assert_eq!(printable(text, max as usize), case["printable"].as_str().unwrap(), "{case}");
        }
        let is_listed = |c: char| {
            vectors["unsafe"].as_array().unwrap().iter().any(|range| {
                let end = |index: usize| range[index].as_u64().unwrap() as u32;
                (end(0)..=end(1)).contains(&u32::from(c))
            })
        };
        assert!(('\0'..=char::MAX).all(|c| is_unsafe(c) == is_listed(c)));
    }

    #[test]
    fn json_means_the_same_and_drives_no_terminal() {
        let text = "[\"a\u{7f}\u{9b}31m\u{202e}\u{e0041}\",\r\n\t1]";
        let shown = printable_json(text);
        assert_eq!(shown, r#"["a\u007f\u009b31m\u202e\udb40\udc41",   1]"#);
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parse(&shown), parse(text));
    }

    #[test]
    fn a_long_text_takes_time_and_memory_for_the_part_that_is_shown() {
        let shown = printable(&"\u{1b}[31mü".repeat(1_000_000), 100);
        assert_eq!(shown.chars().count(), 101);
        assert!(shown.capacity() < 1000);
    }
}
