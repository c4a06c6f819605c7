//! The capability *pages*: to which channels a visitor's page is subscribed.
//!
//! An application subscribes a page before it connects. The subscriptions survive short disconnects, and are forgotten if
//! the page never connects. Engines implement [`Pages`]; shards and HTTP know this trait only.

use crate::client::Client;
use crate::outcome::{Outcome, Pending};
use nodevent_protocol::key::Secret;
use nodevent_protocol::pages::{self, PageDigest, Subscription};
use std::fmt;
use std::sync::Weak;
use std::time::Duration;

/// How long pages are kept, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSettings {
    /// Time for which a page is kept that has not connected for that long.
    pub initial: Duration,
    /// Time for which a page is kept that has disconnected.
    pub grace: Duration,
    /// Channels of one page, with the one without a name.
    pub max_channels: usize,
    /// Pages of the namespace.
    pub max_pages: usize,
    /// What the rooms of channels begin with. Empty: a channel is the room of that name.
    pub room_prefix: &'static str,
}

/// Recognizes the visitors of a namespace: by a cookie that the application has signed.
#[derive(Clone)]
pub struct VisitorCookie {
    /// The name of the cookie.
    pub name: Box<str>,
    /// What signs it.
    pub secret: Secret,
    /// The namespace's name, which is signed too.
    pub namespace: Box<str>,
}

/// The key of a visitor's session.
#[derive(Clone, PartialEq, Eq)]
pub struct VisitorKey(Box<str>);

/// Whether a channel exists for the publisher that searches.
pub type IsVisible<'a> = dyn Fn(&str) -> bool + Send + Sync + 'a;

/// Stores the subscriptions of pages.
pub trait Pages: Send + Sync {
    /// The settings.
    fn settings(&self) -> PageSettings;

    /// Changes the subscriptions of a page. When the future completes, the engine has them, and what is published from now
    /// on reaches the connections of the page as they say. A repetition changes nothing.
    ///
    /// # Errors
    /// [`Unavailable`](crate::outcome::Unavailable): as far as the engine knows, it has not changed them.
    fn change<'a>(&'a self, change: &'a PageChange) -> Pending<'a, Changed>;

    /// The channels that match a pattern and to which a page is subscribed, each once, without those that `is_visible`
    /// excludes. `None`: more than `max`.
    ///
    /// # Errors
    /// [`Unavailable`](crate::outcome::Unavailable).
    fn channels<'a>(
        &'a self,
        pattern: &'a str,
        is_visible: &'a IsVisible<'a>,
        max: usize,
    ) -> Pending<'a, Option<Vec<String>>>;

    /// A page has connected, or is still connected. Returns its subscriptions; the caller receives what follows their
    /// positions, which are not returned again. After [`Outcome::Pending`] a [`PageReply`] arrives through the shard's
    /// inbox, and the caller returns with [`Pages::close`] what no connection receives. [`Outcome::Overloaded`]: try again.
    fn open(&self, page: PageDigest, reply_to: PageReplyTo) -> Outcome<Vec<Subscription>>;

    /// A connection of a page has ended. The page is kept for `grace` if it was connected for `initial`, and otherwise for
    /// `initial` as if it had not connected: who only loads pages takes no places for long.
    fn close(&self, page: PageDigest, received: Received);
}

/// What a connection has received that has ended.
#[derive(Debug)]
pub enum Received {
    /// The channels up to these positions.
    UpTo(Vec<Subscription>),
    /// Nothing: the reply to [`Pages::open`] came too late. The positions in it are valid again, unless there are
    /// newer ones.
    Nothing(Vec<Subscription>),
}

/// A change of the subscriptions of a page. The removals come first.
#[derive(Debug)]
pub struct PageChange {
    /// The page.
    pub page: PageDigest,
    /// Channels.
    pub unsubscribe: Vec<Box<str>>,
    /// Channels. The page receives what follows.
    pub subscribe: Vec<Box<str>>,
}

/// The result of a [`PageChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Done {
        /// The channels that are new, without the one without a name.
        subscribed: usize,
        /// The channels that are gone.
        unsubscribed: usize,
        /// The channels of the page now, without the one without a name.
        channels: usize,
    },
    /// The page would have too many channels.
    TooManyChannels,
    /// There would be too many pages.
    TooManyPages,
}

