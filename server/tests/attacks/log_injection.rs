//! Attack 15, its part in the server: text of a peer in the log. Control characters could forge lines or control the
//! terminal of the reader, and long texts could fill the disk.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::wait::until;
use crate::support::{Program, REDIS_OUTAGE, Request, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The longest acceptable log line. Bytes.
const MAX_LINE: usize = 4096;

/// Accepts connections and replies to every command with an error that carries `text`.
async fn redis_with_errors(text: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let reply = format!("-ERR {text}\r\n");
            tokio::spawn(async move {
                let mut command = [0; 4096];
                while let Ok(1..) = stream.read(&mut command).await {
                    if stream.write_all(reply.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Starts a server, waits for a log line that contains `expected`, and checks all lines.
async fn assert_clean_log(configuration: &str, expected: &str, provoke: impl AsyncFnOnce(Site)) {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("bind: 127.0.0.1\nport: 0\nlog: {{level: trace}}\n{configuration}");
    let program = Program::serve(folder.path(), &settings).await;
    provoke(program.site().await).await;
    until(&format!("the log contains `{expected}`"), async || {
        program.log().iter().any(|line| line.contains(expected))
    })
    .await;
    for line in program.log() {
        let shown: String = line.chars().take(200).flat_map(char::escape_debug).collect();
        assert!(!line.contains("forged"), "the text of a peer is a log line: {shown}");
        assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "control characters: {shown}");
        assert!(line.len() <= MAX_LINE, "a log line of {} bytes: {shown}", line.len());
    }
}

#[test]
fn redis_errors_are_sanitised_and_truncated_in_the_log() {
    attacker::run(async {
        let text = format!("\u{1b}[2J\u{1b}[31mred\u{7}\u{9b}31m {}", "x".repeat(900_000));
        let port = redis_with_errors(text).await;
        let namespace = format!("/nodevent: {{redis: {{host: 127.0.0.1, port: {port}}}}}");
        assert_clean_log(&namespace, REDIS_OUTAGE, async |_| {}).await;
    });
}

#[test]
fn requests_are_sanitised_and_truncated_in_the_log() {
    attacker::run(async {
        assert_clean_log(
            "/nodevent: {secret: a-secret-of-more-than-16-bytes}",
            "join rejected",
            async |site: Site| {
                for (name, value) in [("Origin", "https://evil\u{1b}[31m.example"), ("User-Agent", "\u{1b}[2J")] {
                    let request = Request::get("/socket.io/?EIO=4&transport=polling").header(name, value);
                    let mut stream = site.dial().await;
                    let _ = request.exchange(&mut stream, &site.address).await;
                }
                for path in
                    ["/api/nodevent/rooms/r%0Aforged/events", "/api/%1B%5B31m/emit", "/api/nodevent/rooms/r/events"]
                {
                    site.get(path).await;
                }
            },
        )
        .await;
    });
}

#[test]
fn flood_of_hostile_texts_delays_no_other_client() {
    attacker::run(async {
        let closed = "/closed: {secret: a-secret-of-more-than-16-bytes}";
        let process = Process::start(&format!("log: {{level: trace}}\n/nodevent: {{}}\n{closed}\n")).await;
        let room = "%1B%5B2J".repeat(500);
        assert_unnoticed(&process.site.address, async || {
            attacker::repeat(async || {
                let path = format!("/api/closed/rooms/{room}/events?key=forged");
                // Beyond the rate of its address, it is rejected for that.
                assert!([403, 429].contains(&process.site.get(&path).await.status));
                let request = Request::get("/socket.io/?EIO=4&transport=polling");
                let request =
                    request.header("Origin", &format!("https://{}.example", "evil\u{1b}[31m".repeat(300)));
                let mut stream = process.site.dial().await;
                let _ = request.exchange(&mut stream, &process.site.address).await;
            })
            .await;
        })
        .await;
    });
}
