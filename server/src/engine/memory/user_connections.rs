//! The capability *connections of users* in the memory engine: there is one server.

use crate::outcome::Pending;
use crate::user_connections::{LocalUsers, UserConnections};
use std::future::ready;

/// The users of this server.
#[derive(Debug, Default)]
pub(super) struct UserConnectionsInMemory(LocalUsers);

impl UserConnections for UserConnectionsInMemory {
    fn local(&self) -> &LocalUsers {
        &self.0
    }

    fn read<'a>(&'a self, user: &'a str) -> Pending<'a, Vec<(String, u32)>> {
        let own = Some(self.0.count(user)).filter(|count| *count > 0);
        Box::pin(ready(Ok(own.into_iter().map(|count| (self.0.server().to_owned(), count)).collect())))
    }
}
