//! Errors of Redis: which a retry may fix, and which occur again. The gem and the server share the decision.

/// States of a Redis that end without a change of what was sent.
const TEMPORARY: [&str; 12] = [
    "READONLY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "NOGOODSLAVE",
    "MOVED",
    "ASK",
];

/// Returns whether the same command would fail again, by the error that Redis returned for it.
///
/// Until version 6.2, Redis wraps the error of a command within a script: `ERR Error running script (call to f_…):
/// @user_script:50: -READONLY You can't write against a read only replica.` Later versions return it with its own code.
#[must_use]
pub fn is_permanent(details: &str) -> bool {
    match details.split(' ').next() {
        Some("WRONGTYPE" | "NOPERM") => true,
        Some("ERR") => !is_temporary_state(details),
        _ => false,
    }
}

fn is_temporary_state(details: &str) -> bool {
    let mut words = details.split(' ').map(|word| word.strip_prefix('-').unwrap_or(word));
    details.starts_with("ERR max number of clients") || words.any(|word| TEMPORARY.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_states_are_recognised_with_and_without_the_wrapping_of_redis_6() {
        for state in [
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "NOREPLICAS Not enough good replicas to write.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "CLUSTERDOWN Hash slot not served",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        ] {
            let wrapped =
                format!("ERR Error running script (call to f_ab12): @user_script:50: @user_script: 50: -{state} ");
            let with_script = format!("{state} script: ab12, on @user_script:50.");
            for details in [state, &wrapped, &with_script] {
                assert!(!is_permanent(details), "{details}");
            }
        }
        assert!(!is_permanent("ERR max number of clients reached"));
        assert!(!is_permanent("NOAUTH Authentication required."), "a password may be set later");
    }

    #[test]
    fn what_redis_never_accepts_is_permanent() {
        for details in [
            "ERR unknown command 'EVALSHA'",
            "ERR Error running script (call to f_ab12): @user_script:50: @user_script: 50: -WRONGTYPE Operation against a key",
            "ERR Error running script (call to f_ab12): @user_script:50: The user executing the script can't run this command",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "ERR value is not an integer or out of range",
        ] {
            assert!(is_permanent(details), "{details}");
        }
    }
}
