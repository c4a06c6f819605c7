//! What a page knows of the mailbox of its user. It works as our browser client does: it keeps what is unread, and
//! acknowledges again what the server has not confirmed.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The mailbox as one page sees it. Ids are numbers here.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Unread messages: the number in each, by id.
    pub unread: BTreeMap<u64, u64>,
    /// The number of unread messages, as the server has reported it last.
    pub total: u64,
    /// Acknowledgements that the server has not confirmed.
    pub pending: BTreeSet<u64>,
    /// Everything that the page has acknowledged.
    pub attempted: BTreeSet<u64>,
    /// How often each message came after its acknowledgement was confirmed.
    confirmed: HashMap<u64, u32>,
    /// Ids in the first pages of a connection, until all have arrived.
    found: Option<BTreeSet<u64>>,
    /// The newest message on this connection.
    newest: u64,
    /// Whether everything that was in the mailbox has arrived on this connection.
    pub is_open: bool,
}

// === impl Inbox ===

impl Inbox {
    /// The connection was lost.
    pub fn on_disconnect(&mut self) {
        (self.found, self.newest, self.is_open) = (None, 0, false);
    }

    /// Messages arrived.
    ///
    /// # Errors
    /// What must not occur.
    pub fn on_page(&mut self, page: &Value) -> Result<(), String> {
        if page["first"] == true {
            self.found = Some(BTreeSet::new());
        }
        for message in page["messages"].as_array().ok_or("no messages")? {
            let id = id_of(&message["id"]).ok_or_else(|| format!("no id: {message}"))?;
            let number = message["message"].as_u64().ok_or_else(|| format!("no number: {message}"))?;
            if id <= self.newest {
                return Err(format!("message {id} came after {}", self.newest));
            }
            self.newest = id;
            if let Some(found) = &mut self.found {
                found.insert(id);
            }
            if let Some(again) = self.confirmed.get_mut(&id) {
                *again += 1;
                if *again > 1 {
                    return Err(format!("message {id} was acknowledged and came again twice"));
                }
            } else if !self.pending.contains(&id) {
                self.unread.insert(id, number);
            }
        }
        if page["last"] == true
            && let Some(found) = self.found.take()
        {
            self.unread.retain(|id, _| found.contains(id));
            self.pending.retain(|id| found.contains(id));
            self.is_open = true;
        }
        self.total = page["unread"].as_u64().ok_or("no number of unread messages")?;
        Ok(())
    }

    /// A page of the user, or the application, has acknowledged messages.
    pub fn on_acknowledged(&mut self, notice: &Value) {
        let ids: BTreeSet<u64> = notice["ids"].as_array().into_iter().flatten().filter_map(id_of).collect();
        let up_to = id_of(&notice["up_to"]).unwrap_or(0);
        let is_left = |id: u64| id > up_to && !ids.contains(&id);
        self.unread.retain(|id, _| is_left(*id));
        self.pending.retain(|id| is_left(*id));
        self.total = notice["unread"].as_u64().unwrap_or(self.total);
    }

    /// Acknowledges the oldest unread messages.
    pub fn acknowledge(&mut self, count: usize) {
        for _ in 0..count {
            let Some((id, _)) = self.unread.pop_first() else { return };
            self.pending.insert(id);
            self.attempted.insert(id);
        }
    }

    /// The server has confirmed acknowledgements.
    pub fn on_confirmed(&mut self, ids: &BTreeSet<u64>, unread: Option<u64>) {
        for id in ids {
            self.pending.remove(id);
            self.confirmed.entry(*id).or_default();
        }
        self.total = unread.unwrap_or(self.total);
    }
}

/// The number of an id.
pub fn id_of(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}
