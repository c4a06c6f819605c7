//! Attack 11: two applications on one Redis. They use different databases, but Redis channels are shared by all of them.

use crate::attacker::{self, join};
use crate::process::Process;
use crate::support::raw::Raw;
use crate::support::{RedisServer, Request};

#[test]
fn applications_in_different_databases_of_one_redis_are_isolated() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        let at = |database: u8| format!("redis: {{host: 127.0.0.1, port: {}, db: {database}}}", redis.port);
        let first = Process::start(&format!("/nodevent: {{{}}}", at(0))).await;
        let second = Process::start(&format!("/nodevent: {{{}}}", at(1))).await;
        first.is_ready().await;
        second.is_ready().await;
        let mut member = Raw::connected(&second.site, "/nodevent").await;
        join(&mut member, "42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
        first.site.emit("/nodevent", "r", "e", "of the first application").await;
        let own = Request::post("/api/nodevent/emit", r#"{"room":"r","event":"e","message":"own"}"#);
        assert_eq!(second.site.send(&own).await.status, 200);
        let text = member.text().await;
        assert!(text.contains("\"own\""), "a member of the second application receives {text}");
    });
}
