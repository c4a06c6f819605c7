//! Redis goes away and comes back: with its data, without it, or after a pause in which it only seemed to be there.

use crate::harness::{Crowd, Node, Publishers, Redis, sites, traffic};

const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Two servers, members on both, traffic; Redis is restarted and has everything on disk. Members stay connected and
/// hear everything. N-13, R-14, N-11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_restarted_with_its_data_loses_nothing_and_nobody_notices() {
    let mut redis = Redis::start_durable().await;
    let nodes = Node::start_many(2, &redis.namespace("/nodevent", "")).await;
    let before = nodes[0].footprint();
    let crowd = Crowd::join(50, &sites(&nodes), "/nodevent", &ROOMS).await;
    let publishers = Publishers::start(&sites(&nodes), "/nodevent", &ROOMS);
    for _ in 0..2 {
        traffic(&publishers, 50).await;
        redis.terminate();
        nodes[0].program.says("Redis is away").await;
        redis.start_again().await;
        traffic(&publishers, 50).await;
    }
    let verdict = crowd.verdict(publishers).await;
    assert_eq!((verdict.told, verdict.comebacks), (0, 0), "{verdict:?}");
    nodes[0].is_back_at(before, 32).await;
    nodes[0].ready().await;
}
