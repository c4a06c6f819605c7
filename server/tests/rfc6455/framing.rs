//! Autobahn 1 (frame lengths), 3 (reserved bits), 4 (opcodes), and frames that a server must not accept.

use crate::echo::{LIMIT, binary, check, check_end, echo, failed, text};
use crate::support::raw::{BINARY, TEXT, frame, head, last};

#[tokio::test]
async fn text_and_binary_of_any_length_come_back() {
    let server = echo().await;
    // 1.1.1 to 1.2.8, at every boundary of the three length forms.
    for length in [0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536] {
        let words = format!("4{}", "*".repeat(length));
        check(&server, &format!("1.1 {length}"), &[last(TEXT, &words)], &[text(&words)]).await;
        let bytes = vec![0xfe; length];
        check(&server, &format!("1.2 {length}"), &[last(BINARY, &bytes)], &[binary(&bytes)]).await;
    }
}

#[tokio::test]
async fn reserved_bit_fails_the_connection() {
    let server = echo().await;
    for bits in 1..=7_u8 {
        // 3.1 to 3.7: the server still replies to earlier frames.
        let sent = [last(TEXT, "4first"), frame(0x81 | bits << 4, b"4second"), last(TEXT, "4third")];
        let end = failed(1002, "reserved_bits");
        check_end(&server, &format!("3.{bits}"), &sent, &[text("4first")], end).await;
        let control = [frame(0x89 | bits << 4, b"")];
        check_end(&server, "3 with a ping", &control, &[], failed(1002, "reserved_bits")).await;
    }
}

#[tokio::test]
async fn reserved_opcode_fails_the_connection() {
    let server = echo().await;
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        // 4.1.1 to 4.2.5
        let sent = [last(TEXT, "4first"), last(opcode, "second"), last(TEXT, "4third")];
        let end = failed(1002, "unknown_opcode");
        check_end(&server, &format!("4 {opcode}"), &sent, &[text("4first")], end).await;
    }
}

#[tokio::test]
async fn unmasked_frame_fails_the_connection() {
    let server = echo().await;
    check_end(&server, "unmasked", &[vec![0x81, 2, b'4', b'x']], &[], failed(1002, "unmasked")).await;
}

#[tokio::test]
async fn length_in_more_bytes_than_needed_fails_the_connection() {
    let server = echo().await;
    let mut sixteen = vec![0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0];
    sixteen.extend([0; 125]);
    check_end(&server, "16 bits", &[sixteen], &[], failed(1002, "bad_length")).await;
    let mut sixty_four = vec![0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    sixty_four.extend(vec![0; 0xffff]);
    check_end(&server, "64 bits", &[sixty_four], &[], failed(1002, "bad_length")).await;
    let highest = vec![0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    check_end(&server, "the highest bit", &[highest], &[], failed(1002, "bad_length")).await;
}

#[tokio::test]
async fn message_beyond_the_limit_is_refused_by_its_header() {
    //
    let server = echo().await;
    for announced in [LIMIT as u64 + 1, 1 << 40, (1 << 63) - 1] {
        for opcode in [0x81, 0x82] {
            let sent = [last(TEXT, "4first"), head(opcode, announced)];
            check_end(&server, &announced.to_string(), &sent, &[text("4first")], failed(1009, "too_big")).await;
        }
    }
    let whole = vec![7; LIMIT];
    check(&server, "the limit itself", &[last(BINARY, &whole)], &[binary(&whole)]).await;
}
