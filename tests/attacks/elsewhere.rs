//! Claims about classes that other test programs show: run from here for the page, and known to be there in each run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A claim of another test program.
pub struct Elsewhere {
    /// The class.
    pub class: u64,
    /// `[[test]]` of this crate.
    pub program: &'static str,
    /// The test's name without its user.
    pub test: &'static str,
}

macro_rules! shown {
    ($($class:literal $program:literal { $($test:literal,)* })*) => {
        &[$($(Elsewhere { class: $class, program: $program, test: $test },)*)*]
    };
}

/// Each runs its own control or twin.
pub const ELSEWHERE: &[Elsewhere] = shown! {
    30 "session" {
        "environment::only_three_descriptors_are_inherited", "environment::loaders_variables_are_removed",
        "environment::secrets_are_removed_unless_named",
    }
    34 "boundary" { "arguments_rewritten_during_exec_never_win", }
    38 "commands" {
        "another_argv0", "no_argv0", "two_megabytes", "bytes_that_are_no_text", "a_line_end_among_arguments", "a_wrapper_in_a_wrapper",
        "a_split_string", "an_interpreter_by_hand", "an_alias_in_a_file",
    }
    39 "commands" {
        "an_option_in_front_of_the_verb", "an_option_with_its_value_attached", "an_option_that_no_table_knows", "a_flood_of_options",
        "an_abbreviated_verb", "a_verb_from_a_variable", "by_an_alias", "by_an_alias_on_the_command_line", "by_an_alias_in_the_environment",
        "by_a_configured_refspec", "by_an_option",
    }
    44 "faults" { "many_processes_are_all_answered", "many_threads_are_all_answered", }
    46 "network" { "datagrams::a_message_is_sent_as_it_was_decided", }
    47 "network" {
        "datagrams::a_datagram_socket_can_send_nothing", "datagrams::no_group_is_joined", "surroundings::no_spelling_of_an_address_passes_by_its_rule",
        "answers::a_host_of_ipv6_only_is_reached", "not handed out: MPTCP socket over IPv4 (family 2, type 1, protocol 262)",
        "not handed out: MPTCP socket over IPv6 (family 10, type 1, protocol 262)",
    }
    51 "network" {
        "lookups::names_at_special_addresses_are_refused_unless_placed", "lookups::an_address_is_reached_under_its_told_name_only",
        "surroundings::changing_addresses_hold_as_they_were_told", "answers::thousands_of_addresses_of_one_name_are_bounded",
        "surroundings::names_of_etc_hosts_are_judged_by_their_rules",
    }
    52 "network" {
        "on the wire: another name at the address", "on the wire: a name that is allowed elsewhere", "on the wire: no name", "on the wire: no TLS",
        "on the wire: a second hello for another name", "on the wire: a hello byte by byte, with another name",
        "on the wire: plain HTTP for another host", "on the wire: another host in the second request", "on the wire: two hosts in one request",
        "on the wire: a tunnel", "on the wire: an encrypted hello inside one for an allowed name", "on the wire: the grease of an encrypted hello",
        "on the wire: an encrypted name of the drafts", "on the wire: two names in one extension", "on the wire: two extensions with a name each",
        "on the wire: another name with a dot in the hello", "on the wire: a name with a NUL byte", "on the wire: a ticket of TLS 1.2 under another name",
        "on the wire: an absolute target at another host than the header's", "on the wire: an absolute target at another host",
        "on the wire: an absolute target with a user before the host", "on the wire: HTTP/2 with prior knowledge", "on the wire: an upgrade to HTTP/2",
    }
    53 "network" {
        "lookups::no_random_label_reaches_the_upstream", "lookups::other_servers_of_names_are_refused", "lookups::without_network_nothing_resolves",
        "lookups::the_resolver_serves_the_session_only",
    }
    54 "network" { "lookups::hostile_answers_harm_nobody", "lookups::aliases_are_followed_and_judged", "lookups::a_dead_server_fails_the_lookup_and_not_the_session", }
    54 "network" {
        "asking::malformed_questions_harm_nobody", "asking::a_lost_question_is_asked_again", "answers::an_answer_that_drips_holds_its_own_asker_only",
    }
    55 "network" {
        "crowd::two_thousand_connections_are_carried_and_closed_side_by_side", "surroundings::changing_addresses_hold_as_they_were_told",
    }
    55 "network" { "on the wire: half-closed", "on the wire: 64 MB there and back", "on the wire: nobody listens", }
    56 "boundary" { "listening_on_every_interface_is_by_rule_however_it_is_asked", }
    58 "boundary" { "the_supervisor_and_its_files_are_out_of_reach", }
    59 "evidence" {
        "the_agent_can_not_touch_its_evidence_not_even_in_its_workspace", "the_agent_can_not_touch_the_evidence_of_another_session",
        "a_full_disk_starts_nothing_and_later_refuses_what_owes_a_record", "a_full_disk_that_is_one",
    }
    60 "approvals" { "nobody_in_the_tree_can_answer", }
    61 "faults" {
        "few_descriptors_let_nothing_through", "little_memory_lets_nothing_through", "no_room_for_records_lets_nothing_through",
        "many_processes_are_all_answered",
    }
    61 "approvals" { "a_desk_holds_so_many_and_refuses_the_rest", }
    62 "boundary" { "calls_that_wait_leave_room_for_the_others", }
    62 "approvals" { "only_the_thread_that_asks_is_held", "a_silent_or_dead_client_holds_nobody", "a_full_stderr_holds_nobody", }
    63 "faults" { "random_calls_are_all_answered_and_win_nothing", }
    64 "faults" {
        "the_tree_dies_with_its_supervisor_at_any_instant", "the_tree_dies_with_its_reaper", "without_reaper_and_supervisor_no_call_succeeds",
        "nothing_gets_through_while_the_supervisor_is_stopped", "a_panic_in_a_handler_refuses_that_call_alone",
        "a_panic_where_decisions_are_settled_lets_nothing_through", "a_panic_where_records_are_written_lets_nothing_through",
    }
    66 "approvals" {
        "what_the_agent_writes_can_not_steer_the_approvers_terminal", "what_is_executed_is_shown_and_not_only_what_it_calls_itself",
        "what_is_held_is_said_where_it_is_not_in_the_way",
    }
    67 "session" { "ending::a_nested_session_is_refused_clearly", }
    68 "session" {
        "ending::what_the_command_leaves_behind_is_killed", "ending::a_leftover_that_ignores_sigterm_is_killed",
        "killed::the_tree_dies_with_its_supervisor", "killed::a_held_call_dies_with_its_supervisor",
    }
    68 "boundary" { "nothing_outlives_the_session_or_its_supervisor", }
    70 "approvals" {
        "what_is_executed_is_shown_and_not_only_what_it_calls_itself", "a_caller_that_ends_takes_its_request_with_it",
        "nobody_asked_and_nobody_there_are_refusals", "the_end_of_the_session_is_the_end_of_its_requests",
        "a_signal_interrupts_the_caller_and_not_the_request", "wrong_answers_say_what_is_right",
    }
    71 "evidence" {
        "each_change_of_a_chain_is_named", "long_sessions_go_on_in_a_second_file_of_the_same_chain", "secrets_in_arguments_are_in_no_record",
        "a_folder_that_can_not_hold_evidence_starts_nothing",
    }
    71 "session" { "bad_input::an_evidence_folder_in_use_is_refused", "bad_input::an_evidence_folder_that_is_a_link_is_refused", }
    72 "policies" { "the_tree_reads_its_policy_and_writes_none_of_it", "only_signed_packs_count_where_signatures_are_required", }
    72 "session" { "a_yaml_bomb", "a_key_given_twice", "packs_that_inherit_each_other", "a_pack_nested_without_end", }
    76 "boundary" { "no_program_is_planted_in_gits_configuration", }
};

