//! A browser: Engine.IO and Socket.IO over either transport, and the events of the dialect `nodevent`.
//!
//! It is strict: anything unexpected fails the test immediately. That is why it exists apart from the members of the
//! fault tests, which reconnect by themselves and record violations.

use super::http::Response;
use super::packet::Packet;
use super::polling::Polling;
use super::site::Site;
use super::wait::in_time;
use super::websocket::WebSocket;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The transport that a browser starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Polling,
}

/// An event that a browser received in a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub room: Value,
    pub event: Value,
    /// `Null` if the publication has none; see [`Event::publication`].
    pub message: Value,
    /// The whole publication.
    pub publication: Value,
    /// The publication as received on the wire.
    pub text: String,
}

/// A browser with one connection.
pub struct Browser {
    site: Site,
    link: Link,
    /// The current namespace.
    namespace: String,
    last_id: u64,
    /// Packets that arrived while the test waited for another one.
    deferred: VecDeque<Packet>,
    /// Engine.IO packets of the last polls before an upgrade.
    polled: VecDeque<String>,
    /// The body of the open packet.
    pub handshake: Value,
}

enum Link {
    WebSocket(Box<WebSocket>),
    Polling(Polling),
}

// === impl Transport ===

impl Transport {
    pub const BOTH: [Self; 2] = [Self::WebSocket, Self::Polling];
}

// === impl Browser ===

impl Browser {
    /// Connects and enters a namespace, which must exist.
    pub async fn connect(site: &Site, namespace: &str, transport: Transport) -> Self {
        let mut browser = Self::open(site, transport).await;
        browser.enter(namespace).await.expect("the namespace admits the browser");
        browser
    }

    /// Opens a connection without entering a namespace.
    pub async fn open(site: &Site, transport: Transport) -> Self {
        match Self::try_open(site, transport, &[]).await {
            Ok(browser) => browser,
            Err(response) => panic!("refused with {}: {}", response.status, response.text()),
        }
    }

