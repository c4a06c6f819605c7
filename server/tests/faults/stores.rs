//! The memory engine with a store: servers are killed, the disk is full, the folder is another server's.

use crate::harness::member::{Member, Observation};
use crate::harness::node::SLOW_HEARTBEAT;
use crate::harness::{Fleet, Node, Publishers, eventually, sites, traffic};
use crate::support::Program;
use crate::support::program;
use crate::support::raw::{Raw, TEXT, last};
use crate::support::tokens::TOKEN_SECRET;
use crate::support::wait::in_time;
use crate::support::{Request, redis::free_port};
use nodevent_protocol::history::Position;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

const ROOMS: [&str; 3] = ["a", "b", "c"];
const STORE: &str = "store: data\n/nodevent: {history: {size: 10000}}\n";

/// A server with a store is killed and stopped under traffic. To its members this is a reconnect: they recover, without a
/// gap and without a lost or repeated publication.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_recover_everything_after_a_server_with_a_store_was_killed() {
    let mut nodes = vec![Node::start(STORE).await];
    let fleet = Fleet::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for is_killed in [true, true, false] {
        traffic(&publishers, 50).await;
        match is_killed {
            true => nodes[0].kill().await,
            false => assert_eq!(nodes[0].terminate().await, Some(0)),
        }
        nodes[0].start_again().await;
        fleet.all_joined().await;
    }
    let verdict = fleet.verdict(publishers, &nodes).await;
    assert_eq!(verdict.gap_notices, 0, "{verdict:?}");
    assert!(verdict.reconnects >= 150, "{verdict:?}");
}

/// While something is written, joins wait for the disk, and those of one address for each other. A join whose turn comes when
/// everything is on disk is confirmed too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_wait_for_the_disk_and_for_others_of_their_address_are_all_confirmed() {
    const JOINS: usize = 100;
    let nodes = [Node::start_with(SLOW_HEARTBEAT, STORE).await];
    nodes[0].ready().await;
    let large = json!({"room": "large", "event": "e", "message": "x".repeat(900_000)}).to_string();
    for round in 0..40 {
        let mut client = Raw::connected(&nodes[0].site, "/nodevent").await;
        let join = |number| format!(r#"42/nodevent,{number}["join",{{"room":"r{number}"}}]"#);
        let joins: Vec<u8> = (0..JOINS).flat_map(|number| last(TEXT, join(number))).collect();
        let (site, large) = (nodes[0].site.clone(), large.clone());
        let publish = tokio::spawn(async move { site.publish("/nodevent", large).await.status });
        // At another moment of the write each time.
        tokio::time::sleep(Duration::from_micros(500 * round)).await;
        client.send(joins).await;
        for confirmed in 0..JOINS {
            let text = in_time(&format!("round {round}: {confirmed} joins"), client.text()).await;
            assert!(text.starts_with("43/nodevent,") && text.contains("[null,true"), "{text}");
        }
        assert_eq!(publish.await.expect("a status"), 200);
    }
}

/// With an interval, what was confirmed within it may be lost. Every member that reconnects receives a gap notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_receive_a_gap_when_a_server_that_syncs_by_an_interval_was_killed() {
    let mut nodes = vec![Node::start(&STORE.replace("data", "{folder: data, sync: 50ms}")).await];
    let fleet = Fleet::join(20, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    traffic(&publishers, 50).await;
    assert_eq!(nodes[0].terminate().await, Some(0));
    nodes[0].start_again().await;
    fleet.all_joined().await;
    assert_eq!(notified(&fleet), 0, "a server that stops by itself loses nothing");
    traffic(&publishers, 50).await;
    publishers.pause().await;
    nodes[0].kill().await;
    nodes[0].start_again().await;
    fleet.all_joined().await;
    publishers.resume();
    eventually("all members are notified", Duration::from_secs(60), async || notified(&fleet) == 20).await;
    publishers.finish().await;
}

/// Members that know that they may have missed something.
fn notified(fleet: &Fleet) -> usize {
    let is_gap = |one: &Observation| match one {
        Observation::Joined { recovered, since, .. } => since.is_some() && !recovered,
        one => matches!(one, Observation::Gap { .. }),
    };
    let has_gap = |member: &&Member| member.record().rooms.values().flatten().any(|(_, one)| is_gap(one));
    fleet.members.iter().filter(has_gap).count()
}

