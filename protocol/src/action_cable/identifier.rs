//! Identifiers of subscriptions: an object with the name of a channel and its parameters.

use crate::publication::{raw_members, string};
use std::borrow::Cow;

/// The channel of `turbo_stream_from`.
const TURBO: &str = "Turbo::StreamsChannel";
/// The channel of AnyCable for streams without a class in Ruby.
const PUBSUB: &str = "$pubsub";
/// The parameter with the name of a stream and its signature.
const SIGNED_NAME: &str = "signed_stream_name";
/// The parameter with the name of a public stream.
const PUBLIC_NAME: &str = "stream_name";
/// The parameter with the position of the stream when the page was rendered.
const SINCE: &str = "nodevent_since";
/// The parameter with the id of the rendered page.
const PAGE: &str = "nodevent_page";
/// The longest id of a page. Bytes.
const MAX_PAGE_BYTES: usize = 64;

/// What a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested<'a> {
    /// A stream whose name the application has signed.
    Signed {
        /// The name with its signature.
        token: Cow<'a, str>,
        /// Whether its messages are streams of Turbo.
        is_turbo: bool,
        /// What the tag on the page says about it.
        stamp: Stamp<'a>,
    },
    /// A public stream.
    Public(Cow<'a, str>),
    /// A channel in Ruby.
    Channel,
}

/// What a tag says about the page on which it was rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The position of the stream when the page was rendered.
    pub since: Option<Cow<'a, str>>,
    /// The id of the rendered page.
    pub page: Option<Cow<'a, str>>,
}

/// Reads the text of an identifier. `None`: it is not an object with the name of a channel.
#[must_use]
pub fn parse(text: &str) -> Option<Requested<'_>> {
    let members = raw_members(text)?;
    let text_of = |name: &str| members.get(name).and_then(|raw| string(raw.get()));
    let channel = text_of("channel")?;
    let stamp = || Stamp { since: text_of(SINCE), page: text_of(PAGE).filter(|page| is_page(page)) };
    let signed = |is_turbo| Some(Requested::Signed { token: text_of(SIGNED_NAME)?, is_turbo, stamp: stamp() });
    match &*channel {
        TURBO => signed(true),
        PUBSUB => signed(false).or_else(|| text_of(PUBLIC_NAME).map(Requested::Public)),
        _ => Some(Requested::Channel),
    }
}

/// Whether a text can be the id of a page.
fn is_page(text: &str) -> bool {
    (1..=MAX_PAGE_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_decides_what_a_subscription_is_for() {
        let signed = |is_turbo| {
            Some(Requested::Signed { token: "InBvc3RzIg==--00".into(), is_turbo, stamp: Stamp::default() })
        };
        for (text, requested) in [
            (r#"{"channel":"Turbo::StreamsChannel","signed_stream_name":"InBvc3RzIg==--00"}"#, signed(true)),
            (r#"{"channel":"$pubsub","signed_stream_name":"InBvc3RzIg==--00"}"#, signed(false)),
            (r#"{"channel":"$pubsub","stream_name":"chat/1"}"#, Some(Requested::Public("chat/1".into()))),
            (r#"{"channel":"ChatChannel","room":1}"#, Some(Requested::Channel)),
            (r#"{"channel":"turbo::StreamsChannel"}"#, Some(Requested::Channel)),
            (r#"{"channel":"Turbo::StreamsChannel","signed_stream_name":1}"#, None),
            (r#"{"channel":"Turbo::StreamsChannel"}"#, None),
            (r#"{"channel":"$pubsub"}"#, None),
            (r#"{"channel":["ChatChannel"]}"#, None),
            (r#"["ChatChannel"]"#, None),
            (r#""ChatChannel""#, None),
            ("ChatChannel", None),
            ("", None),
        ] {
            assert_eq!(parse(text), requested, "{text}");
        }
    }

    #[test]
    fn a_tag_may_say_since_when_and_on_which_page_it_was_rendered() {
        let text = r#"{"channel":"Turbo::StreamsChannel","signed_stream_name":"t","nodevent_since":"x","nodevent_page":"p 1"}"#;
        let stamp = Stamp { since: Some("x".into()), page: None };
        assert_eq!(parse(text), Some(Requested::Signed { token: "t".into(), is_turbo: true, stamp }));
    }
}
