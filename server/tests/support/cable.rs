//! A client of Action Cable, frame by frame.

use super::site::Site;
use super::wait::in_time;
use super::websocket::WebSocket;
use nodevent_protocol::action_cable::signed_name::sign;
use nodevent_protocol::key::Secret;
use serde_json::{Value, json};

/// What the stock client of Rails offers.
pub const RAILS: &str = "actioncable-v1-json, actioncable-unsupported";
/// What the client of AnyCable offers by default.
pub const ANYCABLE: &str = "actioncable-v1-json";
/// What the client of AnyCable offers for the extended protocol.
pub const EXTENDED: &str = "actioncable-v1-ext-json";
/// The key of signed names in the tests.
pub const STREAM_KEY: &str = "a-key-for-names-of-streams";

/// A client.
pub struct Cable(pub WebSocket);

/// The name of a stream with its signature.
pub fn signed(stream: &str) -> String {
    sign(stream, &Secret::new(STREAM_KEY).expect("a key"))
}

/// The identifier of `turbo_stream_from`, with further parameters.
pub fn turbo_with(stream: &str, parameters: &Value) -> String {
    let mut identifier = json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": signed(stream)});
    for (name, value) in parameters.as_object().into_iter().flatten() {
        identifier[name] = value.clone();
    }
    identifier.to_string()
}

/// The identifier of `turbo_stream_from`.
pub fn turbo(stream: &str) -> String {
    turbo_with(stream, &json!({}))
}

/// A command as text.
pub fn command(command: &str, identifier: &str) -> String {
    json!({"command": command, "identifier": identifier}).to_string()
}

/// `confirm_subscription`.
pub fn confirmed(identifier: &str) -> Value {
    json!({"identifier": identifier, "type": "confirm_subscription"})
}

/// `reject_subscription`.
pub fn rejected(identifier: &str) -> Value {
    json!({"identifier": identifier, "type": "reject_subscription"})
}

/// A message.
pub fn message(identifier: &str, message: impl Into<Value>) -> Value {
    json!({"identifier": identifier, "message": message.into()})
}

// === impl Cable ===

impl Cable {
    /// Opens a WebSocket, without waiting for the first frame.
    pub async fn open(site: &Site, path: &str, subprotocols: &str) -> Self {
        Self::open_with(site, path, &[("Sec-WebSocket-Protocol", subprotocols)]).await
    }

    /// Opens a WebSocket with these headers, without waiting for the first frame.
    pub async fn open_with(site: &Site, path: &str, headers: &[(&str, &str)]) -> Self {
        let socket = WebSocket::open_path(site, path, headers).await;
        Self(socket.unwrap_or_else(|response| panic!("{}: {}", response.status, response.text())))
    }

    /// Connects to `/cable` and reads the welcome.
    pub async fn connect(site: &Site, subprotocols: &str) -> Self {
        let mut cable = Self::open(site, "/cable", subprotocols).await;
        let mut welcome = cable.next().await;
        if subprotocols == EXTENDED {
            assert_eq!(
                welcome.as_object_mut().and_then(|welcome| welcome.remove("sid")).map(|sid| sid.is_string()),
                Some(true)
            );
        }
        assert_eq!(welcome, json!({"type": "welcome"}));
        cable
    }

    /// Connects as the stock client of Rails.
    pub async fn rails(site: &Site) -> Self {
        Self::connect(site, RAILS).await
    }

    pub async fn send(&mut self, text: &str) {
        self.0.send(&[text]).await;
    }

    /// The next frame that is not a ping.
    pub async fn next(&mut self) -> Value {
        in_time("a frame that is not a ping", async {
            loop {
                let frame = self.next_or_ping().await;
                if frame["type"] != "ping" {
                    return frame;
                }
            }
        })
        .await
    }

    /// The next frame.
    pub async fn next_or_ping(&mut self) -> Value {
        let text = in_time("a frame", self.0.next()).await.expect("the server sends a frame");
        serde_json::from_str(&text).expect("a frame is JSON")
    }

    /// Sends a command and returns the next frame.
    pub async fn call(&mut self, name: &str, identifier: &str) -> Value {
        self.send(&command(name, identifier)).await;
        self.next().await
    }

    /// Subscribes, which the server must confirm.
    pub async fn subscribe(&mut self, identifier: &str) {
        assert_eq!(self.call("subscribe", identifier).await, confirmed(identifier));
    }

    /// Lets the server see that everything has arrived until now: waits for a ping of the WebSocket layer, and until the
    /// server has handled its pong. The server must ping often.
    pub async fn confirms_arrival(&mut self) {
        let before = self.0.pings;
        in_time("a ping of the WebSocket layer", async {
            while self.0.pings == before {
                let frame = self.next_or_ping().await;
                assert_eq!(frame["type"], "ping", "{frame}");
            }
        })
        .await;
        // The command follows the pong.
        self.receives_nothing_else().await;
    }

    /// Checks that nothing waits: the next frame is the confirmation of another subscription.
    pub async fn receives_nothing_else(&mut self) {
        self.subscribe(&turbo_with("nothing-else", &json!({"n": rand::random::<u32>()}))).await;
    }

    /// Waits until the server closes, and returns the code and reason.
    pub async fn ended(mut self) -> Option<(u16, String)> {
        in_time("the server closes", async { while self.0.next().await.is_some() {} }).await;
        self.0.close_frame.map(|frame| (frame.code.into(), frame.reason.to_string()))
    }
}
