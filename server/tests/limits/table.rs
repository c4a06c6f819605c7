//! The table of limits: each key of the reference with a number, a size or a duration, and the tests that reach it. A new key
//! without a test fails here.

use nodevent_server::config::changes;
use nodevent_server::config::keys::{self, Kind};
use std::collections::BTreeSet;
use std::path::Path;

/// Limits, and the tests of this folder that reach them. Each test ends with a bystander that is not affected.
const TESTS: &[(&str, &[&str])] = &[
    (
        "limits.max_connections",
        &["waits::connection_beyond_the_limit_gets_503", "shares::websockets_count_until_their_sockets_are_gone"],
    ),
    ("limits.max_memberships", &["shares::address_with_nearly_all_memberships_leaves_some_to_others"]),
    ("limits.max_present_per_room", &["presence::users_beyond_the_members_of_a_room_join_and_are_not_present"]),
    ("limits.max_present", &["presence::users_beyond_the_members_of_a_namespace_join_and_are_not_present"]),
    ("limits.max_presence_info", &["presence::info_beyond_its_limit_is_left_out_and_its_user_is_present"]),
    (
        "limits.max_http_connections",
        &["http_connections::sockets_beyond_the_limit_leave_health_checks_and_connected_clients_alone"],
    ),
    (
        "limits.max_message_size",
        &[
            "sizes::oversized_message_closes_its_websocket_with_1009",
            "sizes::oversized_post_gets_413_with_the_limit",
        ],
    ),
    ("limits.max_publish_size", &["sizes::oversized_publish_gets_413_with_a_hint"]),
    ("limits.max_room_name", &["rooms::room_name_that_is_too_long_or_missing_is_refused"]),
    ("limits.max_identifier", &["cable::identifier_beyond_its_limit_is_rejected_and_its_connection_goes_on"]),
    ("limits.max_pending_commands", &["cable::commands_beyond_those_that_may_wait_close_their_connection"]),
    ("limits.max_rooms_per_connection", &["rooms::joins_beyond_the_room_limit_are_refused_in_bounded_memory"]),
    (
        "limits.send_buffer",
        &[
            "slow_readers::session_that_stops_polling_is_closed_when_its_send_buffer_is_full",
            "server_sent::event_stream_that_is_not_read_is_closed_when_its_send_buffer_is_full",
        ],
    ),
    (
        "limits.request_timeout",
        &[
            "requests::slow_request_header_gets_408_and_is_closed",
            "requests::slow_publish_body_gets_408",
            "requests::slow_tls_handshake_is_closed",
            "waits::unfinished_upgrade_is_closed_and_its_session_continues",
        ],
    ),
    ("limits.keep_alive_timeout", &["keep_alive::idle_connection_is_closed_after_its_own_timeout"]),
    ("limits.connect_timeout", &["waits::connections_that_never_enter_a_namespace_are_closed_with_a_reason"]),
    (
        "limits.write_timeout",
        &[
            "slow_readers::reader_that_stalls_for_the_write_timeout_is_disconnected",
            "slow_readers::response_that_is_not_read_times_out",
        ],
    ),
    ("limits.joins_per_second", &["rooms::join_flood_is_refused_and_earlier_memberships_stay"]),
    ("limits.packets_per_second", &["floods::packet_flood_is_closed_with_its_reason"]),
    (
        "limits.send_buffers_total",
        &[
            "slow_readers::largest_buffers_are_closed_when_all_together_exceed_their_budget",
            "shares::messages_that_never_end_are_limited_together",
        ],
    ),
    ("limits.bytes_per_second", &["floods::byte_flood_is_closed_with_its_reason"]),
    ("limits.max_roomless_per_address", &["floods::connections_without_a_room_are_displaced_by_newer_ones"]),
    (
        "limits.max_connections_per_address",
        &["addresses::connections_of_an_address_have_a_limit_and_others_connect"],
    ),
    (
        "limits.handshakes_per_second_per_address",
        &["addresses::handshakes_beyond_the_rate_of_an_address_are_refused_on_every_transport"],
    ),
    (
        "limits.room_requests_per_second_per_address",
        &["addresses::requests_for_rooms_beyond_the_rate_of_an_address_are_refused"],
    ),
    ("limits.wrong_keys_per_second_per_address", &["addresses::forged_names_of_event_streams_are_wrong_keys"]),
    ("limits.max_mailboxes", &["mailboxes::mailboxes_beyond_their_number_are_rejected_and_the_others_go_on"]),
    (
        "limits.max_mailbox_memory",
        &["mailboxes::messages_beyond_the_memory_of_all_mailboxes_are_rejected_and_none_is_lost"],
    ),
    (
        "limits.max_mailbox_message",
        &["mailboxes::message_and_list_of_users_beyond_their_limits_are_rejected_with_a_hint"],
    ),
    (
        "limits.max_notified_users",
        &["mailboxes::message_and_list_of_users_beyond_their_limits_are_rejected_with_a_hint"],
    ),
    ("ping.timeout", &["lifetimes::connection_without_a_heartbeat_is_closed_and_one_that_responds_stays"]),
    ("Namespace.max_key_lifetime", &["lifetimes::keys_and_tokens_that_are_valid_for_too_long_are_rejected"]),
    ("auth.lifetime", &["lifetimes::identity_of_the_application_ends_after_its_lifetime_and_grace_period"]),
    ("auth.grace", &["lifetimes::identity_of_the_application_ends_after_its_lifetime_and_grace_period"]),
    ("auth.timeout", LATE_OR_LARGE),
    ("auth.connect_timeout", NOT_ACCEPTED),
    ("auth.concurrency", WAITING),
    ("auth.queue", WAITING),
    ("auth.max_response", LATE_OR_LARGE),
    ("token.max_lifetime", &["lifetimes::keys_and_tokens_that_are_valid_for_too_long_are_rejected"]),
    (
        "token.grace",
        &["lifetimes::connection_with_an_expired_token_is_closed_after_the_grace_period_and_others_stay"],
    ),
    ("turted.application.timeout", LATE_OR_LARGE),
    ("turted.application.connect_timeout", NOT_ACCEPTED),
    ("turted.application.concurrency", WAITING),
    ("turted.application.queue", WAITING),
    ("turted.application.max_response", LATE_OR_LARGE),
    ("history.size", &["histories::publications_beyond_the_size_of_a_history_are_dropped_from_that_room_alone"]),
    ("history.age", &["histories::publications_beyond_the_age_of_a_history_are_dropped_from_it"]),
    (
        "history.max_memory",
        &[
            "histories::least_recent_histories_are_dropped_beyond_the_memory_of_all",
            "histories::histories_need_the_memory_of_their_limit_whatever_the_rooms_and_texts_are",
        ],
    ),
    (
        "history.rooms.size",
        &["histories::publications_beyond_the_size_of_a_history_are_dropped_from_that_room_alone"],
    ),
    ("history.rooms.age", &["histories::histories_of_rooms_with_a_short_age_end_before_the_others"]),
    ("mailbox.count", &["mailboxes::oldest_messages_of_a_full_mailbox_are_dropped_and_those_of_others_are_not"]),
    ("mailbox.bytes", &["mailboxes::oldest_messages_of_a_full_mailbox_are_dropped_and_those_of_others_are_not"]),
    ("mailbox.age", &["mailboxes::messages_of_a_user_who_stays_away_are_forgotten_after_the_age"]),
    ("presence.max_size", &["presence::room_with_more_members_than_its_list_shows_only_their_number"]),
    (
        "connection_state_recovery.max_disconnection",
        &["lifetimes::client_that_was_disconnected_for_too_long_is_not_restored"],
    ),
    ("hooks.timeout", &["hooks::request_without_a_response_is_sent_again_until_its_events_are_too_old"]),
    ("hooks.batch", &["hooks::request_without_a_response_is_sent_again_until_its_events_are_too_old"]),
    ("hooks.give_up", &["hooks::request_without_a_response_is_sent_again_until_its_events_are_too_old"]),
    ("hooks.size", &["hooks::events_beyond_the_journal_are_dropped_and_counted"]),
    ("hooks.bytes", &["hooks::events_beyond_the_journal_are_dropped_and_counted"]),
    ("hooks.attempts", &["hooks::rejected_event_is_a_dead_letter_after_its_attempts_and_the_oldest_are_dropped"]),
    (
        "hooks.dead_letters",
        &["hooks::rejected_event_is_a_dead_letter_after_its_attempts_and_the_oldest_are_dropped"],
    ),
    ("pages.initial", &["pages::pages_that_do_not_connect_or_return_in_time_make_room_and_connected_ones_stay"]),
    ("pages.grace", &["pages::pages_that_do_not_connect_or_return_in_time_make_room_and_connected_ones_stay"]),
    ("pages.max_channels", &["pages::channels_and_pages_beyond_their_limits_are_rejected_and_the_others_go_on"]),
    ("pages.max_pages", &["pages::channels_and_pages_beyond_their_limits_are_rejected_and_the_others_go_on"]),
    ("calls.timeout", LATE_OR_LARGE),
    ("calls.connect_timeout", NOT_ACCEPTED),
    ("calls.concurrency", WAITING),
    ("calls.queue", WAITING),
    (
        "calls.per_connection",
        &["applications::calls_beyond_those_of_one_connection_are_rejected_and_another_connection_calls"],
    ),
    ("calls.max_response", LATE_OR_LARGE),
    ("traces.queue", &["traces::spans_beyond_the_queue_are_dropped_and_counted"]),
];

