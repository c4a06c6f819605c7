//! An authorizer that cannot decide at once: joins wait for it without holding up anything else.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use nodevent_protocol::history::Position;
use nodevent_protocol::publication::parse;
use nodevent_protocol::topic::Topic;
use nodevent_server::authorize::{Authorizer, Authorizers, JoinRequest, PublishAuthorizer, Verdict};
use nodevent_server::byte_budget::ByteBudget;
use nodevent_server::capability::{Engines, Publisher};
use nodevent_server::client::Client;
use nodevent_server::close_reason::CloseReason;
use nodevent_server::config::history::History;
use nodevent_server::connect_info::ConnectInfo;
use nodevent_server::encoding::{Encoding, Frame};
use nodevent_server::engine::Fanout;
use nodevent_server::engine::memory::Memory;
use nodevent_server::history::{ReplyTo, Since};
use nodevent_server::metrics::Metrics;
use nodevent_server::namespace::{Namespace, Namespaces, RoomLimits};
use nodevent_server::outcome::Outcome;
use nodevent_server::protocol::{Core, JoinError, Message, Millis, NEVER, Protocol, Subscribe, SubscribeReply};
use nodevent_server::shard::message::{AuthorizeReply, OpenStream, StreamReceiver, StreamRequest};
use nodevent_server::shard::{self, Shards, ToShard};
use std::future::poll_fn;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use support::wait::{in_time, until};
use tokio::sync::oneshot;

/// Records the joins that it was asked about, and decides none of them.
#[derive(Debug, Default, Clone)]
struct Deferred(Arc<Mutex<Vec<ReplyTo>>>);

/// Sends the text of a publication.
#[derive(Debug)]
struct TextEncoding;

/// Joins the room `r` when it opens, and sends the results of its joins.
#[derive(Debug)]
struct Joiner {
    encoding: Arc<dyn Encoding>,
}

/// A shard with one namespace, whose joins need a [`Deferred`] authorizer.
struct Setup {
    shards: Shards,
    authorizer: Deferred,
    engines: Arc<Engines>,
    metrics: Arc<Metrics>,
    encoding: Arc<dyn Encoding>,
}

// === impl Deferred ===

impl Authorizer for Deferred {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let Some(reply_to) = request.reply_to else {
            return Outcome::Ready(Verdict::Reject(JoinError::WrongKey("Bad key")));
        };
        self.0.lock().unwrap().push(reply_to);
        Outcome::Pending
    }
}

// === impl TextEncoding ===

impl Encoding for TextEncoding {
    fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
        Frame::text(text)
    }

    fn gap(&self, topic: Topic<'_>, _position: Position) -> Frame {
        let room = topic.name();
        Frame::text(&format!("gap in {room}"))
    }
}

// === impl Joiner ===

impl Protocol for Joiner {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        let encoding = &self.encoding;
        let request = Subscribe {
            namespace: 0,
            room: "r",
            credential: None,
            kept: None,
            since: Since::FirstJoin,
            encoding,
            request: Some(7).into(),
        };
        assert_eq!(core.subscribe(request), Ok(Outcome::Pending));
        core.send_text("pending");
        Ok(())
    }

    fn received(&mut self, _message: Message<'_>, _core: &mut dyn Core) -> Result<(), CloseReason> {
        Ok(())
    }

    fn deadline(&self) -> Millis {
        NEVER
    }

    fn on_deadline(&mut self, _core: &mut dyn Core) -> Result<(), CloseReason> {
        Ok(())
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        assert_eq!((reply.namespace, reply.room, reply.request), (0, "r", Some(7).into()));
        core.send_text(&reply.result.map_or_else(|error| error.to_string(), |_| "joined".to_owned()));
    }

    fn closing(&mut self, _reason: CloseReason, _core: &mut dyn Core) {}
}

// === impl Setup ===

