//! The stream of Turbo that makes a page load again: a `refresh`. Equal ones are as good as one.
//!
//! # Source
//! turbo-rails 2.0.21 (`turbo_stream_refresh_tag`), Turbo 8.

use crate::publication::message_of;

/// The longest publication that is looked at. Bytes.
const MAX_BYTES: usize = 2048;
const BEFORE: &str = "<turbo-stream";
const AFTER: &str = "</turbo-stream>";
const TEMPLATE: &str = "<template></template>";

/// A `refresh` without further attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refresh {
    /// The request that has caused it, as the attribute is written. The page of that request ignores it.
    pub request_id: Option<Box<str>>,
}

// === impl Refresh ===

impl Refresh {
    /// The refresh that is the message of a publication. `None`: the message is something else.
    #[must_use]
    pub fn of_publication(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES || !text.contains("refresh") {
            return None;
        }
        Self::parse(&serde_json::from_str::<String>(message_of(text)?).ok()?)
    }

    /// Parses a message. `None`: it is not a refresh, or one with further attributes, which is not equal to others.
    #[must_use]
    pub fn parse(html: &str) -> Option<Self> {
        let (attributes, content) = html.trim().strip_prefix(BEFORE)?.strip_suffix(AFTER)?.split_once('>')?;
        if !matches!(content, "" | TEMPLATE) {
            return None;
        }
        let (mut rest, mut is_refresh, mut request_id) = (attributes, false, None);
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (name, after) = attribute.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            match name {
                "action" if value == "refresh" && !is_refresh => is_refresh = true,
                "request-id" if request_id.is_none() => request_id = Some(value.into()),
                _ => return None,
            }
            rest = after;
        }
        (is_refresh && rest.is_empty()).then_some(Self { request_id })
    }

    /// Merges a later one into this. If another request has caused that one, each page loads again.
    pub fn merge(&mut self, later: &Self) {
        if self.request_id != later.request_id {
            self.request_id = None;
        }
    }

    /// The message as HTML.
    #[must_use]
    pub fn html(&self) -> String {
        let request = self.request_id.as_ref().map(|id| format!(" request-id=\"{id}\"")).unwrap_or_default();
        format!("{BEFORE}{request} action=\"refresh\">{AFTER}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refresh(request_id: Option<&str>) -> Option<Refresh> {
        Some(Refresh { request_id: request_id.map(Into::into) })
    }

    #[test]
    fn what_turbo_rails_broadcasts_is_a_refresh_and_nothing_else_is() {
        for (html, expected) in [
            ("<turbo-stream action=\"refresh\"></turbo-stream>", refresh(None)),
            ("<turbo-stream request-id=\"a-1\" action=\"refresh\"></turbo-stream>", refresh(Some("a-1"))),
            ("<turbo-stream action=\"refresh\" request-id=\"\"></turbo-stream>", refresh(Some(""))),
            ("<turbo-stream action=\"refresh\"><template></template></turbo-stream>", refresh(None)),
            ("<turbo-stream action=\"refresh\" method=\"morph\"></turbo-stream>", None),
            ("<turbo-stream action=\"remove\" target=\"refresh\"></turbo-stream>", None),
            ("<turbo-stream request-id=\"a\"></turbo-stream>", None),
            ("<turbo-stream action=\"refresh\" action=\"refresh\"></turbo-stream>", None),
            ("<turbo-stream action=\"refresh\">x</turbo-stream>", None),
            (
                "<turbo-stream action=\"refresh\"></turbo-stream><turbo-stream action=\"refresh\"></turbo-stream>",
                None,
            ),
            ("<turbo-stream action=\"refresh", None),
            ("refresh", None),
            ("", None),
        ] {
            assert_eq!(Refresh::parse(html), expected, "{html}");
        }
    }

    #[test]
    fn it_is_found_in_a_publication_however_its_text_is_escaped() {
        let html = "<turbo-stream request-id=\"a\" action=\"refresh\"></turbo-stream>";
        let text = json!({"room": "r", "event": "e", "message": html}).to_string();
        let escaped = text.replace('<', "\\u003c").replace('>', "\\u003e");
        assert_eq!(Refresh::of_publication(&text), refresh(Some("a")));
        assert_eq!(Refresh::of_publication(&escaped), refresh(Some("a")));
        let object = r#"{"room":"r","event":"refresh","message":{"refresh":1}}"#;
        assert_eq!(Refresh::of_publication(object), None);
        assert_eq!(Refresh::of_publication("refresh"), None);
    }

    #[test]
    fn merged_ones_name_a_request_only_if_it_has_caused_all_of_them() {
        let with = |id: Option<&str>| refresh(id).unwrap();
        for (one, other, expected) in
            [(Some("a"), Some("a"), Some("a")), (Some("a"), Some("b"), None), (Some("a"), None, None)]
        {
            let mut merged = with(one);
            merged.merge(&with(other));
            assert_eq!(merged, with(expected));
            assert_eq!(Refresh::parse(&merged.html()), Some(merged));
        }
    }
}
