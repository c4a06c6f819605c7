//! What single steps of the hot path cost: reading a publication, encoding it once, reading a join, verifying its key,
//! finding a room and walking its members. `cargo bench -p nodevent-server`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nodevent_protocol::engine_io::packet;
use nodevent_protocol::key::{self, Secret};
use nodevent_protocol::websocket::{Decoder, Message, Opcode, encode_masked};
use nodevent_protocol::{publication, socket_io};
use nodevent_server::hub::{Hub, Membership};
use nodevent_server::interest::Interest;
use nodevent_server::protocols::socket_io::dialects;
use nodevent_server::protocols::socket_io::encoding;
use nodevent_server::publication::Publication;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The namespace of all benchmarks.
const NAMESPACE: &str = "/nodevent";
/// A time far in the future. Milliseconds since the epoch.
const EXPIRES: u64 = 4_102_444_800_000;
/// The largest message a browser may send, as by default. Bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// A publication of 200 bytes, as in the scenarios of `bench/`.
fn published() -> String {
    let head = r#"{"room":"Room_12","event":"update","message":{"text":""#;
    let tail = r#""}}"#;
    format!("{head}{}{tail}", "x".repeat(200 - head.len() - tail.len()))
}

fn encode(criterion: &mut Criterion) {
    let text = published();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("a publication of 200 bytes into a frame", |bencher| {
        let encoding = encoding(NAMESPACE, dialects::nodevent());
        bencher.iter(|| Publication::stored("Room_12", black_box(&*text), None).frame(&encoding));
    });
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let text = published();
    let mut group = criterion.benchmark_group("parse");
    group.bench_function("a publication of 200 bytes", |bencher| {
        bencher.iter(|| publication::parse(black_box(text.as_bytes())).map(|publication| publication.text.len()));
    });
    let said = r#"42/nodevent,0["join",{"room":"Room_12","key":"0123456789abcdef:4102444800000"}]"#;
    let mut frame = Vec::new();
    encode_masked(&mut frame, Opcode::Text, said.as_bytes(), [1, 2, 3, 4]);
    group.bench_function("a join, from the bytes of its frame to its arguments", |bencher| {
        bencher.iter_batched_ref(|| frame.clone(), |frame| read_join(frame), BatchSize::SmallInput);
    });
    group.finish();
}

/// Reads one frame through all layers; answers the length of the arguments.
fn read_join(frame: &mut [u8]) -> usize {
    let mut length = 0;
    let _ = Decoder::default().feed(frame, MAX_MESSAGE, &mut |message| {
        if let Message::Text(text) = message
            && let Ok(packet::Packet::Message(text)) = packet::decode(text)
            && let Ok(Some(socket_io::Packet::Event { args, .. })) = socket_io::Decoder::default().text(text)
        {
            length = args.len();
        }
        ControlFlow::Continue(())
    });
    length
}

fn keys(criterion: &mut Criterion) {
    let Ok(secret) = Secret::new("a-secret-of-more-than-sixteen") else { return };
    let Ok(key) = key::sign("Room_12", EXPIRES, &secret) else { return };
    let secrets = [secret];
    let rules = key::Rules { namespace: "/a", secrets: &secrets, max_lifetime_ms: None, requires_bound: false };
    let mut group = criterion.benchmark_group("key");
    group.bench_function("verified", |bencher| {
        bencher.iter(|| key::verify("Room_12", black_box(&key), &rules, EXPIRES - 1).is_ok());
    });
    group.finish();
}

fn hub(criterion: &mut Criterion) {
    let mut hub = Hub::new(Arc::new(Interest::new(1)), 0);
    for member in 0..5000 {
        hub.join(member, 0, "hall", 0, 8);
        hub.join(member, 0, &format!("Room_{}", member % 1000), 0, 8);
    }
    let mut group = criterion.benchmark_group("hub");
    group.bench_function("a room found among 1,001", |bencher| {
        bencher.iter(|| hub.find(0, black_box("Room_512")));
    });
    group.throughput(Throughput::Elements(5000));
    group.bench_function("5,000 members walked", |bencher| {
        bencher.iter(|| {
            let members = hub.find(0, "hall").map_or(&[][..], |room| hub.members(room));
            members.iter().map(|member| u64::from(member.slot)).sum::<u64>()
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("a join and a leave in a room of 5,000", |bencher| {
        bencher.iter(|| {
            hub.join(5000, 0, black_box("hall"), 0, 8);
            hub.find(0, black_box("hall")).map(|room| hub.leave(5000, Membership { room, encoding: 0 }))
        });
    });
    group.finish();
}

criterion_group!(benches, encode, parse, keys, hub);
criterion_main!(benches);
