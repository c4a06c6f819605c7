//! Several servers behind one address, as `docs/load-balancer.md` configures it.

use crate::proxy::Proxy;
use crate::support::keys::{LATER, key};
use crate::support::wait::until;
use crate::support::{Browser, Program, RedisServer, Request, Site, Transport};
use rustix::process::Signal;

const SECRET: &str = "a-secret-of-more-than-thirty-two-characters";
const KEY: &str = "a-key-of-more-than-sixteen";

async fn join(site: &Site, transport: Transport) -> Browser {
    let mut browser = Browser::connect(site, "/nodevent", transport).await;
    assert_eq!(browser.join_with("r", key("r", LATER, SECRET)).await[1], true);
    browser
}

async fn publish(site: &Site, message: usize) {
    let body = format!(r#"{{"room":"r","event":"e","message":{message}}}"#);
    let request = Request::post("/api/nodevent/emit", body).header("Authorization", &format!("Bearer {KEY}"));
    assert_eq!(site.send(&request).await.status, 200);
}

async fn connections(admin: &Site) -> usize {
    let text = admin.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("nodevent_connections ")).expect("the series");
    line.trim().parse().expect("a number")
}

/// All clients of this test have one address, so they stay at one server, which long-polling needs. While it drains, they
/// move to the other one and miss nothing.
#[tokio::test]
async fn clients_behind_haproxy_stay_at_one_server_and_move_when_it_drains() {
    let redis = RedisServer::start().await;
    let configuration = format!(
        "bind: 127.0.0.1\nport: 0\nadmin: {{port: 0}}\ndrain_timeout: 2s\ntrusted_proxies: [127.0.0.1]\n\
         /nodevent: {{secret: {SECRET}, publish_key: {KEY}, redis: \"{}\"}}\n",
        redis.url()
    );
    let guide = include_str!("../../../docs/load-balancer.md");
    let sample = guide.split("```haproxy\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    let (mut file, mut programs) = (sample.to_owned(), Vec::new());
    for place in ["10.0.0.4:8080", "10.0.0.5:8080"] {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::serve(folder.path(), &configuration).await;
        let (site, admin) = (program.site().await, program.admin().await);
        until("the server is ready", async || site.get("/readyz").await.status == 200).await;
        assert!(file.contains(place), "{file}");
        file = file.replace(place, &site.address);
        programs.push((program, admin, folder));
    }
    let proxy = Proxy::haproxy_as_written(&file, "bind :8000").await;
    until("HAProxy has a server", async || proxy.site.get("/readyz").await.status == 200).await;

    let mut browsers = Vec::new();
    for transport in [Transport::Polling, Transport::WebSocket, Transport::Polling, Transport::WebSocket] {
        browsers.push(join(&proxy.site, transport).await);
    }
    publish(&proxy.site, 1).await;
    for browser in &mut browsers {
        assert_eq!(browser.next_event().await.message, 1);
    }
    let first = if connections(&programs[0].1).await > 0 { 0 } else { 1 };
    assert_eq!(connections(&programs[first].1).await, browsers.len());
    assert_eq!(connections(&programs[1 - first].1).await, 0);

    programs[first].0.signal(Signal::TERM);
    for browser in &mut browsers {
        browser.ended().await;
    }
    assert_eq!(programs[first].0.status().await, Some(0));
    for transport in Transport::BOTH {
        let mut browser = join(&proxy.site, transport).await;
        publish(&proxy.site, 2).await;
        assert_eq!(browser.next_event().await.message, 2, "{transport:?}");
        browser.close().await;
    }
}

/// The guide for operators says how to recognise a proxy whose timeout is shorter than the heartbeat.
#[tokio::test]
async fn operator_finds_a_proxy_that_ends_idle_connections() {
    let guide = include_str!("../../../docs/troubleshooting.md");
    let row =
        guide.lines().find(|line| line.starts_with("| A proxy ends connections that are idle")).expect("a row");
    let folder = tempfile::tempdir().unwrap();
    let settings = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\nlog: {level: debug}\n";
    let program =
        Program::serve(folder.path(), &format!("{settings}/nodevent: {{open: true, history: off}}\n")).await;
    let (site, admin) = (program.site().await, program.admin().await);
    let pass = format!("proxy_pass http://{}; proxy_http_version 1.1; proxy_read_timeout 1s;", site.address);
    let upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;";
    let proxy = Proxy::nginx("", &format!("{pass} {upgrade}")).await;
    for _ in 0..2 {
        let mut browser = Browser::connect(&proxy.site, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        browser.ended().await;
    }
    let series = ["nodevent_disconnects_total{reason=\"lost\"}", "nodevent_connections_opened_total"];
    for series in series {
        assert!(row.contains(series), "{series}: {row}");
        until(series, async || admin.get("/metrics").await.text().contains(&format!("{series} 2\n"))).await;
    }
    let closed = || program.log().into_iter().filter(|line| line.contains("connection closed")).collect::<Vec<_>>();
    // The log is written a moment after the series have changed.
    until("both are logged", async || closed().len() >= 2).await;
    let closed = closed();
    assert_eq!(closed.len(), 2, "{closed:?}");
    for line in &closed {
        let seconds: u32 =
            line.split("seconds=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect(line);
        assert!((1..30).contains(&seconds) && line.contains("client="), "{line}");
    }
    assert!(row.contains("`connection closed` with `seconds`"), "{row}");
}
