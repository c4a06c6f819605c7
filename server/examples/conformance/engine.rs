//! The echo application of the Engine.IO suite: every message is sent back.

use nodevent_protocol::engine_io::Packet;
use nodevent_server::close_reason::CloseReason;
use nodevent_server::http::Endpoint;
use nodevent_server::protocol::{Core, Millis, SubscribeReply};
use nodevent_server::protocols::engine_io::{EngineIoEndpoint, NO_DEADLINE, Settings, Upper, Version};
use nodevent_server::protocols::{Mount, socket_io};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// One connection.
#[derive(Debug)]
struct Echo {
    version: Version,
    /// How long the whole shard pauses between the response to a handshake and the open packet.
    pause: Duration,
}

/// The endpoint of the application. The suite expects that only version 4 is served.
pub(crate) fn endpoint(mount: &Mount<'_>, pause: Duration, allows_version_3: bool) -> Arc<dyn Endpoint> {
    let settings = Settings { allows_version_3, ..socket_io::engine_io_settings(mount) };
    Arc::new(EngineIoEndpoint::new(&mount.config.path, settings, move |version| Echo { version, pause }))
}

// === impl Echo ===

impl Upper for Echo {
    fn opening(&mut self, core: &mut dyn Core) {
        core.flush();
        thread::sleep(self.pause);
    }

    fn opened(&mut self, _core: &mut dyn Core) {}

    fn text(&mut self, text: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let mut packet = String::new();
        nodevent_protocol::engine_io::packet::encode(&Packet::Message(text), &mut packet);
        core.send_text(&packet);
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8], core: &mut dyn Core) -> Result<(), CloseReason> {
        core.send(&[self.version.binary(bytes)]);
        Ok(())
    }

    fn connect_deadline(&self) -> Millis {
        NO_DEADLINE
    }

    fn subscribed(&mut self, _reply: SubscribeReply<'_>, _core: &mut dyn Core) {}

    fn closing(&mut self, _reason: CloseReason, _core: &mut dyn Core) {}
}
