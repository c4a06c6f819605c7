//! The console page in development, and the lines at the start that say which section of the configuration counts.

use crate::support::program::command;
use crate::support::{Program, Request};
use std::path::Path;

/// A configuration whose rooms need a key in every environment.
const CONFIGURATION: &str = "shared: {bind: 127.0.0.1, port: 0, /nodevent: {secret: a-secret-of-more-than-sixteen}}\n\
                             development: {}\nproduction: {}\n";
const PATHS: [&str; 5] = ["/", "/console", "/console.js", "/console.css", "/console.json"];

/// A server in an environment.
async fn serve(folder: &Path, variable: (&str, &str), configuration: &str) -> Program {
    let file = folder.join("nodevent.yml");
    std::fs::write(&file, configuration).unwrap();
    let mut start = command(folder);
    start.arg(file).env(variable.0, variable.1);
    let program = Program::spawn(start);
    program.listening().await;
    program
}

/// N-22
#[tokio::test]
async fn in_development_the_console_is_for_pages_of_this_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    let program = serve(folder.path(), ("RAILS_ENV", "development"), CONFIGURATION).await;
    let site = program.site().await;
    let port = site.address.rsplit_once(':').unwrap().1.to_owned();
    for path in PATHS {
        let status =
            async |header: (&str, &str)| site.send(&Request::get(path).header(header.0, header.1)).await.status;
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            assert_eq!(status(("Host", &format!("{host}:{port}"))).await, 200, "{path} of {host}");
        }
        // DNS may resolve any name to this machine.
        for host in ["rebound.evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.7"] {
            assert_eq!(status(("Host", &format!("{host}:{port}"))).await, 403, "{path} of {host}");
        }
        for header in ["X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via"] {
            assert_eq!(status((header, "127.0.0.1")).await, 403, "{path} through a proxy with {header}");
        }
    }
    let rejected = site.send(&Request::get("/").header("Host", "rebound.evil.example")).await;
    assert!(
        rejected.text().contains("for pages of this machine only") && rejected.text().contains("`console: true`")
    );
    assert!(
        site.get("/console").await.header("content-security-policy").unwrap().contains("frame-ancestors 'none'")
    );
    program.logs("request for the console rejected").await;
}

/// N-22
#[tokio::test]
async fn outside_of_development_a_secured_server_has_no_console() {
    let folder = tempfile::tempdir().unwrap();
    for (environment, more, expected) in [
        ("production", "", 404),
        ("test", "test: {}\n", 404),
        ("development", "console: false", 404),
        ("production", "console: true", 200),
    ] {
        let configuration = match more {
            "" | "test: {}\n" => format!("{CONFIGURATION}{more}"),
            _ => CONFIGURATION.replace("port: 0", &format!("port: 0, {more}")),
        };
        let program = serve(folder.path(), ("NODEVENT_ENV", environment), &configuration).await;
        let site = program.site().await;
        for path in PATHS {
            assert_eq!(site.get(path).await.status, expected, "{path} in {environment} with `{more}`");
        }
        program.kill().await;
    }
}

#[tokio::test]
async fn the_first_line_names_file_section_and_environment() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |variable, configuration| {
        let program = serve(folder.path(), variable, configuration).await;
        let line = program.logs("nodevent starts").await;
        program.kill().await;
        line
    };
    let line = start(("RAILS_ENV", "production"), CONFIGURATION).await;
    let file = folder.path().join("nodevent.yml").display().to_string();
    for part in [&*file, "section=", "environment=", "production (RAILS_ENV)"] {
        assert!(line.contains(part), "{line}");
    }
    let line = start(("UNRELATED", "1"), "bind: 127.0.0.1\nport: 0\n/nodevent: {open: true}\n").await;
    assert!(
        line.contains("none, so all of the file counts") && line.contains("development (the default"),
        "{line}"
    );
}
