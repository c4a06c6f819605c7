//! Events and acknowledgements, both ways, with and without attachments.

use crate::session::{Session, socket_echo};
use crate::support::TestServer;
use crate::support::raw::{BINARY, End, Frame, Raw, last};

async fn connected(server: &TestServer) -> Raw {
    let mut raw = Raw::opened(server).await;
    raw.send_text("40").await;
    raw.text().await;
    assert_eq!(raw.text().await, "42[\"auth\",{}]");
    raw
}

fn placeholders(count: usize) -> String {
    let all: Vec<_> = (0..count).map(|num| format!("{{\"_placeholder\":true,\"num\":{num}}}")).collect();
    all.join(",")
}

async fn receives_attachments(raw: &mut Raw, attachments: &[Vec<u8>]) {
    for attachment in attachments {
        assert_eq!(raw.frame().await, Some(Frame { opcode: BINARY, payload: attachment.clone() }));
    }
}

#[tokio::test]
async fn event_arrives_with_all_its_arguments() {
    //
    let server = socket_echo("").await;
    let mut raw = connected(&server).await;
    for args in ["", ",1,\"2\",{\"3\":[true]}", ",null", ",1e400,\"\\ud800 \\u0000\",[[[]]]"] {
        raw.send_text(&format!("42[\"message\"{args}]")).await;
        assert_eq!(raw.text().await, format!("42[\"message-back\"{args}]"));
    }
}

#[tokio::test]
async fn call_is_acknowledged_under_its_id() {
    //
    let server = socket_echo("").await;
    let mut raw = connected(&server).await;
    for id in ["0", "456", "18446744073709551615"] {
        raw.send_text(&format!("42{id}[\"message-with-ack\",1,\"2\",{{\"3\":[false]}}]")).await;
        assert_eq!(raw.text().await, format!("43{id}[1,\"2\",{{\"3\":[false]}}]"));
    }
}

#[tokio::test]
async fn binary_events_and_acks_of_up_to_ten_attachments_arrive_whole() {
    //
    let server = socket_echo("").await;
    let mut raw = connected(&server).await;
    for count in [1, 2, 10] {
        let attachments: Vec<_> = (0..count).map(|number| vec![number as u8; number * 100]).collect();
        let placeholders = placeholders(count);
        for (sent, expected) in [
            (
                format!("45{count}-[\"message\",{placeholders}]"),
                format!("45{count}-[\"message-back\",{placeholders}]"),
            ),
            (format!("45{count}-7[\"message-with-ack\",{placeholders}]"), format!("46{count}-7[{placeholders}]")),
        ] {
            raw.send_text(&sent).await;
            for attachment in &attachments {
                raw.send(last(BINARY, attachment)).await;
            }
            assert_eq!(raw.text().await, expected);
            receives_attachments(&mut raw, &attachments).await;
        }
    }
}

#[tokio::test]
async fn attachments_arrive_whole_over_long_polling() {
    //
    let server = socket_echo("").await;
    let session = Session::open(&server).await;
    assert_eq!(session.post("40").await.0, 200);
    assert!(session.get().await.1.contains("42[\"auth\",{}]"));
    let placeholders = placeholders(2);
    let body = format!("452-7[\"message-with-ack\",{placeholders}]\u{1e}bAQID\u{1e}bBAUG");
    assert_eq!(session.post(&body).await, (200, "ok".to_owned()));
    assert_eq!(session.get().await, (200, format!("462-7[{placeholders}]\u{1e}bAQID\u{1e}bBAUG")));
    // The same with one POST per packet.
    for body in [format!("452-[\"message\",{placeholders}]").as_str(), "bAQID", "bBAUG"] {
        assert_eq!(session.post(body).await, (200, "ok".to_owned()));
    }
    assert_eq!(session.get().await, (200, format!("452-[\"message-back\",{placeholders}]\u{1e}bAQID\u{1e}bBAUG")));
}

#[tokio::test]
async fn server_receives_acknowledgements_too() {
    //
    let server = socket_echo("").await;
    let mut raw = connected(&server).await;
    raw.send_text("42[\"ask\",\"how?\"]").await;
    assert_eq!(raw.text().await, "421[\"question\",\"how?\"]");
    raw.send_text("431[\"so\",{\"and\":1}]").await;
    assert_eq!(raw.text().await, "42[\"answer\",\"so\",{\"and\":1}]");
    raw.send_text("42[\"ask\"]").await;
    assert_eq!(raw.text().await, "422[\"question\"]");
    raw.send_text("432").await;
    assert_eq!(raw.text().await, "42[\"answer\"]", "an acknowledgement may have no arguments");
    let placeholder = placeholders(1);
    raw.send_text(&format!("451-[\"ask\",{placeholder}]")).await;
    raw.send(last(BINARY, b"\x01")).await;
    assert_eq!(raw.text().await, format!("451-3[\"question\",{placeholder}]"));
    receives_attachments(&mut raw, &[vec![1]]).await;
    raw.send_text(&format!("461-3[{placeholder}]")).await;
    raw.send(last(BINARY, b"\x02")).await;
    assert_eq!(raw.text().await, format!("451-[\"answer\",{placeholder}]"));
    receives_attachments(&mut raw, &[vec![2]]).await;
}

#[tokio::test]
async fn unsolicited_acknowledgement_is_ignored() {
    let server = socket_echo("").await;
    let mut raw = connected(&server).await;
    raw.send_text("42[\"ask\"]").await;
    assert_eq!(raw.text().await, "421[\"question\"]");
    for packet in ["432[]", "430[]", "431[1]", "431[2]"] {
        raw.send_text(packet).await;
    }
    assert_eq!(raw.text().await, "42[\"answer\",1]", "the first acknowledgement counts");
    raw.send_text("42[\"message\"]").await;
    assert_eq!(raw.text().await, "42[\"message-back\"]", "the others are ignored");
}

#[tokio::test]
async fn eleven_attachments_end_the_connection() {
    //
    let server = socket_echo("").await;
    let mut raw = connected(&server).await;
    raw.send_text(&format!("4511-[\"message\",{}]", placeholders(11))).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn message_and_its_attachments_share_one_limit() {
    //
    let server = socket_echo("limits: {max_message_size: 10000}").await;
    let mut raw = connected(&server).await;
    raw.send_text(&format!("453-[\"message\",{}]", placeholders(3))).await;
    for _ in 0..3 {
        raw.send(last(BINARY, [0; 4_000])).await;
    }
    let End::Closed(Some(code), reason) = raw.ended().await else { panic!("closed without a close frame") };
    assert!((code == 1008 || code == 1009) && !reason.is_empty(), "{code} {reason}");
}