/// Runs them, or only looks whether they are there; what became of each test, all users together: none when it is not there.
pub fn results(run: bool) -> Vec<(&'static Elsewhere, Option<Shown>)> {
    let mut programs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for claim in ELSEWHERE {
        programs.entry(claim.program).or_default().insert(claim.test);
    }
    let mut found: BTreeMap<(&str, String), Shown> = BTreeMap::new();
    for (program, tests) in programs {
        for (name, shown) in ask(program, &tests, run) {
            let entry = found.entry((program, name)).or_insert(shown);
            *entry = (*entry).max(shown);
        }
    }
    ELSEWHERE
        .iter()
        .map(|claim| (claim, found.get(&(claim.program, claim.test.to_owned())).copied()))
        .collect()
}

/// How a test went; the worst of all users counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// It is there and was not run now.
    There,
    /// It passed.
    Passed,
    /// It could not be run here.
    Skipped,
    /// It failed.
    Failed,
}

fn ask(program: &str, tests: &BTreeSet<&str>, run: bool) -> Vec<(String, Shown)> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--package", "cavra-tests", "--test", program, "--"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    if run {
        command.args(tests);
    } else {
        command.arg("--list");
    }
    let output = command.output().expect("cargo test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if run {
        print!("{text}");
    }
    text.lines().filter_map(|line| outcome(line, run)).collect()
}

/// A line of a runner's output: `NAME: test`, or `test NAME ... ok`.
fn outcome(line: &str, run: bool) -> Option<(String, Shown)> {
    let bare = |name: &str| {
        let name = ["::root", "::ordinary", "::own"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        name.to_owned()
    };
    if !run {
        return Some((bare(line.strip_suffix(": test")?), Shown::There));
    }
    let (name, how) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let shown = if how.starts_with("ok") {
        Shown::Passed
    } else if how.starts_with("SKIPPED") || how.starts_with("ignored") {
        Shown::Skipped
    } else {
        Shown::Failed
    };
    Some((bare(name), shown))
}
