//! Checks that the Redis of a namespace responds, accepts writes, and has the same time.

use super::Report;
use crate::cli::output;
use nodevent_server::config::redis::Redis as RedisConfig;
use nodevent_server::engine::redis;

pub(super) async fn check(namespace: &str, config: &RedisConfig, report: &mut Report) {
    let diagnosis = match redis::diagnose(config).await {
        Ok(diagnosis) => diagnosis,
        Err(error) => {
            let hint = "start it, or correct `redis:` in the configuration";
            let error = output::external(&error.to_string());
            return report.fail(&format!("{namespace}: Redis at {config} is unavailable: {error}"), hint);
        }
    };
    match diagnosis.write_error {
        None => report.ok(&format!("{namespace}: Redis at {config} responds and accepts writes")),
        Some(reason) => report.fail(
            &format!(
                "{namespace}: Redis at {config} responds, but does not accept writes: {}",
                output::external(&reason)
            ),
            "use a primary with free memory, and a user that may write keys that begin with `nodevent:`",
        ),
    }
    if diagnosis.clock_skew_secs.abs() > redis::MAX_SKEW_SECS {
        let direction = if diagnosis.clock_skew_secs > 0 { "ahead of" } else { "behind" };
        let seconds = diagnosis.clock_skew_secs.abs();
        report.fail(
            &format!("{namespace}: the clock of Redis at {config} is {seconds} s {direction} this machine's clock"),
            "run NTP on both machines",
        );
    }
}