/// Revocations, mailboxes, idempotency keys and histories of a server that was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_is_there_after_a_server_was_killed() {
    let namespace = format!(
        "store: data\n/nodevent: {{history: {{size: 100}}, mailbox: {{unknown: keep}}, token: {{secret: {TOKEN_SECRET}}}}}\n"
    );
    let mut nodes = [Node::start(&namespace).await];
    let post = async |node: &Node, path: &str, body: Value, key: &str| {
        let request = Request::post(path, body.to_string()).header("Idempotency-Key", key);
        let response = node.site.send(&request).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        serde_json::from_slice::<Value>(&response.body).expect("JSON")
    };
    let publish = async |node: &Node, number: u32| {
        let publication = json!({"room": "r", "event": "e", "message": number});
        post(node, "/api/nodevent/emit", publication, &number.to_string()).await
    };
    let notify = async |node: &Node| {
        let notification = json!({"user": "7", "event": "e", "message": "for 7"});
        post(node, "/api/nodevent/notify", notification, "k").await
    };
    let first = publish(&nodes[0], 1).await;
    let second = publish(&nodes[0], 2).await;
    notify(&nodes[0]).await;
    post(&nodes[0], "/api/nodevent/revoke", json!({"user": "8"}), "r").await;
    for _ in 0..2 {
        nodes[0].kill().await;
        nodes[0].start_again().await;
    }
    let again = publish(&nodes[0], 1).await;
    assert_eq!(again["positions"], first["positions"], "it was published before");
    let third = publish(&nodes[0], 3).await;
    let position = |body: &Value| body["positions"][0].as_str().and_then(Position::parse).expect("a position");
    let (second, third) = (position(&second), position(&third));
    assert_eq!(third, Position { offset: 3, ..second }, "the room goes on");
    // A message was stored once.
    notify(&nodes[0]).await;
    let exported = export(&mut nodes[0]).await;
    let of_kind = |kind: &str| exported.iter().filter(|one| one["kind"] == kind).cloned().collect::<Vec<Value>>();
    let messages = of_kind("message");
    assert_eq!((messages.len(), &messages[0]["mailbox"]), (1, &json!("7")), "{exported:?}");
    assert_eq!(messages[0]["message"]["message"], "for 7");
    assert_eq!(of_kind("revocation")[0]["user"], "8", "{exported:?}");
    let published: Vec<Value> =
        of_kind("publication").iter().map(|one| one["publication"]["message"].clone()).collect();
    assert_eq!(published, [1, 2, 3]);
}

/// Stops a server, and prints what its store has with the command line.
async fn export(node: &mut Node) -> Vec<Value> {
    let (folder, file) = (node.folder().to_owned(), node.folder().join("nodevent.yml"));
    let file = file.to_str().expect("a path");
    let busy = Program::run(&folder, &["store", "check", "--config", file]).await;
    assert_eq!(busy.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("is used by another server"), "{busy:?}");
    node.kill().await;
    for command in ["check", "compact", "check"] {
        let done = Program::run(&folder, &["store", command, "--config", file]).await;
        assert_eq!(done.status.code(), Some(0), "{command}: {done:?}");
    }
    let exported = Program::run(&folder, &["store", "export", "--config", file]).await;
    let lines = String::from_utf8(exported.stdout).expect("UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The disk is full: nothing is confirmed, and the server says that it is not ready. Then there is space again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_confirms_nothing_and_loses_nothing() {
    let (folder, port) = (TempDir::new().expect("a folder"), free_port());
    let file = Node::write(&folder, port, &format!("{SLOW_HEARTBEAT}{STORE}"));
    let mut command = tokio::process::Command::new("sh");
    // Files of at most 4 MB. Without the signal, writing more is an error.
    command.arg("-c").arg("trap '' XFSZ; ulimit -S -f 8192; exec \"$0\" \"$1\"").arg(program::NODEVENT).arg(&file);
    command.current_dir(folder.path());
    let server = Program::spawn(command);
    let admin = server.admin().await;
    let site = crate::support::site::Site::at(&format!("http://127.0.0.1:{port}"));
    eventually("it is ready", Duration::from_secs(60), async || admin.get("/readyz").await.status == 200).await;
    let text = "x".repeat(50_000);
    let publish = async |number: usize| {
        let body = json!({"room": "a", "event": "e", "message": [number, text]}).to_string();
        let request = Request::post("/api/nodevent/emit", body);
        site.send(&request.header("Idempotency-Key", &number.to_string())).await
    };
    let mut confirmed = 0;
    let rejected = loop {
        let response = publish(confirmed).await;
        if response.status != 200 {
            break response;
        }
        confirmed += 1;
        assert!(confirmed < 1_000, "the limit is never reached");
    };
    assert_eq!(rejected.status, 503, "{}", rejected.text());
    assert_ne!(admin.get("/readyz").await.status, 200);
    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).expect("the limit is lifted");
    eventually("it is ready again", Duration::from_secs(60), async || admin.get("/readyz").await.status == 200)
        .await;
    // The publisher tries again, as publishers do.
    for number in confirmed..confirmed + 3 {
        let response = publish(number).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    server.signal(Signal::KILL);
    let mut server = server;
    server.status().await;
    let config = file.to_str().expect("a path");
    let exported = Program::run(folder.path(), &["store", "export", "--config", config]).await;
    let lines = String::from_utf8(exported.stdout).expect("UTF-8");
    let numbers: Vec<usize> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["publication"]["message"][0].as_u64())
        .map(|number| number.expect("a number") as usize)
        .collect();
    assert_eq!(numbers, (0..confirmed + 3).collect::<Vec<_>>());
}

