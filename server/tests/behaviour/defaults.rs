//! Defaults: port, namespace, engine, and the places of the configuration file.
//!
//! Each test runs in a sandbox with a private network and `/etc`.

use crate::support::namespace_sandbox::in_sandbox;
use crate::support::program::command;
use crate::support::{Browser, Program, RedisServer, Site, Transport};
use std::path::Path;
use tokio::net::TcpStream;

const PORTS: [u16; 5] = [8080, 9001, 9002, 9003, 9004];

/// Checks that the server listens on `port` and on none of the other [`PORTS`].
async fn listens_only_on(port: u16) {
    for one in PORTS {
        let listens = TcpStream::connect(("127.0.0.1", one)).await.is_ok();
        assert_eq!(listens, one == port, "port {one}");
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

#[test]
fn default_configuration_is_port_8080_nodevent_and_local_redis() {
    // N-01
    in_sandbox("defaults::default_configuration_is_port_8080_nodevent_and_local_redis", async {
        let redis = RedisServer::start_on(6379).await;
        let folder = tempfile::tempdir().unwrap();
        let program = Program::spawn(command(folder.path()));
        program.listening().await;
        let choice = program.logs("engine: ").await;
        assert!(choice.contains("Redis") && choice.contains("to pin it, write"), "{choice}");
        listens_only_on(8080).await;
        let site = Site::at("http://127.0.0.1:8080");
        assert_eq!(site.get("/api/nodevent").await.status, 200);
        redis.has_subscribers("/nodevent", 1).await;
        for transport in Transport::BOTH {
            let mut browser = Browser::connect(&site, "/nodevent", transport).await;
            browser.join("r").await;
            redis.publish("/nodevent", r#"{"room":"r","event":"e","message":1}"#).await;
            assert_eq!(browser.next_event().await.message, 1);
        }
    });
}

#[test]
fn default_engine_without_redis_is_memory() {
    // N-01
    in_sandbox("defaults::default_engine_without_redis_is_memory", async {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::spawn(command(folder.path()));
        program.listening().await;
        let choice = program.logs("engine: ").await;
        assert!(choice.contains("memory") && choice.contains("to pin it, write"), "{choice}");
        let site = Site::at("http://127.0.0.1:8080");
        let mut browser = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
        browser.join("r").await;
        site.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.message, 1);
    });
}

/// Adds files from the last place to the first: each takes precedence over the earlier ones.
#[test]
fn configuration_is_searched_in_order_and_the_argument_wins() {
    // N-02, N-03
    in_sandbox("defaults::configuration_is_searched_in_order_and_the_argument_wins", async {
        let folder = tempfile::tempdir().unwrap();
        let etc = Path::new("/etc");
        let start = || command(folder.path());
        let serve = async |start: tokio::process::Command, port: u16| {
            let program = Program::spawn(start);
            program.listening().await;
            listens_only_on(port).await;
            program.kill().await;
        };
        serve(start(), 8080).await;
        write(etc, "nodevent.yml", "port: 9001\n/nodevent: {}\n");
        serve(start(), 9001).await;
        write(etc, "nodevent.json", r#"{"port": 9002, "/nodevent": {}}"#);
        serve(start(), 9002).await;
        write(folder.path(), "config/nodevent.yml", "port: 9003\n/nodevent: {}\n");
        serve(start(), 9003).await;
        write(folder.path(), "named.yml", "port: 9004\n/nodevent: {}\n");
        let mut by_variable = start();
        by_variable.env("NODEVENT_CONFIG", "named.yml");
        serve(by_variable, 9004).await;
        write(folder.path(), "argument.json", r#"{"port": 8080, "/nodevent": {}}"#);
        for arguments in [&["argument.json"][..], &["serve", "argument.json"]] {
            let mut by_argument = start();
            by_argument.args(arguments).env("NODEVENT_CONFIG", "named.yml");
            serve(by_argument, 8080).await;
        }
    });
}
