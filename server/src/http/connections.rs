//! Requests of endpoints to connections: the only way from a protocol's HTTP side to a shard.

use super::Http;
use crate::client::Client;
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
    pub fn open_polling(&self, client: Client, request: PollingRequest) -> Result<(), Busy> {
        self.shards.send_request(self.shards.least_loaded(), client, ToShard::Polling(request))
    }

    /// Sends a request of a connection on long-polling to its shard.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait, or there is no such shard.
    pub fn send_polling(&self, id: ConnectionId, client: Client, request: PollingRequest) -> Result<(), Busy> {
        self.shards.send_request(id.shard, client, ToShard::Polling(request))
    }

    /// Sends a request for an upgrade to the connection's shard.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait, or there is no such shard.
    pub fn send_upgrade(&self, id: ConnectionId, client: Client, request: UpgradeRequest) -> Result<(), Busy> {
        self.shards.send_request(id.shard, client, ToShard::Upgrade(request))
    }

    /// Opens a connection on a stream, on the shard with the fewest connections.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait.
    pub fn open_stream(&self, open: OpenStream) -> Result<(), Busy> {
        let client = Client::of(open.info.peer());
        let request = ToShard::Stream(StreamRequest::Open(Box::new(open)));
        self.shards.send_request(self.shards.least_loaded(), client, request)
    }
}
