//! The trace of a sampled publication: the member `traceparent`, in the form of W3C Trace Context, as the first member of its
//! text.
//!
//! Only the first member counts, so that it costs nothing to see that a publication has none. The server removes it before
//! clients receive the publication, and reports how long its steps take as spans below the one that it names.

use std::fmt;
use std::str::FromStr;

/// What precedes the value of the member.
const BEGIN: &str = "{\"traceparent\":\"";
/// What follows it.
const END: &str = "\",";
/// The length of the value of version 00. Bytes.
const LENGTH: usize = 55;

/// The length that the member adds to a publication. Bytes.
pub const MEMBER_BYTES: usize = BEGIN.len() - 1 + LENGTH + END.len();

/// A sampled trace, and the span below which other spans belong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TraceContext {
    /// The trace.
    pub trace: u128,
    /// The span.
    pub span: u64,
}

/// Why a text is not the `traceparent` of a sampled trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSampled {
    /// It has another form.
    #[error("it is not the traceparent of a trace")]
    Invalid,
    /// The trace is not sampled.
    #[error("the trace is not sampled")]
    Off,
}

// === impl TraceContext ===

impl FromStr for TraceContext {
    type Err = NotSampled;

    /// Reads the value of a header `traceparent`.
    fn from_str(text: &str) -> Result<Self, NotSampled> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits && is_lower_hex(part))?;
            u128::from_str_radix(part, 16).ok()
        };
        let mut fields = || Some((number(2)?, number(32)?, number(16)?, number(2)?));
        let (version, trace, span, flags) = fields().ok_or(NotSampled::Invalid)?;
        let has_more = parts.next().is_some();
        // Later versions may append fields. 255 is forbidden.
        if version == 0xff || trace == 0 || span == 0 || (version == 0 && has_more) {
            return Err(NotSampled::Invalid);
        }
        if flags & 1 == 0 {
            return Err(NotSampled::Off);
        }
        Ok(Self { trace, span: span as u64 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Separates the trace from the text of a publication. Returns the text without it, and the trace if it is sampled. `None`: the
/// text has none, and stays as it is.
#[must_use]
pub fn separate(text: &str) -> Option<(Option<TraceContext>, String)> {
    let (value, rest) = text.strip_prefix(BEGIN)?.split_at_checked(LENGTH)?;
    let rest = rest.strip_prefix(END)?;
    let context = match value.parse() {
        Ok(context) => Some(context),
        Err(NotSampled::Off) => None,
        Err(NotSampled::Invalid) => return None,
    };
    Some((context, format!("{{{rest}")))
}

/// Adds a trace to the text of a publication, the text of an object that is not empty. `None`: it has one, or is no object.
#[must_use]
pub fn add(text: &str, context: TraceContext) -> Option<String> {
    let rest = text.strip_prefix('{').filter(|_| separate(text).is_none())?;
    Some(format!("{BEGIN}{context}{END}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const CONTEXT: TraceContext =
        TraceContext { trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7 };

    #[test]
    fn traceparent_of_a_sampled_trace_round_trips() {
        assert_eq!(VALUE.parse(), Ok(CONTEXT));
        assert_eq!(CONTEXT.to_string(), VALUE);
        assert_eq!(VALUE.len(), LENGTH);
        let later = VALUE.replacen("00", "01", 1) + "-more";
        assert_eq!(later.parse(), Ok(CONTEXT), "a later version");
    }

    #[test]
    fn other_texts_are_not_sampled() {
        assert_eq!(VALUE.replace("-01", "-00").parse::<TraceContext>(), Err(NotSampled::Off));
        for text in [
            String::new(),
            VALUE.to_uppercase(),
            VALUE.replacen("00", "ff", 1),
            format!("{VALUE}-more"),
            VALUE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            VALUE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            VALUE.replace("00f067aa0ba902b7", "+0f067aa0ba902b7"),
            VALUE.replace('-', "_"),
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NotSampled::Invalid), "{text}");
        }
    }

    #[test]
    fn trace_is_the_first_member_and_leaves_the_text_as_it_was() {
        let text = r#"{"room":"r","event":"e","message":{"traceparent":"x"}}"#;
        let traced = add(text, CONTEXT).unwrap();
        assert_eq!(traced.len(), text.len() + MEMBER_BYTES);
        assert_eq!(separate(&traced), Some((Some(CONTEXT), text.to_owned())));
        assert_eq!(add(&traced, CONTEXT), None, "it has one already");
        assert_eq!(crate::publication::parse(traced.as_bytes()).unwrap().topic, "r");
        let off = traced.replace("-01\"", "-00\"");
        assert_eq!(separate(&off), Some((None, text.to_owned())), "it is removed if it is not sampled");
    }

    #[test]
    fn other_members_are_not_touched() {
        for text in [
            "{}",
            "",
            "[]",
            r#"{"traceparent":"mine","room":"r","event":"e"}"#,
            &format!(r#"{{"room":"r","traceparent":"{VALUE}","event":"e"}}"#),
            &format!(r#"{{"traceparent":"{VALUE}"}}"#),
            "{\"traceparent\":\"ééééééééééééééééééééééééééééééé\",",
        ] {
            assert_eq!(separate(text), None, "{text}");
        }
    }
}