/// What is wrong with the folder is one sentence, and the exit status is 69. Without a store `store check` exits with 64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_used_is_one_sentence_and_exit_status_69() {
    let node = Node::start(STORE).await;
    let second = TempDir::new().expect("a folder");
    let data = node.folder().join("data");
    let file = second.path().join("file");
    std::fs::write(&file, "").expect("a file");
    for (folder, expected) in [
        (data.to_str().expect("a path"), "is used by another server; each server needs a folder of its own"),
        ("/sys/kernel/nodevent", "cannot be written to"),
        (file.to_str().expect("a path"), "cannot be written to"),
    ] {
        let config = Node::write(&second, 0, &STORE.replace("data", folder));
        let config = config.to_str().expect("a path");
        let refused = Program::run(second.path(), &["serve", config]).await;
        let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(69), "{printed}");
        assert!(printed.lines().last().is_some_and(|line| line.contains(expected)), "{printed}");
    }
    let config = Node::write(&second, 0, "/nodevent: {open: true}\n");
    let none = Program::run(second.path(), &["store", "check", "--config", config.to_str().expect("a path")]).await;
    assert_eq!(none.status.code(), Some(64), "{none:?}");
}

/// Starts a server that does not come to run. Returns its exit status and the last line of what it has printed.
async fn refusal(mut command: Command) -> (Option<i32>, String) {
    let output = command.kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("it exits").expect("it starts");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!printed.contains("panicked"), "{printed}");
    (output.status.code(), printed.lines().last().unwrap_or_default().to_owned())
}

/// A server with the permissions of its user and no others, also if that is root.
fn unprivileged(folder: &Path, file: &Path) -> Command {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all", program::NODEVENT]);
            command
        }
        false => Command::new(program::NODEVENT),
    };
    program::clean(&mut command, folder);
    command.arg("serve").arg(file);
    command
}

/// A store that a server has left, after some publishes.
async fn abandoned_store() -> TempDir {
    let mut node = Node::start(STORE).await;
    for number in 0..20 {
        node.site.emit("/nodevent", "a", "a text that is stored", number).await;
    }
    node.kill().await;
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    std::fs::copy(node.folder().join("data").join(FILE), data.join(FILE)).expect("a copy");
    folder
}

const FILE: &str = "nodevent.redb";

