//! Network by name: what resolves, what reaches the wire, and what does not, each with a server of the test's own.

mod accounts;
mod answers;
mod asking;
mod crafted;
mod crowd;
mod daemons;
mod datagrams;
mod dns;
mod encrypted;
mod inbound;
mod known;
mod lookups;
mod surroundings;
mod tools;
mod wire;

use cavra_tests::{Suite, cases};

fn main() -> std::process::ExitCode {
    Suite::new("network")
        .both(lookups::programs())
        .both(wire::rows())
        .both(tools::tools())
        .both(surroundings::sockets())
        .both(cases![
            lookups::no_random_label_reaches_the_upstream,
            lookups::names_at_special_addresses_are_refused_unless_placed,
            lookups::an_address_is_reached_under_its_told_name_only,
            lookups::other_servers_of_names_are_refused,
            lookups::hostile_answers_harm_nobody,
            lookups::a_dead_server_fails_the_lookup_and_not_the_session,
            lookups::aliases_are_followed_and_judged,
            lookups::the_resolver_serves_the_session_only,
            lookups::without_network_nothing_resolves,
            lookups::a_repository_chooses_no_resolver,
            asking::questions_are_answered_however_they_come,
            asking::malformed_questions_harm_nobody,
            asking::a_lost_question_is_asked_again,
            asking::a_second_server_answers_for_a_dead_one,
            asking::an_approval_shows_name_address_and_port,
            answers::services_are_told_without_keys_and_hints,
            answers::answers_are_kept_for_as_long_as_they_say,
            answers::a_host_of_ipv6_only_is_reached,
            answers::thousands_of_addresses_of_one_name_are_bounded,
            answers::an_answer_that_drips_holds_its_own_asker_only,
            surroundings::changing_addresses_hold_as_they_were_told,
            accounts::each_host_is_summed_up_with_its_bytes,
            accounts::refused_hosts_hide_none_that_was_reached,
            surroundings::no_spelling_of_an_address_passes_by_its_rule,
            tools::git_over_ssh_reaches_what_is_allowed_by_name,
            tools::claude_code_reaches_its_api_by_name,
            encrypted::servers_are_asked_over_tls_and_https,
            datagrams::a_datagram_socket_can_send_nothing,
            known::answers_are_those_of_dns,
            known::only_who_asks_for_a_blocked_alias_is_recorded,
            known::the_database_is_sealed_and_tells_no_more_than_dns,
            datagrams::no_group_is_joined,
            datagrams::messages_are_sent_as_natively,
            datagrams::a_message_is_sent_as_it_was_decided,
            datagrams::datagrams_go_where_a_rule_says_so,
            datagrams::ancillary_data_is_refused_by_its_name,
            datagrams::without_a_rule_an_echo_of_datagrams_ends,
        ])
        .root(cases![
            daemons::what_answers_for_names_outside_is_out_of_reach,
            inbound::from_outside_loopback_nobody_gets_in,
            inbound::a_rule_lets_the_neighbour_in_where_it_says,
            surroundings::names_of_etc_hosts_are_judged_by_their_rules,
            surroundings::search_domains_lead_to_allowed_names_only,
        ])
        .alone(cases![
            crowd::two_thousand_connections_are_carried_and_closed_side_by_side
        ])
        .main()
}
