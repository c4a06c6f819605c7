//! Pushes of TURTED have their password in the body, so the server reads bodies of programs that have none.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::Request;

/// Connections of an attack.
const CLIENTS: usize = 16;

#[test]
fn pushes_without_the_password_delay_no_other_client() {
    attacker::run(async {
        let process = Process::start(
            "/nodevent: {open: true}\n\
             /: {dialect: turted, turted: {push: {password: IamAllowed2PUSH!!!}, ident: accept_all, join: open}}\n",
        )
        .await;
        let wide: Vec<String> = (0..80_000).map(|number| format!("\"{number:x}\":1")).collect();
        let users: Vec<String> = (0..120_000).map(|number| format!("\"{number:x}\"")).collect();
        for body in [
            format!("{{{}}}", wide.join(",")),
            format!("{{\"event\":\"e\",\"targets\":{{\"users\":[{}]}}}}", users.join(",")),
        ] {
            println!("a body of {} bytes", body.len());
            assert_unnoticed(&process.site.address, async || {
                let request = Request::post("/push/", body.clone());
                attacker::flood(&process.site, &request, CLIENTS).await;
            })
            .await;
        }
    });
}
