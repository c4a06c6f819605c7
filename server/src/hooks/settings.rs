//! Of which events the application is notified, and how much the journal holds.

use nodevent_protocol::presence::EVENT_PREFIX;

/// The events of which the application is notified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookEvents {
    /// A client has connected.
    pub connected: bool,
    /// A client has disconnected.
    pub disconnected: bool,
    /// A user has entered a room with presence.
    pub entered: bool,
    /// A user has left it.
    pub left: bool,
    /// The names of publications, or what they begin with and an asterisk.
    pub delivered: Vec<String>,
}

/// What a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// Events that wait.
    pub size: usize,
    /// Their memory. Bytes.
    pub bytes: usize,
    /// Dead letters.
    pub dead_letters: usize,
}

// === impl HookEvents ===

impl HookEvents {
    /// Whether the application is notified of publications with this name. Events of the server itself are never included.
    pub fn includes_publication(&self, event: &str) -> bool {
        !event.starts_with(EVENT_PREFIX)
            && self.delivered.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => event.starts_with(prefix),
                None => event == pattern,
            })
    }

    /// Whether it is notified of users in rooms.
    pub fn has_presence(&self) -> bool {
        self.entered || self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_included_by_its_name_or_a_prefix_of_it() {
        let events = HookEvents { delivered: vec!["comment".into(), "order_*".into()], ..HookEvents::default() };
        for (event, included) in
            [("comment", true), ("comments", false), ("order_", true), ("order_paid", true), ("order", false)]
        {
            assert_eq!(events.includes_publication(event), included, "{event}");
        }
        assert!(HookEvents { delivered: vec!["*".into()], ..HookEvents::default() }.includes_publication("x"));
        assert!(
            !HookEvents { delivered: vec!["*".into()], ..HookEvents::default() }
                .includes_publication("nodevent:enter")
        );
        assert!(!HookEvents::default().includes_publication(""));
    }
}