/// A folder or a file that is read-only, a store of a newer version, one that was truncated and one with a changed byte: one
/// sentence and the exit status 69. What cannot be opened stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_used_is_one_sentence_and_exit_status_69() {
    let folder = abandoned_store().await;
    let (data, port) = (folder.path().join("data"), free_port());
    let (store, config) = (data.join(FILE), Node::write(&folder, port, STORE));
    let whole = std::fs::read(&store).expect("a store");
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    let cases: [(&str, &dyn Fn()); 6] = [
        ("cannot be opened: Permission denied", &|| mode(&store, 0o400)),
        ("cannot be opened: Permission denied", &|| mode(&data, 0o000)),
        ("was written by a newer version of NoDevent (format 2, this one knows 1)", &|| set_format(&store, 2)),
        ("is damaged", &|| std::fs::write(&store, &whole[..whole.len() / 2]).expect("a file")),
        ("is damaged", &|| std::fs::write(&store, &whole[..1000]).expect("a file")),
        ("is damaged", &|| {
            // Everywhere: the library has copies of what it has moved.
            let (mut changed, text) = (whole.clone(), b"\"message\":3,");
            let places = whole.windows(text.len()).enumerate().filter(|(_, one)| *one == text);
            places.for_each(|(at, _)| changed[at + 1] ^= 1);
            assert_ne!(changed, whole);
            std::fs::write(&store, changed).expect("a file");
        }),
    ];
    for (index, (expected, prepare)) in cases.into_iter().enumerate() {
        prepare();
        let prepared = std::fs::read(&store).ok();
        let (status, printed) = refusal(unprivileged(folder.path(), &config)).await;
        assert_eq!(status, Some(69), "{index}: {printed}");
        assert!(printed.contains(expected), "{index}: {printed}");
        let named = printed.matches(&*data.to_string_lossy()).count();
        assert_eq!(named, 1, "it names the folder: {printed}");
        mode(&data, 0o700);
        mode(&store, 0o600);
        // The library marks a file that it has opened.
        let was_opened = [2, 5].contains(&index);
        let is_same =
            was_opened || prepared.is_none_or(|prepared| prepared == std::fs::read(&store).expect("a store"));
        assert!(is_same, "{index}: {printed}");
        std::fs::write(&store, &whole).expect("a file");
    }
    // A folder in which nothing can be created.
    std::fs::remove_file(&store).expect("it was there");
    mode(&data, 0o500);
    let (status, printed) = refusal(unprivileged(folder.path(), &config)).await;
    assert_eq!(status, Some(69), "{printed}");
    assert!(printed.contains("cannot be opened: Permission denied"), "{printed}");
    mode(&data, 0o700);
    std::fs::write(&store, &whole).expect("a file");
    // The same store, whole again, is served.
    let mut command = unprivileged(folder.path(), &config);
    command.stdin(std::process::Stdio::null());
    let server = Program::spawn(command);
    server.listening().await;
    let site = crate::support::site::Site::at(&format!("http://127.0.0.1:{port}"));
    let history: Value =
        serde_json::from_slice(&site.get("/api/nodevent/rooms/a/history").await.body).expect("a history");
    assert_eq!(history["publications"].as_array().map(Vec::len), Some(20), "{history}");
}

/// Writes the number of another version.
fn set_format(store: &Path, format: u64) {
    let database = redb::Database::open(store).expect("a store");
    let transaction = database.begin_write().expect("a transaction");
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).expect("a table").insert("format", format).expect("it is written");
    transaction.commit().expect("it is written");
}

/// There is no space for a new store: one sentence and the exit status 69. What was written of it does no harm: with space, the
/// server starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_space_for_a_store_says_so_and_starts_when_there_is_space() {
    let (folder, port) = (TempDir::new().expect("a folder"), free_port());
    let file = Node::write(&folder, port, STORE);
    // Files of at most so many kilobytes. Without the signal, writing more is an error.
    let limited = |folder: &Path, kilobytes: u64, file: &Path| {
        let mut command = Command::new("bash");
        program::clean(&mut command, folder);
        let script = format!("trap '' XFSZ; ulimit -S -f {kilobytes}; exec \"$0\" serve \"$1\"");
        command.arg("-c").arg(script).arg(program::NODEVENT).arg(file);
        command
    };
    for kilobytes in [0, 4, 64, 1024] {
        let (status, printed) = refusal(limited(folder.path(), kilobytes, &file)).await;
        assert_eq!(status, Some(69), "{kilobytes}: {printed}");
        assert!(printed.contains("cannot be") && printed.contains("File too large"), "{kilobytes}: {printed}");
    }
    let mut start = program::command(folder.path());
    start.arg(&file);
    let server = Program::spawn(start);
    server.listening().await;
    server.kill().await;
}
