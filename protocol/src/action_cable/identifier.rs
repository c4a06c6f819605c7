//! Identifiers of subscriptions: an object with the name of a channel and its parameters.

use crate::page::PageHash;
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
/// The parameter with the id of the page.
const PAGE: &str = "nodevent_page";

/// What a subscription is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested<'a> {
    /// A stream whose name the application has signed.
    Signed {
        /// The name with its signature.
        token: Cow<'a, str>,
        /// Whether its messages are streams of Turbo.
        is_turbo: bool,
        /// The position of the stream when the page was rendered, if its tag has it.
        since: Option<Cow<'a, str>>,
        /// The id of the page, if its tag has it: 1 to 64 printable ASCII characters.
        page: Option<Cow<'a, str>>,
    },
    /// A public stream.
    Public(Cow<'a, str>),
    /// A channel in Ruby.
    Channel,
}

/// Reads the text of an identifier. `None`: it is not an object with the name of a channel.
#[must_use]
pub fn parse(text: &str) -> Option<Requested<'_>> {
    let members = raw_members(text)?;
    let text_of = |name: &str| members.get(name).and_then(|raw| string(raw.get()));
    let channel = text_of("channel")?;
    let signed = |is_turbo| {
        let (token, since) = (text_of(SIGNED_NAME)?, text_of(SINCE));
        let page = text_of(PAGE).filter(|page| PageHash::of(page).is_some());
        Some(Requested::Signed { token, is_turbo, since, page })
    };
    match &*channel {
        TURBO => signed(true),
        PUBSUB => signed(false).or_else(|| text_of(PUBLIC_NAME).map(Requested::Public)),
        _ => Some(Requested::Channel),
    }
}

/// Whether the page shows the messages of a subscription as HTML: it is one of `turbo_stream_from`, with any channel.
#[must_use]
pub fn is_html(text: &str) -> bool {
    let members = raw_members(text).unwrap_or_default();
    let channel = members.get("channel").and_then(|raw| string(raw.get()));
    channel.is_some_and(|channel| channel == TURBO || channel != PUBSUB && members.contains_key(SIGNED_NAME))
}

/// The name that the application has signed for a channel in Ruby, and the position of its stream when the page was rendered:
/// what `turbo_stream_from …, channel: …` sends. `None`: the identifier has none.
#[must_use]
pub fn signed_for_channel(text: &str) -> Option<(Cow<'_, str>, Option<Cow<'_, str>>)> {
    let members = raw_members(text)?;
    let text_of = |name: &str| members.get(name).and_then(|raw| string(raw.get()));
    Some((text_of(SIGNED_NAME)?, text_of(SINCE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_decides_what_a_subscription_is_for() {
        let token = "InBvc3RzIg==--00";
        let signed = |is_turbo| Some(Requested::Signed { token: token.into(), is_turbo, since: None, page: None });
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
    fn a_tag_may_say_since_when_it_was_rendered_and_for_which_page() {
        let requested = |more: &str| {
            let text = format!(r#"{{"channel":"Turbo::StreamsChannel","signed_stream_name":"t"{more}}}"#);
            match parse(&text) {
                Some(Requested::Signed { since, page, .. }) => {
                    (since.map(Cow::into_owned), page.map(Cow::into_owned))
                }
                other => panic!("{other:?}"),
            }
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(requested(r#","nodevent_since":"x""#), (some("x"), None));
        assert_eq!(requested(r#","nodevent_since":"x","nodevent_page":"p-1""#), (some("x"), some("p-1")));
        let long = format!(r#","nodevent_page":"{}""#, "x".repeat(65));
        for bad in [r#","nodevent_page":"""#, r#","nodevent_page":"a b""#, r#","nodevent_page":7"#, &long] {
            assert_eq!(requested(bad), (None, None), "{bad}");
        }
    }

    #[test]
    fn a_page_shows_messages_as_html_if_it_has_subscribed_by_a_tag_of_turbo() {
        for (text, expected) in [
            (r#"{"channel":"Turbo::StreamsChannel","signed_stream_name":"t"}"#, true),
            (r#"{"signed_stream_name":"t","channel":"Turbo\u003a:StreamsChannel"}"#, true),
            (r#"{"channel":"MyStreams","signed_stream_name":"t"}"#, true),
            (r#"{"channel":"MyStreams","room":1}"#, false),
            (r#"{"channel":"$pubsub","signed_stream_name":"t"}"#, false),
            (r#"{"signed_stream_name":"t"}"#, false),
            ("", false),
        ] {
            assert_eq!(is_html(text), expected, "{text}");
        }
    }

    #[test]
    fn a_channel_in_ruby_may_have_a_signed_name() {
        let text = r#"{"channel":"MyChannel","signed_stream_name":"t","nodevent_since":"x"}"#;
        assert_eq!(parse(text), Some(Requested::Channel));
        assert_eq!(signed_for_channel(text), Some(("t".into(), Some("x".into()))));
        assert_eq!(signed_for_channel(r#"{"channel":"MyChannel","nodevent_since":"x"}"#), None);
        assert_eq!(signed_for_channel("MyChannel"), None);
    }
}
