//! Checks that pages of an origin may connect.

use super::{Report, with_timeout};
use crate::cli::http::{self, Request};

pub(super) async fn check(url: &str, origin: &str, report: &mut Report) {
    let response = match Request::new(url, "/socket.io/?EIO=4&transport=polling") {
        Ok(mut request) => {
            request.origin = Some(origin.to_owned());
            with_timeout(http::send(&request)).await
        }
        Err(error) => Err(error),
    };
    match response.map(|response| response.status().as_u16()) {
        Ok(200) => report.ok(&format!("pages of {origin} may connect")),
        Ok(403) => report.fail(
            &format!("pages of {origin} may not connect"),
            "add it to `origins` in the configuration, and restart the server",
        ),
        Ok(status) => report.fail(&format!("the handshake returned status {status}"), "see the server's log"),
        Err(error) => report.fail(&format!("the handshake failed: {error}"), "see the server's log"),
    }
}
