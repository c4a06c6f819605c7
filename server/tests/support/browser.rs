//! A browser: Engine.IO and Socket.IO over either transport, and the events of the dialect `nodevent`.

use super::http::Response;
use super::packet::Packet;
use super::polling::Polling;
use super::site::Site;
use super::wait::in_time;
use super::websocket::WebSocket;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The transport a browser begins on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Polling,
}

/// What a browser heard in a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub room: Value,
    pub event: Value,
    /// `Null` where there was none; see [`Event::publication`].
    pub message: Value,
    /// The whole publication.
    pub publication: Value,
    /// The publication as it stood on the wire.
    pub text: String,
}

/// A browser with one connection.
pub struct Browser {
    site: Site,
    carrier: Carrier,
    /// The namespace it speaks to.
    namespace: String,
    last_id: u64,
    /// Packets that came while another was awaited.
    aside: VecDeque<Packet>,
    /// Engine.IO packets that came with the last polls before an upgrade.
    polled: VecDeque<String>,
    /// The body of the open packet.
    pub handshake: Value,
}

enum Carrier {
    WebSocket(Box<WebSocket>),
    Polling(Polling),
}

// === impl Transport ===

impl Transport {
    pub const BOTH: [Self; 2] = [Self::WebSocket, Self::Polling];
}

// === impl Browser ===

impl Browser {
    /// Connects a namespace, which must be there.
    pub async fn connect(site: &Site, namespace: &str, transport: Transport) -> Self {
        let mut browser = Self::open(site, transport).await;
        browser.enter(namespace).await.expect("the namespace lets the browser in");
        browser
    }

    /// Opens a connection and stays before the namespaces.
    pub async fn open(site: &Site, transport: Transport) -> Self {
        match Self::try_open(site, transport, &[]).await {
            Ok(browser) => browser,
            Err(response) => panic!("refused with {}: {}", response.status, response.text()),
        }
    }

