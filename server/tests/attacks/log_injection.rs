//! Attack 15, its part in the server: text of a peer in the log. Control characters could forge lines or control the
//! terminal of the reader, and long texts could fill the disk.

use crate::attacker;
use crate::support::wait::until;
use crate::support::{Program, Request, Site};

/// The longest acceptable log line. Bytes.
const MAX_LINE: usize = 4096;

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
