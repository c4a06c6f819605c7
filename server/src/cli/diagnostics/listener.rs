//! Checks that a NoDevent server responds on a configured port, or that the port is free.

use super::{Report, get};
use crate::cli::url_of;
use nodevent_server::config::listen::Listen;
use std::io::ErrorKind::AddrInUse;

/// Returns whether a NoDevent server responds.
pub(super) async fn check(listen: &Listen, report: &mut Report) -> bool {
    let (url, port) = (url_of(listen), listen.port);
    if port == 0 {
        return false;
    }
    match get(&url, "/healthz").await {
        Ok((200, body)) if body == "ok\n" => {
            report.ok(&format!("a NoDevent server responds at {url}"));
            return true;
        }
        Ok(_) => {
            report.fail(&format!("another service is listening at {url}"), "stop it, or set another `port`");
        }
        Err(error) => match std::net::TcpListener::bind((listen.host.as_str(), port)) {
            Ok(_) => report.ok(&format!("port {port} is free: no server is running")),
            // Its certificate is for the name that browsers use, not for the name of this machine.
            Err(in_use) if in_use.kind() == AddrInUse && listen.tls.is_some() => report.warn(
                &format!("port {port} of {} is in use, and the request over TLS failed: {error}", listen.host),
                "check it from outside: curl https://<the name in its certificate>/healthz",
            ),
            Err(refused) => report.fail(
                &format!("port {port} cannot be opened on {} ({refused}), and {error}", listen.host),
                "stop the program that uses it, or set another `port`; ports below 1024 need root or CAP_NET_BIND_SERVICE",
            ),
        },
    }
    false
}
