//! `GET` for browsers: the script of a namespace, and the client with the stock API.

use crate::support::{PLAIN, Request, TestServer};
use flate2::read::GzDecoder;
use std::io::Read as _;

#[tokio::test]
async fn namespace_script_is_javascript_that_defines_nodevent() {
    // N-15
    let server = TestServer::start("/nodevent: {}\n/nodevent/x: {}").await;
    let script = server.get("/api/nodevent").await;
    assert_eq!(script.status, 200);
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(script.header("content-length"), Some(script.body.len().to_string().as_str()));
    assert!(script.header("etag").is_some());
    let text = script.text();
    assert!(text.contains("NoDevent") && text.contains("currentScript"), "{text}");
    // A namespace with a slash in its name, written either way.
    for path in ["/api/nodevent/x", "/api/nodevent%2Fx"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    let head = server.send(&Request::new("HEAD", "/api/nodevent")).await;
    assert_eq!((head.status, head.header("content-length")), (200, script.header("content-length")));
}

#[tokio::test]
async fn script_of_an_unknown_namespace_is_not_found() {
    // N-16
    let server = TestServer::start(PLAIN).await;
    let response = server.get("/api/other").await;
    assert_eq!((response.status, response.text().as_str()), (404, "Namespace other not found."));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(server.send(&Request::post("/api/nodevent", "")).await.status, 405);
}

/// The script derives server and namespace from its own address, so the response is the same for every request and
/// nothing can be injected into it.
#[tokio::test]
async fn script_contains_nothing_of_the_request() {
    // N-17, N-19
    let server = TestServer::start("/nodevent: {}\n/other: {}").await;
    let plain = server.get("/api/nodevent").await;
    assert!(!plain.text().contains("http://") && !plain.text().contains(&server.address), "{}", plain.text());
    for host in ["x\");alert(1)//", "</script><script>alert(1)//", "push.example.com:9001", "[::1]:80", ""] {
        let request = Request::get("/api/nodevent").header("Host", host);
        let response = server.send(&request.header("X-Forwarded-Host", "alert(2)")).await;
        if response.status != 400 {
            assert_eq!((response.status, &response.body), (200, &plain.body), "{host}");
        }
        assert!(!response.text().contains("alert("), "{host}");
    }
    assert_eq!(server.get("/api/other").await.body, plain.body);
    assert_eq!(server.get("/api/nodevent?x=alert(1)").await.body, plain.body);
    // The response repeats an unknown name, but as plain text that no browser interprets.
    let response = server.get("/api/%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert_eq!((response.status, response.header("content-type")), (404, Some("text/plain; charset=utf-8")));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn scripts_are_cached_until_they_change() {
    // N-20
    let server = TestServer::start(PLAIN).await;
    for path in ["/socket.io/socket.io.js", "/api/nodevent"] {
        let first = server.get(path).await;
        assert_eq!((first.status, first.header("content-type")), (200, Some("text/javascript; charset=utf-8")));
        assert!(first.header("cache-control").unwrap().contains("max-age"), "{path}");
        let tag = first.header("etag").unwrap();
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}")] {
            let again = server.send(&Request::get(path).header("If-None-Match", &known)).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path} {known}");
            assert_eq!(again.header("etag"), Some(tag));
        }
        let other = server.send(&Request::get(path).header("If-None-Match", "\"other\"")).await;
        assert_eq!((other.status, &other.body), (200, &first.body));
    }
    assert!(server.get("/socket.io/socket.io.js").await.text().contains("io"));
    assert_eq!(server.get("/socket.io/other.js").await.status, 404);
}

#[tokio::test]
async fn browser_that_accepts_gzip_gets_the_same_script_compressed() {
    let server = TestServer::start(PLAIN).await;
    for path in ["/socket.io/socket.io.js", "/api/nodevent"] {
        let plain = server.get(path).await;
        let zipped = server.send(&Request::get(path).header("Accept-Encoding", "br, gzip;q=0.8")).await;
        assert_eq!(zipped.header("content-encoding"), Some("gzip"));
        assert!(zipped.body.len() * 2 < plain.body.len(), "{path}");
        let mut unzipped = Vec::new();
        GzDecoder::new(&zipped.body[..]).read_to_end(&mut unzipped).expect("gzip");
        assert_eq!(unzipped, plain.body, "{path}");
        assert_ne!(zipped.header("etag"), plain.header("etag"));
        assert_eq!(zipped.header("vary"), Some("Accept-Encoding"));
    }
}
