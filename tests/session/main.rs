//! Sessions as such: how they start, what they pass on, how they end, and what they refuse to start with.

mod bad_input;
mod ending;
mod environment;
mod folding;
mod killed;
mod reads;
mod status;
mod terminal;

use cavra_tests::{Suite, cases};

fn main() -> std::process::ExitCode {
    Suite::new("session")
        .both(status::rows())
        .both(cases![
            status::standard_input_and_output_pass_byte_for_byte,
            status::standard_error_stays_apart,
            status::a_closed_pipe_ends_the_command_as_natively,
            environment::secrets_are_removed_unless_named,
            environment::loaders_variables_are_removed,
            environment::only_three_descriptors_are_inherited,
            environment::the_opening_record_says_what_runs,
            ending::signals_reach_the_command,
            ending::what_the_command_leaves_behind_is_killed,
            ending::a_leftover_that_ignores_sigterm_is_killed,
            ending::leftovers_may_be_waited_for,
            ending::a_nested_session_is_refused_clearly,
            terminal::ctrl_c_reaches_the_command_alone,
            terminal::ctrl_z_and_fg_work_as_in_a_shell,
            terminal::a_command_that_its_child_stops_and_continues_goes_on,
            terminal::a_new_size_of_the_window_is_told,
            terminal::raw_mode_does_not_outlive_the_session,
            terminal::a_late_end_of_the_reaper_stops_nothing,
            terminal::a_terminal_gets_a_summary_unless_quiet,
        ])
        .root(cases![
            ending::as_process_one_it_reaps_and_forwards,
            folding::a_rule_holds_in_each_spelling_that_the_file_system_takes,
            bad_input::a_full_disk_stops_the_start,
            bad_input::a_disk_that_fills_stops_what_owes_a_record,
        ])
        .both(bad_input::rows())
        .both(reads::rows())
        .both(cases![
            reads::kernel_reads_leave_writes_to_the_policy,
            reads::kernel_reads_ask_nobody,
            reads::kernel_reads_reach_nothing_of_others,
            reads::kernel_reads_hand_out_no_devices_and_nothing_of_the_session,
            reads::kernel_reads_say_what_they_give_up,
            reads::kernel_reads_win_no_race,
            reads::kernel_reads_refuse_what_they_can_not_keep,
            reads::kernel_reads_grant_nothing_that_owes_a_record,
        ])
        .root(cases![
            reads::kernel_reads_see_through_mounts,
            reads::kernel_reads_grant_no_folder_of_devices,
        ])
        .both(cases![
            bad_input::an_evidence_folder_that_is_a_link_is_refused,
            bad_input::an_evidence_folder_that_cannot_be_made_is_refused,
            bad_input::an_evidence_folder_in_use_is_refused,
        ])
        .alone(cases![
            killed::the_tree_dies_with_its_supervisor,
            killed::a_held_call_dies_with_its_supervisor,
        ])
        .main()
}
