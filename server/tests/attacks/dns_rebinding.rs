//! Attack 12: DNS rebinding. A hostile page has its own host name resolve to the server, so that the browser sends the
//! same name in `Origin` and `Host`.

use crate::attacker;
use crate::process::Process;
use crate::support::Request;
use crate::support::raw::handshake_request;

#[test]
fn page_under_a_rebound_name_reads_no_open_room() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        let port = process.site.address.rsplit_once(':').unwrap().1.to_owned();
        for host in [format!("rebound.evil.example:{port}"), "evil.example".to_owned()] {
            let origin = format!("http://{host}");
            let mut admitted = Vec::new();
            for (name, request) in [
                ("a polling session", Request::get("/socket.io/?EIO=4&transport=polling")),
                ("a WebSocket", handshake_request("")),
                ("the history", Request::get("/api/nodevent/rooms/r/history")),
            ] {
                let mut stream = process.site.dial().await;
                let request = request.header("Host", &host).header("Origin", &origin);
                let response = request.exchange(&mut stream, &process.site.address).await.unwrap();
                if response.status != 421 {
                    admitted.push((name, response.status));
                }
            }
            assert!(admitted.is_empty(), "{host}: {admitted:?}");
        }
    });
}
