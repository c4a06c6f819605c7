//! Attack 12: DNS rebinding. A hostile page has its own host name resolve to the server, so that the browser sends the
//! same name in `Origin` and `Host`.
//!
//! Siblings: every path that shows something of an open namespace; hosts that look like ours; hosts that are not hosts;
//! requests of another site without `Origin`, such as those of an image.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::handshake_request;
use crate::support::{Request, Response};

/// Everything that a page could read from an open namespace.
fn readers() -> Vec<Request> {
    let paths = [
        "/socket.io/?EIO=4&transport=polling",
        "/api/nodevent/rooms/r/history",
        "/api/nodevent/rooms/r/events",
        "/",
        "/console.js",
        "/console.json",
    ];
    paths.iter().map(|path| Request::get(path)).chain([handshake_request("")]).collect()
}

async fn status(process: &Process, request: &Request) -> u16 {
    let mut stream = process.site.dial().await;
    request.exchange(&mut stream, &process.site.address).await.unwrap().status
}

#[test]
fn page_under_a_rebound_name_reads_no_open_room() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        let port = process.site.address.rsplit_once(':').unwrap().1.to_owned();
        assert_unnoticed(&process.site.address, async || {
            attacker::repeat(async || {
                for host in [
                    format!("rebound.evil.example:{port}"),
                    "evil.example".to_owned(),
                    format!("localhost.evil.example:{port}"),
                    format!("127.0.0.1.evil.example:{port}"),
                    format!("evil-localhost:{port}"),
                ] {
                    for request in readers() {
                        let path = request.path.clone();
                        let request = request.header("Host", &host).header("Origin", &format!("http://{host}"));
                        assert_eq!(status(&process, &request).await, 421, "{host}{path}");
                    }
                }
            })
            .await;
        })
        .await;
    });
}

/// The admin listener without a key, of a browser on the same machine.
#[test]
fn page_under_a_rebound_name_reads_no_metrics() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        let port = process.admin.address.rsplit_once(':').unwrap().1.to_owned();
        let status = async |path: &str, host: &str| {
            let request = Request::get(path).header("Host", &format!("{host}:{port}"));
            let mut stream = process.admin.dial().await;
            request.exchange(&mut stream, &process.admin.address).await.unwrap().status
        };
        for path in ["/metrics", "/readyz", "/healthz"] {
            for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
                assert_eq!(status(path, host).await, 421, "{host}{path}");
            }
            for host in ["localhost", "127.0.0.1", "[::1]", "10.1.2.3"] {
                assert_eq!(status(path, host).await, 200, "{host}{path}");
            }
        }
    });
}

#[test]
fn host_that_is_not_one_host_is_rejected() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        for hosts in [
            &["localhost@evil.example"][..],
            &["user@localhost"],
            &["user:password@localhost:8080"],
            &["localhost", "evil.example"],
            &["localhost", "localhost"],
            &["localhost, evil.example"],
            &["localhost/evil"],
            &["localhost:port"],
            &[""],
        ] {
            for request in readers() {
                let request = hosts.iter().fold(request, |request, host| request.header("Host", host));
                assert_eq!(status(&process, &request).await, 400, "{hosts:?}{}", request.path);
            }
        }
        let mut stream = process.site.dial().await;
        let request = b"GET /api/nodevent/rooms/r/history HTTP/1.1\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
        assert_eq!(Response::read(&mut stream, false).await.unwrap().status, 400, "no host at all");
        let absolute = Request::get("http://evil.example/api/nodevent/rooms/r/history");
        assert_eq!(status(&process, &absolute.header("Host", "localhost")).await, 400, "two different hosts");
    });
}

/// A page of another site can make a browser send a request without `Origin`, by an image, a link or a form.
#[test]
fn request_that_another_site_caused_is_rejected() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        for path in
            ["/socket.io/?EIO=4&transport=polling", "/api/nodevent/rooms/r/history", "/api/nodevent/rooms/r/events"]
        {
            let request =
                Request::get(path).header("Sec-Fetch-Site", "cross-site").header("Sec-Fetch-Mode", "no-cors");
            assert_eq!(status(&process, &request).await, 403, "{path}");
        }
    });
}

/// N-17, N-21: where every room needs a key, the server is usable under every name.
#[test]
fn any_host_is_allowed_where_every_room_needs_a_key() {
    attacker::run(async {
        let process = Process::start("/a: {secret: a-secret-of-more-than-sixteen}").await;
        for host in ["live.example.com", "anything.example:8080"] {
            let request = Request::get("/socket.io/?EIO=4&transport=polling").header("Host", host);
            let request = request.header("Origin", &format!("https://{host}"));
            assert_eq!(status(&process, &request).await, 200, "{host}");
        }
    });
}
