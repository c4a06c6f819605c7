//! The placeholders of a binary packet: `{"_placeholder":true,"num":0}` in the place of each attachment.
//!
//! Reads JSON that was checked to be JSON, in one pass, with a few bytes of heap per level of nesting and no stack.

use super::packet::{MAX_ATTACHMENTS, Malformed};

/// Checks that every placeholder in `json` names one of `announced` attachments, and that every attachment is named.
pub(super) fn check(json: &str, announced: usize) -> Result<(), Malformed> {
    let mut named = [false; MAX_ATTACHMENTS];
    let mut levels: Vec<Level> = Vec::new();
    let mut rest = json.as_bytes();
    while let Some((token, behind)) = next(rest) {
        rest = behind;
        match (token, levels.last_mut()) {
            ([b'}' | b']'], _) => {
                if let Some(Level { placeholder: true, num, .. }) = levels.pop() {
                    let index = num.map(usize::from).filter(|&index| index < announced);
                    *index.and_then(|index| named.get_mut(index)).ok_or(Malformed::BadPlaceholder)? = true;
                }
            }
            ([b','], Some(level)) => level.member = Member::Other,
            (_, Some(level)) if level.in_object => level.name_or_value(token),
            _ => {}
        }
        if let [bracket @ (b'{' | b'[')] = token {
            levels.push(Level { in_object: *bracket == b'{', ..Level::default() });
        }
    }
    if named.iter().take(announced).all(|&named| named) { Ok(()) } else { Err(Malformed::BadPlaceholder) }
}

/// The state of an array or object that is not complete.
#[derive(Default)]
struct Level {
    in_object: bool,
    placeholder: bool,
    num: Option<u8>,
    member: Member,
}

/// The member whose value comes next.
#[derive(Clone, Copy, Default)]
enum Member {
    #[default]
    Other,
    Placeholder,
    Num,
}

// === impl Level ===

impl Level {
    /// Takes a member's name, or the first token of its value.
    fn name_or_value(&mut self, token: &[u8]) {
        match (self.member, token) {
            (Member::Other, br#""_placeholder""#) => self.member = Member::Placeholder,
            (Member::Other, br#""num""#) => self.member = Member::Num,
            (Member::Placeholder, value) => self.placeholder = value == b"true",
            (Member::Num, [digit @ b'0'..=b'9']) => self.num = Some(digit - b'0'),
            (Member::Num, _) => self.num = None,
            (Member::Other, _) => {}
        }
    }
}

/// Returns the next bracket, comma, string, number or literal, and what follows it. Skips colons and white space.
fn next(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = json.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b':'))?;
    let json = &json[start..];
    let length = match json.first()? {
        b'{' | b'}' | b'[' | b']' | b',' => 1,
        b'"' => string_length(json),
        _ => json.iter().position(|byte| b" \t\n\r:,{}[]\"".contains(byte)).unwrap_or(json.len()),
    };
    Some(json.split_at(length))
}

/// Returns the length of the string at the start of `json`, with both quotes.
fn string_length(json: &[u8]) -> usize {
    let mut escaped = false;
    let end = json.iter().skip(1).position(|&byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    });
    end.map_or(json.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholder_is_found_at_any_depth_and_in_any_form() {
        for json in [
            r#"[{"_placeholder":true,"num":0}]"#,
            r#"[ { "num" : 0 , "more" : [ {} ] , "_placeholder" : true } ]"#,
            r#"["x",[[{"a":{"_placeholder":true,"num":0}}]],"\"}]"]"#,
            r#"[{"_placeholder":[],"_placeholder":true,"num":{},"num":0}]"#,
            r#"[{"\\":"\\","_placeholder":true,"num":0}]"#,
        ] {
            assert_eq!(check(json, 1), Ok(()), "{json}");
        }
    }

    #[test]
    fn similar_json_is_not_a_placeholder() {
        for json in [
            "[]",
            r#"["_placeholder",true,"num",0]"#,
            r#"[{"a":"_placeholder","b":true,"num":0}]"#,
            r#"[{"_placeholder":"true","num":0}]"#,
            r#"[{"_placeholder":true,"num":0,"_placeholder":{}}]"#,
            r#"["{\"_placeholder\":true,\"num\":0}"]"#,
        ] {
            assert_eq!(check(json, 0), Ok(()), "{json}");
            assert_eq!(check(json, 1), Err(Malformed::BadPlaceholder), "{json}");
        }
    }
}
