//! The protocol `pakyow`: pages receive the messages of channels to which the application has subscribed them, and call the
//! application.
//!
//! Its messages are defined in [`nodevent_protocol::pakyow`] and in `protocol/README.md` section 15. A channel is a room
//! that only this protocol can join, so delivery, order and recovery come from the core.
//!
//! `endpoint` decides who a visitor is, `subscriptions` joins what the page is subscribed to, `requests` has the messages of
//! the client.
//!
//! # Source
//! pakyow-realtime 0.11.

mod encoding;
mod endpoint;
mod requests;
mod subscriptions;

use super::Mount;
use crate::authorize::DialectJoins;
use crate::calls::{CallResult, ConnectionEvent};
use crate::close_reason::CloseReason;
use crate::encoding::Encoding;
use crate::http::Endpoint;
use crate::pages::PageEvent;
use crate::protocol::{Core, Message, Millis, NEVER, Protocol, SubscribeReply};
use encoding::PakyowEncoding;
use endpoint::PakyowEndpoint;
use nodevent_protocol::key::Secret;
use nodevent_protocol::pages::PageDigest;
use nodevent_protocol::pakyow;
use requests::PendingCall;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use subscriptions::Subscriptions;

/// The name of the protocol in the configuration.
const NAME: &str = "pakyow";
/// How often a page is read again, so that the engine keeps it: a part of its grace period, within these limits.
const RENEW_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// The part of the grace period.
const RENEWALS: u32 = 3;
/// For how many times `initial` a connection reads its page as often as that: another connection of the page may end
/// meanwhile, and the page is kept for `initial` from then on.
const NEW_FOR: u64 = 3;

/// State that all connections of a namespace share.
struct Settings {
    namespace: u16,
    /// The namespace's name.
    name: Arc<str>,
    /// Where pages connect.
    path: Box<str>,
    /// The name of the cookie with the key of the session.
    cookie: Box<str>,
    /// What signs it.
    secret: Secret,
    /// Admits its joins.
    joins: Arc<DialectJoins>,
    encoding: Arc<dyn Encoding>,
    ping_interval: Millis,
    ping_timeout: Millis,
    /// How long a page is kept that has not connected for that long.
    initial: Millis,
    renew_interval: Millis,
    /// The same for a new connection.
    first_renew_interval: Millis,
}

/// Who opens a connection.
#[derive(Debug, Default)]
struct Visitor {
    /// The page. `None`: it is not known, and receives nothing.
    page: Option<PageDigest>,
    /// The id of the page's connection. Empty: it was missing, or cannot be one.
    connection: Box<str>,
}

/// One connection.
#[derive(Debug)]
struct Pakyow {
    settings: Arc<Settings>,
    visitor: Visitor,
    heartbeat: Heartbeat,
    /// What it is subscribed to.
    subscriptions: Subscriptions,
    /// When the page is read again.
    renew_at: Millis,
    /// Until when it is a new connection.
    new_until: Millis,
    /// Whether its subscriptions have been read.
    is_active: bool,
    /// The calls that the application has not replied to.
    calls: Vec<PendingCall>,
    /// The number of the last call.
    last_call: u64,
}

/// The heartbeat: pings of the WebSocket layer, which clients answer by themselves.
#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    /// The next ping is due.
    PingAt(Millis),
    /// A pong must arrive.
    PongBy(Millis),
}

/// Mounts the protocol for the namespaces that use it.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let limits = &mount.config.limits;
    let (shortest, longest) = RENEW_INTERVAL;
    let settings = |namespace: u16| {
        let pages = mount.config.namespaces[usize::from(namespace)].pages.as_ref()?;
        let one = mount.namespaces.get(namespace);
        let interval = |kept: Duration| (kept / RENEWALS).clamp(shortest, longest).as_millis() as Millis;
        let renew_interval = interval(pages.settings.grace);
        Some(Arc::new(Settings {
            namespace,
            name: Arc::clone(&one.name),
            path: pages.path.clone(),
            cookie: pages.cookie.clone(),
            secret: pages.secret.clone(),
            joins: Arc::clone(&one.dialect_joins),
            encoding: Arc::new(PakyowEncoding),
            ping_interval: limits.ping_interval.as_millis() as Millis,
            ping_timeout: limits.ping_timeout.as_millis() as Millis,
            initial: pages.settings.initial.as_millis() as Millis,
            renew_interval,
            first_renew_interval: interval(pages.settings.initial).min(renew_interval),
        }))
    };
    let served: Vec<Arc<Settings>> = mount.namespaces_with(NAME).filter_map(settings).collect();
    (!served.is_empty()).then(|| Arc::new(PakyowEndpoint::new(served)) as Arc<dyn Endpoint>)
}

// === impl Settings ===

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret makes every visitor.
        f.debug_struct("Settings").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

// === impl Pakyow ===

impl Pakyow {
    fn new(settings: &Arc<Settings>, visitor: Visitor) -> Self {
        Self {
            settings: Arc::clone(settings),
            visitor,
            heartbeat: Heartbeat::PingAt(NEVER),
            subscriptions: Subscriptions::default(),
            renew_at: NEVER,
            new_until: NEVER,
            is_active: false,
            calls: Vec::new(),
            last_call: 0,
        }
    }

    /// Time until the page is read again.
    fn renew_interval(&self, now: Millis) -> Millis {
        if now < self.new_until { self.settings.first_renew_interval } else { self.settings.renew_interval }
    }
}

impl Protocol for Pakyow {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
        self.new_until = core.now().saturating_add(self.settings.initial.saturating_mul(NEW_FOR));
        core.connected(self.settings.namespace);
        self.read_page(core);
        Ok(())
    }

    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match message {
            Message::Text(text) => self.on_text(text, core),
            Message::Binary(_) => core.send_text(&pakyow::reply(None, 400, "the message is not text")),
            Message::Pong => {
                if let Heartbeat::PongBy(_) = self.heartbeat {
                    self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
                }
            }
            Message::Body(_) => return Err(CloseReason::Malformed),
        }
        Ok(())
    }

    fn deadline(&self) -> Millis {
        let (Heartbeat::PingAt(at) | Heartbeat::PongBy(at)) = self.heartbeat;
        at.min(self.renew_at)
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if core.now() >= self.renew_at {
            self.read_page(core);
        }
        match self.heartbeat {
            Heartbeat::PongBy(by) if core.now() >= by => Err(CloseReason::PingTimeout),
            Heartbeat::PingAt(at) if core.now() >= at => {
                self.heartbeat = Heartbeat::PongBy(core.now() + self.settings.ping_timeout);
                core.ping();
                Ok(())
            }
            Heartbeat::PongBy(_) | Heartbeat::PingAt(_) => Ok(()),
        }
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        self.on_joined(reply.request, reply.result, core);
    }

    fn page(&mut self, _namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match event {
            PageEvent::Subscriptions(subscriptions) => self.on_subscriptions(subscriptions, core),
            PageEvent::Unsubscribed(channels) => self.on_unsubscribed(channels, core),
            PageEvent::Unavailable => self.retry(core),
        }
        Ok(())
    }

    fn called(&mut self, _namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        self.on_called(number, result, core);
    }

    fn closing(&mut self, _reason: CloseReason, core: &mut dyn Core) {
        let received = self.received_up_to(core);
        core.close_page(received);
        if self.is_active {
            core.notify_call(self.settings.namespace, ConnectionEvent::Leave, Some(&self.visitor.connection));
        }
    }
}
