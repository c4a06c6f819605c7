//! The pages of a connection: in each namespace the one that its client has named. A connection without any uses no heap.

use super::SocketIo;
use crate::history::RequestId;
use crate::pages::PageEvent;
use crate::protocol::{Core, Millis, NEVER, SubscribeReply};
use crate::protocols::page_rooms::{PageRooms, PageSettings, RoomEvent};
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::{ITSELF, PageDigest};
use serde_json::Value;
use std::sync::Arc;

/// The pages of one connection.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that has none")]
pub(super) struct Pages(Option<Box<Vec<OfNamespace>>>);

#[derive(Debug)]
struct OfNamespace {
    namespace: u16,
    /// The id that the client has named.
    connection_id: Box<str>,
    rooms: PageRooms,
}

// === impl Pages ===

impl Pages {
    fn find(&self, namespace: u16) -> Option<&OfNamespace> {
        self.0.as_ref()?.iter().find(|one| one.namespace == namespace)
    }

    fn rooms(&mut self, namespace: u16) -> Option<&mut PageRooms> {
        let pages = self.0.as_mut()?;
        pages.iter_mut().find(|one| one.namespace == namespace).map(|one| &mut one.rooms)
    }

    /// The client shows this page from now on, which is read as soon as what was sent so far is handled.
    pub(super) fn set(
        &mut self,
        settings: (u16, &Arc<PageSettings>),
        page: (&str, PageDigest),
        received: Vec<(Box<str>, Position)>,
        core: &mut dyn Core,
    ) {
        let ((namespace, settings), (id, page)) = (settings, page);
        let pages = self.0.get_or_insert_default();
        let index = match pages.iter().position(|one| one.namespace == namespace) {
            Some(index) => {
                pages[index].connection_id = id.into();
                pages[index].rooms.replace(page, core);
                index
            }
            None => {
                let rooms = PageRooms::new(settings, page, core.now());
                pages.push(OfNamespace { namespace, connection_id: id.into(), rooms });
                pages.len() - 1
            }
        };
        pages[index].rooms.set_received(received);
    }

    /// The id of the client's page.
    pub(super) fn connection_id(&self, namespace: u16) -> Option<&str> {
        self.find(namespace).map(|one| &*one.connection_id)
    }

    /// What opens a room that the client's page is subscribed to.
    pub(super) fn credential(&self, namespace: u16, room: &str) -> Option<Value> {
        self.find(namespace)?.rooms.credential(room)
    }

    /// When one of them is to be read.
    pub(super) fn read_at(&self) -> Millis {
        self.0.iter().flat_map(|pages| pages.iter()).map(|one| one.rooms.renew_at()).min().unwrap_or(NEVER)
    }

    /// The client has left the namespace.
    pub(super) fn remove(&mut self, namespace: u16, core: &mut dyn Core) {
        let Some(pages) = &mut self.0 else { return };
        pages.retain(|one| {
            if one.namespace == namespace {
                one.rooms.close(core);
            }
            one.namespace != namespace
        });
        if pages.is_empty() {
            self.0 = None;
        }
    }

    /// The connection is about to be closed.
    pub(super) fn close(&mut self, core: &mut dyn Core) {
        for one in self.0.take().iter().flat_map(|pages| pages.iter()) {
            one.rooms.close(core);
        }
    }
}

// === impl SocketIo ===

impl SocketIo {
    /// Reads the pages whose time it is.
    pub(super) fn read_due_pages(&mut self, core: &mut dyn Core) {
        let now = core.now();
        if self.pages.read_at() > now {
            return;
        }
        let due = self.pages.0.iter().flat_map(|pages| pages.iter()).filter(|one| one.rooms.renew_at() <= now);
        let due: Vec<u16> = due.map(|one| one.namespace).collect();
        for namespace in due {
            let events = self.pages.rooms(namespace).map(|rooms| rooms.read(core)).unwrap_or_default();
            self.report(namespace, &events, core);
        }
    }

    /// Something has happened to the page in a namespace.
    pub(super) fn on_page_event(&mut self, namespace: u16, event: &PageEvent<'_>, core: &mut dyn Core) {
        let events = self.pages.rooms(namespace).map(|rooms| rooms.on_event(event, core)).unwrap_or_default();
        self.report(namespace, &events, core);
    }

    /// The reply to a join. Returns whether the page has caused it.
    pub(super) fn on_page_joined(&mut self, reply: &SubscribeReply<'_>, core: &mut dyn Core) -> bool {
        let SubscribeReply { namespace, request, result, .. } = *reply;
        let RequestId { number: Some(number), part: RequestId::OF_PAGE } = request else { return false };
        let event = self.pages.rooms(namespace).and_then(|rooms| rooms.on_joined(number, result, core));
        self.report(namespace, event.as_slice(), core);
        true
    }

    fn report(&mut self, namespace: u16, events: &[RoomEvent], core: &mut dyn Core) {
        for event in events {
            self.in_namespace(namespace, core, |dialect, operations| match event {
                RoomEvent::Joined(room, result) => {
                    let room = Some(&**room).filter(|room| *room != ITSELF);
                    dialect.page_room_joined(operations, room, *result);
                }
                RoomEvent::Left(room) => dialect.page_room_left(operations, room),
            });
        }
    }
}
