//! The crate `redis-protocol` with limits: every reply is examined before the decoder of that crate sees it.
//!
//! That decoder recurses for every level of a nested array. Without limits, a hostile or compromised Redis can crash
//! the server, and the Rails process with the gem, with a few hundred kilobytes of `*1\r\n`: the stack overflows, which
//! no program can catch. The Redis client has no hook in front of its decoder, and its sockets are concrete types. So
//! this crate has the name of the decoder's crate, the workspace's `[patch.crates-io]` puts it in its place, and it
//! passes everything on except the two functions that the client decodes with: that of RESP2 has limits, that of RESP3, to
//! which nothing here switches, rejects everything. Nothing of the decoder is copied or changed.
//!
//! Owns the replacement; `limits` decides, and `resumable` lets it continue where it stopped. A reply beyond a limit is a
//! decoding error, on which the client closes the connection and connects again. Remove this crate as soon as the
//! decoder limits the nesting itself.

mod limits;
mod resumable;

pub use upstream::*;

/// Limits each reply that this program reads to `bytes`. A program that requests only short replies calls it before it
/// connects.
pub fn limit_replies(bytes: usize) {
    limits::set_max_reply(bytes);
}

/// RESP2, with limits on what is decoded.
pub mod resp2 {
    pub use upstream::resp2::{encode, types};

    /// Decoding, with limits.
    pub mod decode {
        use crate::limits::Examined;
        use crate::resumable::examine;
        use bytes::{Bytes, BytesMut};
        pub use upstream::resp2::decode::*;
        use upstream::{error::RedisProtocolError, resp2::types::BytesFrame};

        /// Decodes the first frame, as upstream does.
        ///
        /// # Errors
        /// As upstream, and if the reply exceeds a limit.
        pub fn decode_bytes_mut(
            buf: &mut BytesMut,
        ) -> Result<Option<(BytesFrame, usize, Bytes)>, RedisProtocolError> {
            match examine(buf)? {
                Examined::Incomplete => Ok(None),
                Examined::Decode => upstream::resp2::decode::decode_bytes_mut(buf),
            }
        }
    }
}

/// RESP3, of which nothing is decoded: neither the server nor the gem switches to it. The client tries this decoder with
/// whatever the other one rejects, and collects the parts of a streamed reply without a limit.
pub mod resp3 {
    pub use upstream::resp3::{encode, types};

    /// Decoding, which always fails.
    pub mod decode {
        /// Decoding of frames that may be streamed, which always fails.
        pub mod streaming {
            use bytes::{Bytes, BytesMut};
            use upstream::error::{RedisProtocolError, RedisProtocolErrorKind};
            use upstream::resp3::types::{BytesFrame, DecodedFrame};

            /// Rejects every frame.
            ///
            /// # Errors
            /// Always.
            pub fn decode_bytes_mut(
                _buf: &mut BytesMut,
            ) -> Result<Option<(DecodedFrame<BytesFrame>, usize, Bytes)>, RedisProtocolError> {
                Err(RedisProtocolError::new(RedisProtocolErrorKind::DecodeError, "RESP3 was not requested"))
            }
        }
    }
}
