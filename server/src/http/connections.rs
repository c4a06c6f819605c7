//! Requests of endpoints to connections: the only way from a protocol's HTTP side to a shard.

use super::Http;
use crate::connection_id::ConnectionId;
pub use crate::shard::Busy;
use crate::shard::ToShard;
pub use crate::shard::message::{
    OpenStream, PollReply, PollResponse, PollingFormat, PollingRequest, PostReply, StreamReceiver, StreamRequest,
    UpgradeReply, UpgradeRequest,
};

// === impl Http ===

impl Http {
    /// Opens a connection on long-polling, on the shard with the fewest connections.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait.
    pub fn open_polling(&self, request: PollingRequest) -> Result<(), Busy> {
        self.shards.send(self.shards.least_loaded(), ToShard::Polling(request))
    }

    /// Sends a request of a connection on long-polling to its shard.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait, or there is no such shard.
    pub fn send_polling(&self, id: ConnectionId, request: PollingRequest) -> Result<(), Busy> {
        self.shards.send(id.shard, ToShard::Polling(request))
    }

    /// Sends a request for an upgrade to the connection's shard.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait, or there is no such shard.
    pub fn send_upgrade(&self, id: ConnectionId, request: UpgradeRequest) -> Result<(), Busy> {
        self.shards.send(id.shard, ToShard::Upgrade(request))
    }

    /// Opens a connection on a stream, on the shard with the fewest connections.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait.
    pub fn open_stream(&self, open: OpenStream) -> Result<(), Busy> {
        self.shards.send(self.shards.least_loaded(), ToShard::Stream(StreamRequest::Open(Box::new(open))))
    }
}
