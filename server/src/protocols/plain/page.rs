//! The visitor's page of a connection: the rooms to which the application has subscribed it.

use super::access::Access;
use super::{Plain, hint};
use crate::history::RequestId;
use crate::pages::PageEvent;
use crate::protocol::{Core, Joined, Millis, NEVER, SubscribeReply};
use crate::protocols::page_rooms::{PageRooms, PageSettings, RoomEvent};
use nodevent_protocol::pages::{ITSELF, PageDigest};
use nodevent_protocol::plain;
use nodevent_protocol::topic::Topic;
use serde_json::Value;
use std::sync::Arc;

/// What the handshake says about the client's page.
#[derive(Debug)]
pub(super) struct NamedPage {
    /// The id that the client has named.
    pub(super) connection_id: Box<str>,
    pub(super) settings: Arc<PageSettings>,
}

/// The page of a connection.
#[derive(Debug)]
pub(super) struct Page {
    connection_id: Box<str>,
    page: PageDigest,
    rooms: PageRooms,
}

// === impl Plain ===

impl Plain {
    /// The client has named its page. The rooms are joined as soon as it may send commands.
    pub(super) fn open_page(&mut self, core: &mut dyn Core) {
        let Some(named) = self.named_page.take() else { return };
        let visitor = core.info().visitor(self.namespace);
        let page = visitor.and_then(|visitor| visitor.page(&named.connection_id));
        core.send_text(&plain::page(page.map(|page| page.to_string()).as_deref()));
        self.page = page.map(|page| {
            let rooms = PageRooms::new(&named.settings, page, core.now());
            Box::new(Page { connection_id: named.connection_id, page, rooms })
        });
        self.read_due_page(core);
    }

    /// Reads the page, if it is time and the client may send commands.
    pub(super) fn read_due_page(&mut self, core: &mut dyn Core) {
        if !matches!(self.access, Access::Granted) {
            return;
        }
        if let Some(page) = self.page.as_mut().filter(|page| page.rooms.renew_at() <= core.now()) {
            let events = page.rooms.read(core);
            self.report(events, core);
        }
    }

    /// When the page is to be read.
    pub(super) fn page_deadline(&self) -> Millis {
        let page = self.page.as_ref().filter(|_| matches!(self.access, Access::Granted));
        page.map_or(NEVER, |page| page.rooms.renew_at())
    }

    /// Something has happened to the page.
    pub(super) fn on_page_event(&mut self, event: &PageEvent<'_>, core: &mut dyn Core) {
        let events = self.page.as_mut().map(|page| page.rooms.on_event(event, core)).unwrap_or_default();
        self.report(events, core);
    }

    /// The reply to a join. Returns whether the page has caused it.
    pub(super) fn on_page_joined(&mut self, reply: &SubscribeReply<'_>, core: &mut dyn Core) -> bool {
        let RequestId { number: Some(number), part: RequestId::OF_PAGE } = reply.request else { return false };
        let event = self.page.as_mut().and_then(|page| page.rooms.on_joined(number, reply.result, core));
        self.report(event, core);
        true
    }

    fn report(&mut self, events: impl IntoIterator<Item = RoomEvent>, core: &mut dyn Core) {
        for event in events {
            match event {
                RoomEvent::Joined(room, result) if *room != *ITSELF => {
                    self.on_joined(Topic::Room(&room), None, result, core);
                }
                RoomEvent::Joined(_, Ok(Joined { recovery })) => {
                    self.join_by = NEVER;
                    let page = self.page.as_ref().map(|page| page.page.to_string()).unwrap_or_default();
                    let recovery = recovery.map(|recovery| (recovery.position, recovery.recovered));
                    core.send_text(&plain::joined_page(&page, recovery));
                }
                RoomEvent::Joined(_, Err(error)) => {
                    core.send_text(&plain::error(error.as_str(), hint(error), None, None));
                }
                RoomEvent::Left(room) => core.send_text(&plain::left(&room, None)),
            }
        }
    }

    /// What opens a room that the page is subscribed to.
    pub(super) fn credential_of_page(&self, room: &str) -> Option<Value> {
        self.page.as_ref()?.rooms.credential(room)
    }

    /// The id of the client's page.
    pub(super) fn connection_id(&self) -> Option<&str> {
        self.page.as_ref().map(|page| &*page.connection_id)
    }

    /// The connection is about to be closed.
    pub(super) fn close_page(&mut self, core: &mut dyn Core) {
        if let Some(page) = self.page.take() {
            page.rooms.close(core);
        }
    }
}