    /// Opens a connection with further headers in its handshake.
    ///
    /// # Errors
    /// The server refused the connection.
    pub async fn try_open(site: &Site, transport: Transport, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let (link, open) = match transport {
            Transport::Polling => {
                let (polling, open) = Polling::open(site, headers).await?;
                (Link::Polling(polling), open)
            }
            Transport::WebSocket => {
                let mut websocket = WebSocket::open(site, "", headers).await?;
                let open = in_time("the open packet", websocket.next()).await.expect("an open packet");
                (Link::WebSocket(Box::new(websocket)), open)
            }
        };
        let handshake = open.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok());
        Ok(Self {
            site: site.clone(),
            link,
            namespace: String::new(),
            last_id: 0,
            deferred: VecDeque::new(),
            polled: VecDeque::new(),
            handshake: handshake.unwrap_or_else(|| panic!("no open packet: {open}")),
        })
    }

    /// Enters a namespace, which later calls use.
    ///
    /// # Errors
    /// The body of the connect error.
    pub async fn enter(&mut self, namespace: &str) -> Result<Value, Value> {
        self.enter_with(namespace, "").await
    }

    /// Enters a namespace with the text of an auth payload.
    ///
    /// # Errors
    /// The body of the connect error.
    pub async fn enter_with(&mut self, namespace: &str, auth: &str) -> Result<Value, Value> {
        self.send(&[&format!("40{namespace},{auth}")]).await;
        let reply = self.await_packet("a reply to the connect packet", |packet| {
            packet.namespace == namespace && matches!(packet.kind, '0' | '4')
        });
        let reply = reply.await;
        if reply.kind == '4' {
            return Err(reply.value());
        }
        self.namespace = namespace.to_owned();
        Ok(reply.value())
    }

    /// Sends Engine.IO packets, in as few writes as possible or in one POST.
    pub async fn send(&mut self, packets: &[&str]) {
        match &mut self.link {
            Link::WebSocket(websocket) => websocket.send(packets).await,
            Link::Polling(polling) => polling.send(packets).await,
        }
    }

    /// Sends an event without asking for an acknowledgement.
    pub async fn send_event(&mut self, event: &str, args: &[Value]) {
        let packet = self.event_packet("", event, args);
        self.send(&[&packet]).await;
    }

    /// Sends an event, and returns the arguments of its acknowledgement.
    pub async fn call(&mut self, event: &str, args: &[Value]) -> Value {
        let id = self.last_id + 1;
        self.last_id = id;
        let packet = self.event_packet(&id.to_string(), event, args);
        self.send(&[&packet]).await;
        let what = format!("an acknowledgement of {packet}");
        let namespace = self.namespace.clone();
        self.await_packet(&what, |packet| {
            packet.kind == '3' && packet.id == Some(id) && packet.namespace == namespace
        })
        .await
        .value()
    }

    /// Returns the Engine.IO packet of an event in the current namespace.
    pub fn event_packet(&self, id: &str, event: &str, args: &[Value]) -> String {
        let mut all = vec![json!(event)];
        all.extend_from_slice(args);
        format!("42{},{id}{}", self.namespace, Value::from(all))
    }

    /// Joins an open room.
    pub async fn join(&mut self, room: &str) {
        let ack = self.call("join", &[json!({"room": room})]).await;
        assert!(is_admitted(&ack), "join {room}: {ack}");
    }

    /// Joins with a key, and returns the acknowledgement.
    pub async fn join_with(&mut self, room: &str, key: impl Into<Value>) -> Value {
        self.call("join", &[json!({"room": room, "key": key.into()})]).await
    }

    /// Leaves a room.
    pub async fn leave(&mut self, room: &str) {
        assert_eq!(self.call("leave", &[json!({"room": room})]).await, json!([null]), "leave {room}");
    }

    /// Returns the next event in the current namespace.
    pub async fn next_event(&mut self) -> Event {
        let text = self.next_event_text().await;
        Self::event(text)
    }

    /// Returns the next publication in the current namespace, and leaves what is not one for [`Browser::next_notice`].
    pub async fn next_publication(&mut self) -> Event {
        let packet =
            self.await_packet("a publication", |packet| packet.kind == '2' && packet.is_publication()).await;
        Self::event(packet.value()[1].to_string())
    }

    /// Returns the name and the arguments of the next event that is not a publication.
    pub async fn next_notice(&mut self) -> Value {
        self.await_packet("a notice", |packet| packet.kind == '2' && !packet.is_publication()).await.value()
    }

    /// An event that is not a publication and has arrived already.
    pub fn deferred_notice(&mut self) -> Option<Value> {
        let is_notice = |packet: &Packet| packet.kind == '2' && !packet.is_publication();
        let found = self.deferred.iter().position(is_notice)?;
        self.deferred.remove(found).map(|packet| packet.value())
    }

    /// Does the same, but passes over the confirmation that the connection receives what is published to its user.
    pub async fn next_other_notice(&mut self) -> Value {
        let is_other = |packet: &Packet| {
            let confirms_user = packet.json.starts_with("[\"joined\",") && packet.json.contains("\"user\":");
            packet.kind == '2' && !packet.is_publication() && !confirms_user
        };
        self.await_packet("a notice", is_other).await.value()
    }

    fn event(text: String) -> Event {
        let publication: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let member = |name: &str| publication[name].clone();
        Event { room: member("room"), event: member("event"), message: member("message"), publication, text }
    }

    /// Returns the text of the next publication, which may exceed what the JSON reader of the tests supports.
    pub async fn next_event_text(&mut self) -> String {
        let namespace = self.namespace.clone();
        // What the browser does not receive is for `next_notice`.
        let is_event = |packet: &Packet| {
            let is_notice = ["[\"skipped\",", "[\"joined\","].iter().any(|name| packet.json.starts_with(name));
            packet.kind == '2' && packet.namespace == namespace && !is_notice
        };
        let packet = self.await_packet("an event", is_event).await;
        let text = packet.json.strip_prefix(r#"["event","#).and_then(|rest| rest.strip_suffix(']'));
        text.unwrap_or_else(|| panic!("not an `event`: {packet:?}")).to_owned()
    }

    /// Checks that no event is outstanding, without waiting for time to pass: joins a new room, publishes to it, and
    /// receives that event next. An engine keeps the order within a namespace, so an earlier event would come first.
    pub async fn receives_nothing_else(&mut self, publisher: &Site) {
        self.receives_nothing_else_with(publisher, |_| None).await;
    }

    /// Does the same in a secured namespace; `key` returns the key of a room.
    pub async fn receives_nothing_else_with(&mut self, publisher: &Site, key: impl Fn(&str) -> Option<String>) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let room = format!("fence-{}", LAST.fetch_add(1, Relaxed));
        let ack = self.join_with(&room, key(&room)).await;
        assert!(is_admitted(&ack), "join {room}: {ack}");
        publisher.emit(&self.namespace.clone(), &room, "fence", Value::Null).await;
        let event = self.next_event().await;
        assert_eq!(event.room, room, "an unexpected event: {}", event.text);
        self.leave(&room).await;
    }

    /// Waits until the server closes the connection or disconnects the current namespace. Returns the close code and
    /// reason of a WebSocket.
    pub async fn ended(&mut self) -> Option<(u16, String)> {
        while let Some(packet) = in_time("the end of the connection", self.next_packet()).await {
            if packet.kind == '1' && packet.namespace == self.namespace {
                return None;
            }
        }
        match &self.link {
            Link::WebSocket(websocket) => {
                websocket.close_frame.as_ref().map(|frame| (frame.code.into(), frame.reason.to_string()))
            }
            Link::Polling(_) => None,
        }
    }

    /// Upgrades from long-polling to WebSocket as a browser does: it probes, pauses polling, and upgrades. The packets
    /// `first` follow the last packet of the upgrade in the same write.
    pub async fn upgrade(&mut self, first: &[&str]) {
        let Link::Polling(polling) = &mut self.link else { panic!("the browser is on WebSocket already") };
        let sid = format!("&sid={}", polling.sid);
        let Ok(mut websocket) = WebSocket::open(&self.site, &sid, &[]).await else { panic!("the upgrade failed") };
        websocket.send(&["2probe"]).await;
        assert_eq!(in_time("the reply to the probe", websocket.next()).await.as_deref(), Some("3probe"));
        self.polled.extend(polling.pause().await);
        let packets: Vec<&str> = std::iter::once("5").chain(first.iter().copied()).collect();
        websocket.send(&packets).await;
        self.link = Link::WebSocket(Box::new(websocket));
    }

    /// Opens a WebSocket for an upgrade, sends packets, closes it, and waits until the server has closed it too.
    pub async fn probe_and_abandon(&mut self, packets: &[&str]) {
        let Link::Polling(polling) = &self.link else { panic!("the browser is on WebSocket already") };
        let sid = format!("&sid={}", polling.sid);
        let opened = WebSocket::open(&self.site, &sid, &[]).await;
        let mut websocket = opened.unwrap_or_else(|response| panic!("the upgrade failed: {}", response.status));
        websocket.send(packets).await;
        websocket.close().await;
    }

    /// Closes the connection.
    pub async fn close(mut self) {
        self.send(&["1"]).await;
    }

    async fn await_packet(&mut self, what: &str, fits: impl Fn(&Packet) -> bool) -> Packet {
        if let Some(found) = self.deferred.iter().position(&fits) {
            return self.deferred.remove(found).expect("it was found");
        }
        in_time(what, async {
            loop {
                let packet = self.next_packet().await;
                let packet = packet.unwrap_or_else(|| panic!("the connection ended before {what}"));
                if fits(&packet) {
                    return packet;
                }
                self.deferred.push_back(packet);
            }
        })
        .await
    }

    /// Returns the next Socket.IO packet, or `None` if the connection ended. Answers heartbeats before it.
    pub async fn next_packet(&mut self) -> Option<Packet> {
        loop {
            let packet = match self.polled.pop_front() {
                Some(packet) => packet,
                None => match &mut self.link {
                    Link::WebSocket(websocket) => websocket.next().await?,
                    Link::Polling(polling) => polling.next().await?,
                },
            };
            match packet.split_at_checked(1) {
                Some(("2", _)) => self.send(&["3"]).await,
                Some(("4", message)) => {
                    let packet = Packet::read(message);
                    return Some(packet.unwrap_or_else(|| panic!("not a Socket.IO packet: {message}")));
                }
                Some(("6", _)) => {}
                _ => panic!("an unexpected packet: {packet}"),
            }
        }
    }
}

/// Returns true if the acknowledgement of a `join` begins with `null, true`. With history, more values follow.
pub fn is_admitted(ack: &Value) -> bool {
    ack[0].is_null() && ack[1] == true
}
