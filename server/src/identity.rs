//! Who a connection is: the same for every protocol and dialect.

use nodevent_protocol::mailbox::of_device;
use std::borrow::Cow;
use std::fmt;

/// The user of a connection in one namespace.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's id in the application. Empty: the application has named none, which only `dialect: web_service` allows.
    pub user: Box<str>,
    /// When the identity expires. Milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// When it was issued. Milliseconds since the Unix epoch. 0: that is not known.
    pub issued_ms: u64,
    /// What the application says about the user: the text of a JSON value.
    pub info: Option<Box<str>>,
    /// The rooms that the connection joins without a key.
    pub rooms: Box<[Box<str>]>,
    /// What only `dialect: web_service` knows.
    pub site: Option<Box<OfSite>>,
}

/// What a connection of `dialect: web_service` has said about itself.
#[derive(Clone, PartialEq, Eq)]
pub struct OfSite {
    /// The device, whose mailbox is its own. `None`: the mailbox is the user's.
    pub device: Option<Box<str>>,
    /// The header `Authorization` of requests for the connection, if the site is notified that it is connected. A secret.
    pub authorization: Option<Box<str>>,
}

// === impl Identity ===

impl Identity {
    /// The length of all its texts. Bytes.
    pub fn size(&self) -> usize {
        let rooms: usize = self.rooms.iter().map(|room| room.len() + size_of::<Box<str>>()).sum();
        let site = self.site.iter().flat_map(|site| [&site.device, &site.authorization]).flatten();
        self.user.len()
            + self.info.as_ref().map_or(0, |info| info.len())
            + rooms
            + site.map(|text| text.len()).sum::<usize>()
    }

    /// The name of the connection's mailbox.
    pub fn mailbox(&self) -> Cow<'_, str> {
        match self.site.as_ref().and_then(|site| site.device.as_ref()) {
            Some(device) if !self.user.is_empty() => of_device(&self.user, device).into(),
            _ => Cow::Borrowed(&*self.user),
        }
    }

    /// Whether the connection joins this room without a key.
    pub fn opens(&self, room: &str) -> bool {
        self.rooms.iter().any(|one| **one == *room)
    }
}

impl fmt::Debug for OfSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It contains a secret.
        f.debug_struct("OfSite").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // User and info belong to a person.
        f.debug_struct("Identity").field("expires_ms", &self.expires_ms).finish_non_exhaustive()
    }
}