const LATE_OR_LARGE: &[&str] =
    &["applications::responses_that_are_late_or_too_large_are_a_no_and_the_next_one_counts"];
const NOT_ACCEPTED: &[&str] = &["applications::connection_that_the_application_does_not_accept_is_given_up"];
const WAITING: &[&str] = &["applications::requests_beyond_those_that_may_wait_are_rejected_at_once"];

/// Keys with a number or a duration that limit nothing, and what they are instead.
const NO_LIMITS: &[(&str, &str)] = &[
    ("Server.port", "a port"),
    ("Server.drain_timeout", "the time over which a stopping server spreads the ends of its connections"),
    ("Server.deflate_min_size", "the size from which compression is worth its time"),
    ("Server.shards", "the number of threads"),
    ("listen.port", "a port"),
    ("admin.port", "a port"),
    ("ping.interval", "an interval"),
    ("auth.cache", "the age of a decision that is used again"),
    ("auth.cache_rejected", "the age of a decision that is used again"),
    ("token.jwks_refresh", "an interval"),
    ("token.jwks_max_age", "the age of keys that are used while their source is unavailable"),
    ("token.leeway", "a difference of clocks"),
    ("action_cable.ping_interval", "an interval"),
    ("action_cable.refresh_interval", "an interval"),
    ("action_cable.refresh_window", "the time over which refreshes are spread"),
    ("turted.push.port", "a port"),
    ("presence.lease", "the time after which a killed server is noticed"),
    ("presence.grace", "the time in which a user may return"),
    ("redis.port", "a port"),
    ("redis.db", "the number of a database"),
];

