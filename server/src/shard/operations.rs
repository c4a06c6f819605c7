//! What a dialect may have done for the connection that called it.

use super::Shard;
use crate::admission::Admission;
use crate::dialect::{JoinRefused, Operations};
use crate::frame::Frame;
use crate::hub::{Joined, Left};
use crate::namespace::Namespace;
use nodevent_protocol::socket_io;
use std::sync::atomic::Ordering::Relaxed;

/// The connection that called, in the namespace it called in.
pub(super) struct Caller<'a> {
    pub(super) shard: &'a mut Shard,
    pub(super) slot: u32,
    pub(super) namespace: &'a Namespace,
}

// === impl Caller ===

impl Operations for Caller<'_> {
    fn admission(&self) -> &Admission {
        &self.namespace.admission
    }

    fn longest_room(&self) -> usize {
        self.namespace.limits.name
    }

    fn join(&mut self, room: &str, since: Option<&str>, id: Option<u64>) -> Result<(), JoinRefused> {
        let (now, per_second) = (self.shard.now, self.shard.settings.joins_per_second);
        let allowed =
            self.shard.session_mut(self.slot).is_some_and(|session| session.joins.allows(per_second, now));
        if !allowed {
            return self.refuse(JoinRefused::TooFast);
        }
        let before = self.shard.hub.len();
        let number = match self.shard.hub.join(self.slot, self.namespace.number, room, self.namespace.limits.rooms)
        {
            Joined::TooMany => return self.refuse(JoinRefused::TooManyRooms),
            Joined::New(number) => number,
            // It hears already, and does not say up to where: no position could be told that is not ahead of it.
            Joined::Already(_) if since.is_none() => {
                self.shard.metrics.joins.fetch_add(1, Relaxed);
                self.shard.joined_already(self.slot, self.namespace, room, id);
                return Ok(());
            }
            Joined::Already(number) => number,
        };
        self.shard.metrics.rooms.fetch_add((self.shard.hub.len() - before) as i64, Relaxed);
        self.shard.metrics.joins.fetch_add(1, Relaxed);
        self.shard.recover(self.slot, self.namespace, number, room, since, id);
        Ok(())
    }

    fn leave(&mut self, room: &str) -> bool {
        let number = self.shard.hub.find(self.namespace.number, room);
        let left = self.shard.hub.leave(self.slot, self.namespace.number, room);
        if let (Some(number), Some(session)) = (number, self.shard.session_mut(self.slot)) {
            session.join_buffers.retain(|held| held != number);
        }
        match left {
            Left::NotIn => false,
            Left::Out => true,
            Left::Last(room) => {
                self.shard.room_gone(&room);
                true
            }
        }
    }

    fn acknowledge(&mut self, id: u64, args: &str, attachments: &[Vec<u8>]) {
        let mut packet = String::with_capacity(args.len() + self.namespace.name.len() + 24);
        packet.push('4');
        if attachments.is_empty() {
            socket_io::encode_ack(&mut packet, &self.namespace.name, id, args);
        } else {
            socket_io::encode_binary_ack(&mut packet, &self.namespace.name, id, args, attachments.len());
        }
        self.send(&packet, attachments);
    }

    fn emit(&mut self, args: &str, attachments: &[Vec<u8>]) {
        self.event(None, args, attachments);
    }

    fn ask(&mut self, args: &str, attachments: &[Vec<u8>]) -> Option<u64> {
        let number = self.namespace.number;
        let id = self.shard.session_mut(self.slot)?.pending_acks.begin(number)?;
        self.event(Some(id), args, attachments);
        Some(id)
    }

    fn refused_join(&mut self, refusal: &'static str) {
        self.shard.metrics.rejected_joins.fetch_add(1, Relaxed);
        tracing::info!(namespace = &*self.namespace.name, reason = refusal, "a join was refused");
    }
}

impl Caller<'_> {
    fn refuse(&mut self, refused: JoinRefused) -> Result<(), JoinRefused> {
        self.refused_join(refused.as_str());
        Err(refused)
    }

    fn event(&mut self, id: Option<u64>, args: &str, attachments: &[Vec<u8>]) {
        let mut packet = String::with_capacity(args.len() + self.namespace.name.len() + 24);
        packet.push('4');
        if attachments.is_empty() {
            socket_io::encode_event(&mut packet, &self.namespace.name, id, args);
        } else {
            socket_io::encode_binary_event(&mut packet, &self.namespace.name, id, args, attachments.len());
        }
        self.send(&packet, attachments);
    }

    fn send(&mut self, packet: &str, attachments: &[Vec<u8>]) {
        self.shard.send_text(self.slot, packet);
        for attachment in attachments {
            self.shard.send(self.slot, &Frame::binary(attachment));
        }
    }
}
