//! The history of rooms: positions, retention, and how a history is stored in Redis.
//!
//! [`position`](Position) is what clients, servers and engines compare. [`Retention`] is what is configured.
//! [`redis`](Keys) is the part that the gem and the server share.

mod batch;
mod position;
mod redis;
mod redis_error;
mod retention;

pub use batch::{Batch, BatchResult, MAX_BATCH, MAX_BATCH_BYTES};
pub use position::{MAX_OFFSET, OffsetJump, Position, parse_epoch, with_position, without_position};
pub use redis::{
    Keys, MAX_KEY_PREFIX_BYTES, PREFIX, PUBLISH, PUBLISH_MANY, Publish, READ, READ_REVOCATIONS, READ_RUN, REVOKE,
    REVOKED, Read, Scope, for_run, script_sha,
};
pub use redis_error::is_permanent;
pub use retention::{MIN_POSITION_TTL, Retention, RetentionPolicy};