/// A change that was made, on its way to the connections of the page.
#[derive(Debug)]
pub struct PageNotice {
    /// The page.
    pub page: PageDigest,
    /// The channels that are gone. Others may be new.
    pub unsubscribed: Vec<Box<str>>,
}

/// The destination of a reply: a connection that may be gone.
#[derive(Debug, Clone)]
pub struct PageReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot.
    pub slot: u32,
    /// The slot's occupant.
    pub generation: u32,
    /// The namespace's id.
    pub namespace: u16,
    /// The client.
    pub client: Client,
    /// Whether the connection still wants it. If not, the reply is due, but not the read.
    pub is_wanted: Weak<()>,
}

/// The reply to [`Pages::open`].
#[derive(Debug)]
pub struct PageReply {
    /// The page.
    pub page: PageDigest,
    /// The request.
    pub reply_to: PageReplyTo,
    /// The subscriptions. `None`: the engine is unavailable, or they are not wanted any more.
    pub subscriptions: Option<Vec<Subscription>>,
}

/// What happens to the subscriptions of a connection's page.
#[derive(Debug)]
pub enum PageEvent<'a> {
    /// These are its subscriptions.
    Subscriptions(&'a [Subscription]),
    /// These channels are gone.
    Unsubscribed(&'a [Box<str>]),
    /// The engine is unavailable.
    Unavailable,
}

// === impl VisitorCookie ===

impl VisitorCookie {
    /// The key in the cookies of a request: the pairs of their names and values. Another site below the same domain may
    /// have set a cookie of the same name too. `now`: seconds since 1970.
    pub fn key<'a>(&self, cookies: impl Iterator<Item = (&'a str, &'a str)>, now: u64) -> Option<VisitorKey> {
        let mut named = cookies.filter(|(name, _)| *name == &*self.name);
        let secret = self.secret.as_bytes();
        let key = named.find_map(|(_, value)| pages::verify_cookie(secret, &self.namespace, value, now));
        key.map(|key| VisitorKey(key.into()))
    }
}

impl fmt::Debug for VisitorCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret makes every visitor.
        f.debug_struct("VisitorCookie").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl VisitorKey ===

impl VisitorKey {
    /// The page with this id. `None`: it cannot be the id of one.
    pub fn page(&self, connection_id: &str) -> Option<PageDigest> {
        pages::is_connection_id(connection_id).then(|| PageDigest::of(&self.0, connection_id))
    }
}

impl fmt::Debug for VisitorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows it is the visitor.
        f.debug_struct("VisitorKey").finish_non_exhaustive()
    }
}

// === impl Received ===

impl Received {
    /// Whether the positions count only where there are no others, and the positions.
    pub fn into_parts(self) -> (bool, Vec<Subscription>) {
        match self {
            Self::UpTo(positions) => (false, positions),
            Self::Nothing(positions) => (true, positions),
        }
    }
}

// === impl PageReplyTo ===

impl PageReplyTo {
    /// Whether the connection still wants the reply.
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.strong_count() > 0
    }
}

// === impl PageNotice ===

impl PageNotice {
    /// Its size. Bytes.
    pub fn size(&self) -> usize {
        self.unsubscribed.iter().map(|channel| channel.len() + 16).sum::<usize>() + 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_recognized_by_the_cookie_of_the_namespace_alone() {
        // P-13, P-15, X-07
        let key = "a".repeat(64);
        let secret = b"a-secret-of-at-least-32-characters-x";
        let of = |namespace: &str| VisitorCookie {
            name: "page".into(),
            secret: Secret::new(secret.to_vec()).unwrap(),
            namespace: namespace.into(),
        };
        let signed = pages::sign_cookie(secret, "/live", &key, 100);
        let cookies = || [("other", &*signed), ("page", "1.forged"), ("page", &*signed)].into_iter();
        let visitor = of("/live").key(cookies(), 99).unwrap();
        let id = "b".repeat(64);
        assert_eq!(visitor.page(&id), Some(PageDigest::of(&key, &id)));
        assert_eq!(visitor.page("short"), None);
        assert_eq!(of("/live").key(cookies(), 100), None, "it has expired");
        assert_eq!(of("/other").key(cookies(), 99), None);
        assert_eq!(of("/live").key([("other", &*signed)].into_iter(), 99), None);
        assert!(!format!("{visitor:?} {:?}", of("/live")).contains("aaaa"));
    }
}
