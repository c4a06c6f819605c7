//! `presence`: which rooms of a namespace have presence, and how it behaves.

use super::keys;
use super::reader::MapReader;
use super::report::Report;
use super::tree::Node;
use crate::presence::Settings;
use std::time::Duration;

/// The range of a lease. A shorter one would end while a busy server renews it.
const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);

/// Reads `presence`. `None`: no room has it.
pub(super) fn read(node: &Node, path: &str, report: &mut Report) -> Option<Settings> {
    if node.is_off() {
        return None;
    }
    let mut settings = Settings::default();
    if let Some(text) = node.scalar() {
        if !["on", "true", "yes"].iter().any(|on| text.eq_ignore_ascii_case(on)) {
            let what = format!("{path} is neither true nor false");
            report.error(node.location, what, "write `true`, or `{rooms: [Chat_], grace: 10s}`");
        }
        return Some(settings);
    }
    let mut map = MapReader::open(node, path, &keys::PRESENCE, report)?;
    let location = map.location_of("lease");
    settings.lease = map.positive_duration("lease", report).unwrap_or(settings.lease);
    if !LEASE.contains(&settings.lease) {
        report.error(location, format!("{path}.lease is not between 2s and 1h"), "write e.g. `lease: 30s`");
    }
    settings.grace = map.duration("grace", report).unwrap_or(settings.grace);
    settings.max_size = map.number("max_size", report).unwrap_or(settings.max_size);
    let has_rooms = map.has("rooms");
    let location = map.location_of("rooms");
    let rooms = map.texts("rooms", report);
    if has_rooms {
        if rooms.is_empty() {
            report.error(location, format!("{path}.rooms is empty"), "write `rooms: [Chat_]`, or delete it");
        }
        let prefixes = rooms.into_iter().map(|(name, _)| name.trim_end_matches('*').to_owned());
        settings.prefixes = Some(prefixes.collect());
    }
    map.finish(report);
    Some(settings)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::presence::Settings;
    use nodevent_protocol::topic;
    use std::time::Duration;

    fn presence(text: &str) -> Option<Settings> {
        Config::from_yaml(&format!("/a: {{open: true, presence: {text}}}\n")).unwrap().namespaces[0]
            .presence
            .clone()
    }

    #[test]
    fn presence_is_off_and_can_be_on_for_all_rooms_or_for_those_with_a_prefix() {
        assert_eq!(Config::from_yaml("/a: {open: true}\n").unwrap().namespaces[0].presence, None);
        assert_eq!(presence("false"), None);
        assert_eq!(presence("off"), None);
        let all = presence("true").unwrap();
        assert!(all.includes("r"));
        assert!([topic::ALL, &topic::of_user("7")].iter().all(|topic| !all.includes(topic)));
        let some = presence("{rooms: [\"Chat_*\", Desk_], lease: 20s, grace: 0s, max_size: 10}").unwrap();
        assert!(some.includes("Chat_1") && some.includes("Desk_2") && !some.includes("Log_1"));
        assert_eq!((some.lease, some.grace, some.max_size), (Duration::from_secs(20), Duration::ZERO, 10));
    }

    #[test]
    fn a_mistake_is_reported_with_its_location_and_enables_nothing() {
        for (text, error) in [
            ("maybe", "/a.presence is neither true nor false"),
            ("{lease: 1s}", "/a.presence.lease is not between 2s and 1h"),
            ("{rooms: []}", "/a.presence.rooms is empty"),
        ] {
            let report = Config::from_yaml(&format!("/a:\n  open: true\n  presence: {text}\n")).unwrap_err();
            assert!(report.to_string().contains(error), "{report}");
            assert!(report.to_string().contains(":3:"), "{report}");
        }
    }
}
