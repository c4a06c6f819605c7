//! The address of the client behind proxies: what trusted ones report, and never what the client invents.

use crate::proxy::{Proxy, dial_from};
use crate::support::{Browser, Program, Request, Site, Transport};

const KEYED: &str = "/nodevent: {open: true, history: off, publish_key: a-key-of-more-than-sixteen}\n";
/// Where the clients of this test are.
const CLIENT: &str = "127.0.0.7";

fn port_of(site: &Site) -> String {
    site.address.rsplit_once(':').expect("a port").1.to_owned()
}

/// Sends a request with a wrong key from [`CLIENT`] and with invented headers, and returns the log line of its rejection.
async fn rejection(program: &Program, proxy: &Site) -> String {
    let before = program.log().len();
    let mut stream = dial_from(CLIENT, proxy).await;
    let request = Request::post("/api/nodevent/emit", "{}")
        .header("Authorization", "Bearer wrong")
        .header("X-Forwarded-For", "203.0.113.66")
        .header("Forwarded", "for=203.0.113.66");
    assert_eq!(request.exchange(&mut stream, &proxy.address).await.unwrap().status, 401);
    let mut line = None;
    crate::support::wait::until("the rejection is logged", async || {
        line = program.log().into_iter().skip(before).find(|line| line.contains("publish rejected"));
        line.is_some()
    })
    .await;
    line.unwrap()
}

#[tokio::test]
async fn trusted_proxies_name_the_client_in_headers() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "bind: 127.0.0.1\nport: 0\ntrusted_proxies: [127.0.0.1]\n";
    let program = Program::serve(folder.path(), &format!("{listen}{KEYED}")).await;
    let site = program.site().await;
    let server = format!("127.0.0.1:{}", port_of(&site));
    let pass = format!("proxy_pass http://{server}; proxy_set_header Forwarded '';");
    for (name, proxy) in [
        (
            "nginx appends",
            Proxy::nginx("", &format!("{pass} proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;")).await,
        ),
        (
            "nginx replaces",
            Proxy::nginx("", &format!("{pass} proxy_set_header X-Forwarded-For $remote_addr;")).await,
        ),
        (
            "HAProxy",
            Proxy::haproxy(
                "  mode http\n  option forwardfor",
                &format!("{server}\n  http-request del-header Forwarded"),
            )
            .await,
        ),
    ] {
        let line = rejection(&program, &proxy.site).await;
        assert!(line.contains(&format!("client={CLIENT}")), "{name}: {line}");
    }
    // The client itself is not a trusted proxy, so that its headers do not count.
    let line = rejection(&program, &site).await;
    assert!(line.contains(&format!("client={CLIENT}")), "{line}");
    // A proxy that passes an invented header on and says nothing itself: only the proxy is known.
    let silent =
        Proxy::nginx("", &format!("proxy_pass http://{server}; proxy_set_header X-Forwarded-For $remote_addr;"))
            .await;
    let line = rejection(&program, &silent.site).await;
    assert!(line.contains("client=127.0.0.1"), "the headers disagree: {line}");
}

#[tokio::test]
async fn load_balancers_name_the_client_by_the_proxy_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "listen: [{bind: 127.0.0.1, port: 0, proxy_protocol: true}]\ntrusted_proxies: [127.0.0.1]\n";
    let program = Program::serve(folder.path(), &format!("{listen}{KEYED}")).await;
    let site = program.site().await;
    let server = format!("127.0.0.1:{}", port_of(&site));
    for version in ["send-proxy", "send-proxy-v2"] {
        for mode in ["  mode tcp", "  mode http"] {
            let proxy = Proxy::haproxy(mode, &format!("{server} {version}")).await;
            let line = rejection(&program, &proxy.site).await;
            assert!(line.contains(&format!("client={CLIENT}")), "{version}, {mode}: {line}");
        }
        // HAProxy checks the server with a header that names no client.
        let checked =
            Proxy::haproxy("  mode tcp", &format!("{server} {version} check inter 100 check-send-proxy")).await;
        assert_eq!(checked.site.get("/healthz").await.status, 200);
        let mut browser = Browser::connect(&checked.site, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
    }
    // What does not begin with the header, and what comes from elsewhere, gets no response.
    for (source, reason) in
        [("127.0.0.1", "it does not begin with a header"), (CLIENT, "it is not in `trusted_proxies`")]
    {
        let mut stream = dial_from(source, &site).await;
        assert!(Request::get("/healthz").exchange(&mut stream, &site.address).await.is_err());
        let line = program.logs(reason).await;
        assert!(line.contains(&format!("client={source}")), "{line}");
    }
}
