//! The protocol `pakyow`: pages receive the messages of channels to which the application has subscribed them, and call the
//! application.
//!
//! Its messages are defined in [`nodevent_protocol::pakyow`] and in `protocol/README.md` section 15. A channel is a room
//! that only this protocol can join, so delivery, order and recovery come from the core.
//!
//! `endpoint` decides who a visitor is, [`super::page_rooms`] joins what the page is subscribed to, `requests` has the messages
//! of the client.
//!
//! # Source
//! pakyow-realtime 0.11.

mod encoding;
mod endpoint;
mod requests;

use super::Mount;
use super::page_rooms::{PageRooms, PageSettings, RoomEvent};
use crate::calls::{CallResult, ConnectionEvent};
use crate::close_reason::CloseReason;
use crate::encoding::Encoding;
use crate::http::Endpoint;
use crate::pages::{PageEvent, VisitorCookie};
use crate::protocol::{Core, Message, Millis, NEVER, Protocol, SubscribeReply};
use encoding::PakyowEncoding;
use endpoint::PakyowEndpoint;
use nodevent_protocol::pages::PageDigest;
use nodevent_protocol::pakyow;
use requests::PendingCall;
use std::sync::Arc;

/// The name of the protocol in the configuration.
const NAME: &str = "pakyow";
/// State that all connections of a namespace share.
#[derive(Debug)]
struct Settings {
    namespace: u16,
    /// Where pages connect.
    path: Box<str>,
    /// Recognizes visitors.
    visitors: VisitorCookie,
    pages: Arc<PageSettings>,
    ping_interval: Millis,
    ping_timeout: Millis,
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
    /// The channels of its page. `None`: it is not known.
    channels: Option<PageRooms>,
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
    let encoding: Arc<dyn Encoding> = Arc::new(PakyowEncoding);
    let settings = |namespace: u16| {
        let pages = mount.config.namespaces[usize::from(namespace)].pages.as_ref()?;
        Some(Arc::new(Settings {
            namespace,
            path: pages.path.clone(),
            visitors: pages.visitors(&mount.namespaces.get(namespace).name),
            pages: PageSettings::of(mount, namespace, &encoding)?,
            ping_interval: limits.ping_interval.as_millis() as Millis,
            ping_timeout: limits.ping_timeout.as_millis() as Millis,
        }))
    };
    let served: Vec<Arc<Settings>> = mount.namespaces_with(NAME).filter_map(settings).collect();
    (!served.is_empty()).then(|| Arc::new(PakyowEndpoint::new(served)) as Arc<dyn Endpoint>)
}

// === impl Pakyow ===

impl Pakyow {
    fn new(settings: &Arc<Settings>, visitor: Visitor) -> Self {
        Self {
            settings: Arc::clone(settings),
            visitor,
            heartbeat: Heartbeat::PingAt(NEVER),
            channels: None,
            is_active: false,
            calls: Vec::new(),
            last_call: 0,
        }
    }

    /// Sends the client what it must know about its channels.
    fn report(&mut self, events: &[RoomEvent], core: &mut dyn Core) {
        for event in events {
            if let RoomEvent::Joined(channel, Ok(joined)) = event
                && joined.recovery.is_some_and(|recovery| !recovery.recovered)
            {
                core.send_text(&pakyow::gap(channel));
            }
        }
    }

    fn read_page(&mut self, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        let events = channels.read(core);
        let is_read = channels.is_read();
        self.report(&events, core);
        self.notify_active(is_read, core);
    }

    /// Notifies the application as soon as the subscriptions of the page are active.
    fn notify_active(&mut self, is_read: bool, core: &mut dyn Core) {
        if is_read && !std::mem::replace(&mut self.is_active, true) {
            core.notify_call(self.settings.namespace, ConnectionEvent::Join, Some(&self.visitor.connection));
        }
    }
}

impl Protocol for Pakyow {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
        core.connected(self.settings.namespace);
        let now = core.now();
        self.channels = self.visitor.page.map(|page| PageRooms::new(&self.settings.pages, page, now));
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
        at.min(self.channels.as_ref().map_or(NEVER, PageRooms::renew_at))
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if self.channels.as_ref().is_some_and(|channels| core.now() >= channels.renew_at()) {
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
        let (Some(channels), Some(number)) = (&mut self.channels, reply.request.number) else { return };
        let event = channels.on_joined(number, reply.result, core);
        self.report(event.as_slice(), core);
    }

    fn page(&mut self, _namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let Some(channels) = &mut self.channels else { return Ok(()) };
        let events = channels.on_event(event, core);
        let is_read = channels.is_read();
        self.report(&events, core);
        self.notify_active(is_read, core);
        Ok(())
    }

    fn called(&mut self, _namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        self.on_called(number, result, core);
    }

    fn closing(&mut self, _reason: CloseReason, core: &mut dyn Core) {
        if let Some(channels) = &self.channels {
            channels.close(core);
        }
        if self.is_active {
            core.notify_call(self.settings.namespace, ConnectionEvent::Leave, Some(&self.visitor.connection));
        }
    }
}
