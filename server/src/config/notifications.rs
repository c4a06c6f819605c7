//! `notifications`: the channels of realtime-notifications, and where their texts come from.
//!
//! **Architecture Invariant:** browsers subscribe to listed channels only, and the server reads no channel of Redis but
//! those.

use super::keys;
use super::reader::MapReader;
use super::redis::Redis;
use super::report::Report;
use super::tree::Node;
use nodevent_protocol::notifications::MAX_CHANNEL_BYTES;
use std::path::{Path, PathBuf};

/// The settings of one namespace.
#[derive(Debug, Clone, Default)]
pub struct Notifications {
    /// The channels that browsers may subscribe to.
    pub channels: Vec<String>,
    /// Whether the page is served at `/`.
    pub has_page: bool,
    /// Where the texts come from.
    pub sources: Sources,
}

/// Where texts come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Redis: what is published in the channels of the same names.
    pub redis: Option<Redis>,
    /// Requests with a publish key.
    pub has_http: bool,
    /// The channel of the lines of standard input.
    pub stdin: Option<String>,
    /// The channel and the file whose new lines are sent.
    pub file: Option<(String, PathBuf)>,
    /// The channel of the demonstration.
    pub demo: Option<String>,
}

/// Reads `notifications`. Other files are relative to `folder`.
pub(super) fn read(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Notifications {
    let Some(mut map) = MapReader::open(node, path, &keys::NOTIFICATIONS, report) else {
        return Notifications::default();
    };
    let (location, is_written) = (map.location, map.has("channels"));
    let mut channels = Vec::new();
    for (channel, location) in map.texts("channels", report) {
        let is_channel = (1..=MAX_CHANNEL_BYTES).contains(&channel.len())
            && !channel.starts_with('/')
            && !channel.chars().any(char::is_control);
        if is_channel {
            channels.push(channel);
        } else {
            let what = format!("{path}.channels has a name that cannot be a channel");
            let hint = "write at most 241 bytes without control characters; channels that begin with `/` belong to namespaces";
            report.error(location, what, hint);
        }
    }
    if !is_written {
        report.error(location, format!("{path} has no channels"), "write `channels: [notif]`");
    }
    let redis_path = map.name("redis");
    let redis = map.take("redis").and_then(|node| Redis::read(node, &redis_path, folder, report));
    let file_path = map.name("file");
    let file = map.take("file").and_then(|node| read_file(node, &file_path, folder, report));
    let sources = Sources {
        redis,
        has_http: map.flag("http", report).unwrap_or(false),
        stdin: map.text("stdin", report),
        file,
        demo: map.text("demo", report),
    };
    let has_page = map.flag("page", report).unwrap_or(false);
    let used = [&sources.stdin, &sources.demo].into_iter().flatten().chain(sources.file.as_ref().map(|one| &one.0));
    for channel in used {
        if !channels.contains(channel) {
            let what = format!("{path} has a source for a channel that is not listed");
            report.error(location, what, "add it to `channels`");
        }
    }
    map.finish(report);
    Notifications { channels, has_page, sources }
}

fn read_file(node: &Node, path: &str, folder: &Path, report: &mut Report) -> Option<(String, PathBuf)> {
    let mut map = MapReader::open(node, path, &keys::NOTIFICATIONS_FILE, report)?;
    let location = map.location;
    let file = map.text("path", report).map(|file| folder.join(file));
    let channel = map.text("channel", report);
    if file.is_none() || channel.is_none() {
        let what = format!("{path} needs a path and a channel");
        report.error(location, what, "write `{path: /var/log/app.log, channel: notif}`");
    }
    map.finish(report);
    channel.zip(file)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn mistakes_are_reported_with_their_fix() {
        //
        for (text, error) in [
            ("{}", "has no channels"),
            ("{channels: [/protected]}", "cannot be a channel"),
            ("{channels: [\"a\\u0001\"]}", "cannot be a channel"),
            ("{channels: [a], stdin: b}", "a channel that is not listed"),
            ("{channels: [a], demo: b}", "a channel that is not listed"),
            ("{channels: [a], file: {path: x, channel: b}}", "a channel that is not listed"),
            ("{channels: [a], file: {path: x}}", "needs a path and a channel"),
            ("{channels: [a], http: true}", "has no publish key"),
        ] {
            let text = format!("/:\n  dialect: notifications\n  notifications: {text}\n");
            let report = Config::from_yaml(&text).unwrap_err();
            assert!(report.to_string().contains(error), "{text}: {report}");
        }
        assert!(Config::from_yaml("/: {dialect: notifications}\n").is_err(), "it has no channels");
    }

    #[test]
    fn dialects_share_a_namespace_if_their_rooms_are_apart() {
        //
        let both = "/: {dialect: [turted, notifications], notifications: {channels: [a]}}\n";
        let config = Config::from_yaml(both).unwrap();
        assert_eq!(config.namespaces[0].dialects.len(), 2);
        assert!(!config.namespaces[0].is_open());
        let report = Config::from_yaml("/: {open: true, dialect: [nodevent, turted]}\n").unwrap_err();
        assert!(report.to_string().contains("cannot share a namespace"), "{report}");
    }
}