impl Setup {
    fn start() -> Self {
        let authorizer = Deferred::default();
        let mut namespaces = Namespaces::default();
        namespaces.add(Namespace {
            id: 0,
            name: "/n".into(),
            authorizers: Authorizers::from(vec![Box::new(authorizer.clone()) as Box<dyn Authorizer>]),
            tokens: None,
            provider: std::sync::OnceLock::new(),
            caller: std::sync::OnceLock::new(),
            observer: std::sync::OnceLock::new(),
            revocations: Arc::default(),
            publish: PublishAuthorizer::new(Vec::new()),
            recorder: None,
            is_secured: true,
            protocols: Vec::new(),
            dialects: Vec::new(),
            dialect_joins: Arc::default(),
            visitors: None,
            allows_eio3: true,
            web_service: None,
            refreshes: None,
            connection_state: None,
            ends_expired_memberships: false,
            limits: RoomLimits { max_rooms: 8, max_name_bytes: 255 },
        });
        let (namespaces, engines, metrics) = (Arc::new(namespaces), Arc::new(Engines::default()), Arc::default());
        let settings = shard::Settings {
            bytes_per_second: 1 << 20,
            send_buffers_total: 1 << 30,
            poll_responses: Arc::new(ByteBudget::new(usize::MAX)),
            max_memberships: 1_000,
            max_roomless: 100,
            max_roomless_per_address: 100,
            write_timeout: 10_000,
            max_message_size: 65_536,
            send_buffer: 1 << 20,
            messages_per_second: 100,
            joins_per_second: 100,
            max_rooms_per_connection: 8,
            deflate: None,
            addresses: Arc::default(),
        };
        let (shards, _threads) = shard::start(1, &settings, &namespaces, &engines, &metrics).unwrap();
        let fanout = Fanout::new(shards.clone(), namespaces, 0, Arc::clone(&metrics));
        engines.set(vec![Memory::start(fanout, History::default(), None, None, None, None)]);
        Self { shards, authorizer, engines, metrics, encoding: Arc::new(TextEncoding) }
    }

    async fn open(&self) -> StreamReceiver {
        let (reply, opened) = oneshot::channel();
        let joiner = Joiner { encoding: Arc::clone(&self.encoding) };
        let protocol = Box::new(move || Box::new(joiner) as Box<dyn Protocol>);
        let open = OpenStream { protocol, info: ConnectInfo::UNKNOWN, reply };
        let client = Client::of([127, 0, 0, 1].into());
        self.shards.send_request(0, client, ToShard::Stream(StreamRequest::Open(Box::new(open)))).unwrap();
        let mut stream = in_time("a connection", opened).await.unwrap();
        assert_eq!(next(&mut stream).await, "pending");
        stream
    }

    /// Decides about the oldest join that waits.
    fn decide(&self, result: Result<(), &'static str>) {
        let reply_to = self.authorizer.0.lock().unwrap().remove(0);
        let result = result.map_err(JoinError::Unauthorized);
        self.shards.send(0, ToShard::Authorized(AuthorizeReply { reply_to, result }));
    }

    async fn publish(&self, message: u32) {
        let text = format!("{{\"room\":\"r\",\"event\":\"e\",\"message\":{message}}}");
        let engine = self.engines.get(0).unwrap();
        let publisher = Publisher { name: "", is_limited: false };
        engine.publish.publish(&parse(text.as_bytes()).unwrap(), None, publisher).await.unwrap();
    }
}

async fn next(stream: &mut StreamReceiver) -> String {
    let frame = in_time("a message", poll_fn(|cx| stream.poll_next(cx))).await.expect("the stream is open");
    String::from_utf8(frame.as_ref().to_vec()).unwrap()
}

#[tokio::test]
async fn a_join_is_complete_when_its_authorizer_admits_it() {
    let setup = Setup::start();
    let mut stream = setup.open().await;
    setup.publish(1).await;
    setup.decide(Ok(()));
    assert_eq!(next(&mut stream).await, "joined", "what was published before is not received");
    setup.publish(2).await;
    assert!(next(&mut stream).await.contains("\"message\":2"));
    setup.shards.stop();
}

#[tokio::test]
async fn a_rejected_join_receives_nothing_and_is_counted() {
    let setup = Setup::start();
    let mut stream = setup.open().await;
    setup.decide(Err("Not today"));
    assert_eq!(next(&mut stream).await, "Not today");
    assert_eq!(setup.metrics.rejected_joins.load(Relaxed), 1);
    assert_eq!(setup.metrics.rooms.load(Relaxed), 0);
    setup.shards.stop();
}

#[tokio::test]
async fn a_decision_for_a_connection_that_is_gone_affects_no_other_connection() {
    let setup = Setup::start();
    drop(setup.open().await);
    until("the connection is closed", async || setup.metrics.connections.load(Relaxed) == 0).await;
    let mut stream = setup.open().await;
    setup.decide(Ok(()));
    setup.decide(Err("Not today"));
    assert_eq!(next(&mut stream).await, "Not today");
    assert_eq!(setup.metrics.joins.load(Relaxed), 0);
    setup.shards.stop();
}
