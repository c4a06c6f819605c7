//! Checks that the address in the gem's pages leads to a NoDevent server with the namespace.

use super::{Report, get};

pub(super) async fn check(url: &str, namespace: &str, report: &mut Report) {
    // A page uses its own scheme with an address that has none.
    let absolute = if url.starts_with("//") { format!("http:{url}") } else { url.to_owned() };
    match get(&absolute, &format!("/api{namespace}")).await {
        Ok((200, body)) if body.contains("NoDevent") => report.ok(&format!("public_url {url} leads to the server")),
        Ok((404, _)) => report.fail(
            &format!("public_url {url} leads to a server that has no namespace {namespace}"),
            "correct public_url, or forward /api/ and /socket.io/ to this server",
        ),
        Ok((status, _)) => report.fail(
            &format!("public_url {url} leads to another service (status {status})"),
            "correct public_url, or forward /api/ and /socket.io/ to this server",
        ),
        Err(error) => report.fail(
            &format!("public_url {url} cannot be reached from this machine: {error}"),
            "correct its host and port; if only browsers outside can reach it, open it in one",
        ),
    }
}