/// The keys of the reference whose value is a number, a size or a duration, as `section.key`.
fn measured_keys() -> BTreeSet<String> {
    let sections = keys::SECTIONS.iter();
    let of = |section: &keys::Section| {
        let title = section.title.replace('`', "");
        let is_measured = |kind: &Kind| matches!(kind, Kind::Number(..) | Kind::Size | Kind::Duration);
        let measured = section.keys.iter().filter(move |key| is_measured(&key.kind));
        measured.map(|key| format!("{title}.{}", key.name)).collect::<Vec<_>>()
    };
    sections.flat_map(|section| of(section)).collect()
}

#[test]
fn every_limit_of_the_reference_has_a_test() {
    let listed: Vec<&str> =
        TESTS.iter().map(|(key, _)| *key).chain(NO_LIMITS.iter().map(|(key, _)| *key)).collect();
    let unique: BTreeSet<String> = listed.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(unique.len(), listed.len(), "a key is listed twice");
    let measured = measured_keys();
    assert!(measured.len() > 80, "{measured:?}");
    let missing: Vec<_> = measured.difference(&unique).collect();
    assert!(missing.is_empty(), "keys without a test; write one that reaches the limit, and list it: {missing:?}");
    let gone: Vec<_> = unique.difference(&measured).collect();
    assert!(gone.is_empty(), "keys that the reference does not have: {gone:?}");
}

/// The tests exist, their files set the keys, and each of them looks at a bystander.
#[test]
fn tests_of_limits_exist_and_look_at_a_bystander() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/limits");
    for (key, tests) in TESTS {
        assert!(!tests.is_empty(), "{key} has no test");
        let name = key.rsplit('.').next().unwrap();
        for test in *tests {
            let (file, function) = test.split_once("::").unwrap();
            let text = std::fs::read_to_string(folder.join(file).with_extension("rs")).unwrap();
            let begins = format!("#[tokio::test]\nasync fn {function}() {{\n");
            let body = text.split_once(&begins).unwrap_or_else(|| panic!("{key}: there is no {test}")).1;
            let body = body.split("\n}\n").next().unwrap();
            assert!(body.contains(".bystander_is_unaffected()"), "{key}: {test} has no bystander");
            assert!(text.contains(&format!("{name}: ")), "{key}: {file}.rs does not set it");
        }
    }
}

/// The guide says of each limit whether a reload applies it.
#[test]
fn guide_says_which_limits_a_reload_applies() {
    let guide = include_str!("../../../docs/server.md");
    let section = guide.split_once("\n## Reload\n").unwrap().1.split("\n## ").next().unwrap();
    let (table, others) = section.split_once("All other keys need a restart.").unwrap();
    for key in keys::LIMITS.keys {
        let name = format!("`{}`", key.name);
        let shown = table.contains(&name) || table.contains(&format!("`limits: {}`", key.name));
        let applies = changes::LIMITS.contains(&key.name);
        assert_eq!((shown, others.contains(&name)), (applies, !applies), "{name}");
    }
}