    /// Opens a connection with these headers in its handshake.
    ///
    /// # Errors
    /// The server refused.
    pub async fn try_open(site: &Site, transport: Transport, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let (carrier, open) = match transport {
            Transport::Polling => {
                let (polling, open) = Polling::open(site, headers).await?;
                (Carrier::Polling(polling), open)
            }
            Transport::WebSocket => {
                let mut websocket = WebSocket::open(site, "", headers).await?;
                let open = in_time("the open packet", websocket.next()).await.expect("an open packet");
                (Carrier::WebSocket(Box::new(websocket)), open)
            }
        };
        let handshake = open.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok());
        Ok(Self {
            site: site.clone(),
            carrier,
            namespace: String::new(),
            last_id: 0,
            aside: VecDeque::new(),
            polled: VecDeque::new(),
            handshake: handshake.unwrap_or_else(|| panic!("no open packet: {open}")),
        })
    }

    /// Connects a namespace; later calls go there.
    ///
    /// # Errors
    /// The body of the connect error.
    pub async fn enter(&mut self, namespace: &str) -> Result<Value, Value> {
        self.send(&[&format!("40{namespace},")]).await;
        let answer = self.await_packet("an answer to the connect packet", |packet| {
            packet.namespace == namespace && matches!(packet.kind, '0' | '4')
        });
        let answer = answer.await;
        if answer.kind == '4' {
            return Err(answer.value());
        }
        self.namespace = namespace.to_owned();
        Ok(answer.value())
    }

    /// Sends Engine.IO packets: as few writes, or one POST.
    pub async fn send(&mut self, packets: &[&str]) {
        match &mut self.carrier {
            Carrier::WebSocket(websocket) => websocket.send(packets).await,
            Carrier::Polling(polling) => polling.send(packets).await,
        }
    }

    /// Emits an event and expects no acknowledgement. `args` are its arguments.
    pub async fn tell(&mut self, event: &str, args: &[Value]) {
        let packet = self.event_packet("", event, args);
        self.send(&[&packet]).await;
    }

    /// Emits an event; answers the arguments of its acknowledgement.
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

    /// The Engine.IO packet of an event in the browser's namespace.
    pub fn event_packet(&self, id: &str, event: &str, args: &[Value]) -> String {
        let mut all = vec![json!(event)];
        all.extend_from_slice(args);
        format!("42{},{id}{}", self.namespace, Value::from(all))
    }

    /// Joins an open room.
    pub async fn join(&mut self, room: &str) {
        let answer = self.call("join", &[json!({"room": room})]).await;
        assert!(is_let_in(&answer), "join {room}: {answer}");
    }

    /// Joins with a key; answers the acknowledgement.
    pub async fn join_with(&mut self, room: &str, key: impl Into<Value>) -> Value {
        self.call("join", &[json!({"room": room, "key": key.into()})]).await
    }

    /// Leaves a room.
    pub async fn leave(&mut self, room: &str) {
        assert_eq!(self.call("leave", &[json!({"room": room})]).await, json!([null]), "leave {room}");
    }

    /// The next `event` in the browser's namespace.
    pub async fn next_event(&mut self) -> Event {
        let text = self.next_event_text().await;
        let publication: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let member = |name: &str| publication[name].clone();
        Event { room: member("room"), event: member("event"), message: member("message"), publication, text }
    }

    /// The publication of the next `event` as it stands on the wire; it may hold what our own JSON reader cannot.
    pub async fn next_event_text(&mut self) -> String {
        let namespace = self.namespace.clone();
        let packet =
            self.await_packet("an event", |packet| packet.kind == '2' && packet.namespace == namespace).await;
        let text = packet.json.strip_prefix(r#"["event","#).and_then(|rest| rest.strip_suffix(']'));
        text.unwrap_or_else(|| panic!("not an `event`: {packet:?}")).to_owned()
    }

    /// Shows that nothing came, without waiting for time to pass: joins a room that nobody else knows, has
    /// something said there, and hears that first. An engine keeps the order of its namespace, so whatever was
    /// published before would have come before.
    pub async fn hears_nothing_else(&mut self, publisher: &Site) {
        self.hears_nothing_else_with(publisher, |_| None).await;
    }

    /// The same in a secured namespace; `key` answers the key of a room.
    pub async fn hears_nothing_else_with(&mut self, publisher: &Site, key: impl Fn(&str) -> Option<String>) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let room = format!("silence-{}", LAST.fetch_add(1, Relaxed));
        let answer = self.join_with(&room, key(&room)).await;
        assert!(is_let_in(&answer), "join {room}: {answer}");
        publisher.emit(&self.namespace.clone(), &room, "silence", Value::Null).await;
        let event = self.next_event().await;
        assert_eq!(event.room, room, "nothing was to be heard, but there came {}", event.text);
        self.leave(&room).await;
    }

    /// Waits until the server ends the connection, or the browser's namespace on it. Answers the close code and
    /// reason of a WebSocket.
    pub async fn ended(&mut self) -> Option<(u16, String)> {
        while let Some(packet) = in_time("the end of the connection", self.next_packet()).await {
            if packet.kind == '1' && packet.namespace == self.namespace {
                return None;
            }
        }
        match &self.carrier {
            Carrier::WebSocket(websocket) => {
                websocket.farewell.as_ref().map(|frame| (frame.code.into(), frame.reason.to_string()))
            }
            Carrier::Polling(_) => None,
        }
    }

    /// Changes from long-polling to WebSocket as a browser does: probe, pause the polling, upgrade. `first` are
    /// packets that follow the last packet of the upgrade at once.
    pub async fn upgrade(&mut self, first: &[&str]) {
        let Carrier::Polling(polling) = &mut self.carrier else { panic!("it is on WebSocket already") };
        let sid = format!("&sid={}", polling.sid);
        let Ok(mut websocket) = WebSocket::open(&self.site, &sid, &[]).await else { panic!("no upgrade") };
        websocket.send(&["2probe"]).await;
        assert_eq!(in_time("the probe's answer", websocket.next()).await.as_deref(), Some("3probe"));
        self.polled.extend(polling.pause().await);
        let packets: Vec<&str> = std::iter::once("5").chain(first.iter().copied()).collect();
        websocket.send(&packets).await;
        self.carrier = Carrier::WebSocket(Box::new(websocket));
    }

    /// Opens a WebSocket for an upgrade, sends these packets on it, and closes it; waits until the server has seen it.
    pub async fn probe_and_give_up(&mut self, packets: &[&str]) {
        let Carrier::Polling(polling) = &self.carrier else { panic!("it is on WebSocket already") };
        let sid = format!("&sid={}", polling.sid);
        let opened = WebSocket::open(&self.site, &sid, &[]).await;
        let mut websocket = opened.unwrap_or_else(|response| panic!("no upgrade: {}", response.status));
        websocket.send(packets).await;
        websocket.close().await;
    }

    /// Closes the connection.
    pub async fn close(mut self) {
        self.send(&["1"]).await;
    }

    async fn await_packet(&mut self, what: &str, fits: impl Fn(&Packet) -> bool) -> Packet {
        if let Some(found) = self.aside.iter().position(&fits) {
            return self.aside.remove(found).expect("it was found");
        }
        in_time(what, async {
            loop {
                let packet = self.next_packet().await;
                let packet = packet.unwrap_or_else(|| panic!("the connection ended, awaited was {what}"));
                if fits(&packet) {
                    return packet;
                }
                self.aside.push_back(packet);
            }
        })
        .await
    }

    /// The next Socket.IO packet; heartbeats are answered on the way. `None`: the connection has ended.
    pub async fn next_packet(&mut self) -> Option<Packet> {
        loop {
            let packet = match self.polled.pop_front() {
                Some(packet) => packet,
                None => match &mut self.carrier {
                    Carrier::WebSocket(websocket) => websocket.next().await?,
                    Carrier::Polling(polling) => polling.next().await?,
                },
            };
            match packet.split_at_checked(1) {
                Some(("2", _)) => self.send(&["3"]).await,
                Some(("4", message)) => {
                    let packet = Packet::read(message);
                    return Some(packet.unwrap_or_else(|| panic!("no Socket.IO packet: {message}")));
                }
                Some(("6", _)) => {}
                _ => panic!("an unexpected packet: {packet}"),
            }
        }
    }
}

/// Whether that acknowledgement of a `join` begins with `null, true`; where there is history, more follows.
pub fn is_let_in(answer: &Value) -> bool {
    answer[0].is_null() && answer[1] == true
}
