//! Commands understood: whatever way a forbidden command or push is written, it does not start, and its harmless twin does.
//!
//! The tools are stand-ins that say their words and leave a mark; git is git, with a bare repository beside it as its remote.

use cavra_tests::{Row, Session, Stage, Suite, Unmet, User, allowed, refused, row_cases};

const TOOLS: &[Row] = refused! {
    an_option_in_front_of_the_verb: sh "kubectl --context prod -n x delete pod y", action "execute_command", about "kubectl", rule "commands.block", twin "kubectl --context delete -n x get pod y";
    an_option_with_its_value_attached: sh "kubectl --context=prod -nx delete pod y", action "execute_command", about "kubectl", rule "commands.block", twin "kubectl --context=prod -nx get pod delete";
    an_option_that_no_table_knows: sh "kubectl --new-option z delete pod y", action "execute_command", about "kubectl", rule "commands.block", twin "kubectl --new-option z get pod y";
    a_flood_of_options: sh "kubectl $(yes -- --request-timeout 5 | head -n 600 | tr '\\n' ' ') delete pod y", action "execute_command", about "kubectl", rule "commands.block", twin "kubectl $(yes -- --request-timeout 5 | head -n 600 | tr '\\n' ' ') get pod y";
    a_flood_of_unknown_options: sh "kubectl $(yes -- --unknown 5 | head -n 600 | tr '\\n' ' ') delete pod y", action "execute_command", about "kubectl", rule "boundary.command.unreadable", twin "kubectl --unknown 5 --unknown 5 get pod y";
    a_verb_in_two_words: sh "aws --profile p iam --region r create-access-key", action "execute_command", about "aws", rule "commands.block", twin "aws --profile iam s3 ls create-access-key";
    a_verb_that_means_another: sh "terraform -chdir=. apply -no-color -destroy", action "execute_command", about "terraform", rule "commands.block", twin "terraform -chdir=. plan -destroy";
    a_verb_from_a_variable: sh "TF_CLI_ARGS=destroy terraform", action "execute_command", about "terraform", rule "commands.block", twin "TF_CLI_ARGS=plan terraform";
    an_abbreviated_verb: sh "npm --tag x publi", action "execute_command", about "npm", rule "commands.block", twin "npm pac";
    an_alias_in_a_file: sh "mkdir .cargo; echo '[alias]' >.cargo/config.toml; echo 'ship = [\"publish\"]' >>.cargo/config.toml; cargo ship", action "execute_command", about "cargo", rule "commands.block", twin "mkdir -p .cargo; echo 'ship = \"check\"' >.cargo/config.toml; cargo ship";
    an_alias_in_a_variable: sh "CARGO_ALIAS_SHIP=publish cargo ship", action "execute_command", about "cargo", rule "commands.block", twin "CARGO_ALIAS_SHIP=check cargo ship";
    another_machines_shell: sh "ssh -p 22 host 'cd x && terraform apply'", action "execute_command", about "ssh", rule "commands.block", twin "ssh -p 22 host 'cd x && terraform plan'";
    a_containers_shell: sh "docker exec -e A=1 box sh -c 'cd x; terraform apply'", action "execute_command", about "docker", rule "commands.block", twin "docker exec -e A=1 box sh -c 'cd x; terraform plan'";
    a_longer_name_of_the_same: sh "docker --context c image push i", action "execute_command", about "docker", rule "commands.block", twin "docker --context c image ls push";
    a_wrapper_in_a_wrapper: sh "env -u A B=1 timeout -k 5 5 nice -n 2 terraform apply", action "execute_command", about "terraform", rule "commands.block", twin "env -u A B=1 timeout -k 5 5 nice -n 2 terraform plan";
    a_split_string: sh "env -S 'terraform apply'", action "execute_command", about "terraform", rule "commands.block", twin "env -S 'terraform plan'";
    another_argv0: sh "bash -c 'exec -a ls \"$0\" apply' $(command -v terraform)", action "execute_command", about "apply", rule "commands.block", twin "bash -c 'exec -a ls \"$0\" plan' $(command -v terraform)";
    no_argv0: sh "bash -c 'exec -a \"\" \"$0\" apply' $(command -v terraform)", action "execute_command", about "apply", rule "commands.block", twin "bash -c 'exec -a \"\" \"$0\" plan' $(command -v terraform)";
    an_interpreter_by_hand: sh "sh $(command -v terraform) apply", action "execute_command", about "apply", rule "commands.block", twin "sh $(command -v terraform) plan";
    a_line_end_among_arguments: sh "terraform apply \"$(printf 'a\\nb')\"", action "execute_command", about "terraform", rule "commands.block", twin "terraform plan \"$(printf 'a\\nb')\"";
    bytes_that_are_no_text: sh "kubectl --token \"$(printf '\\377')\" delete pod \"$(printf '\\200')\"", action "execute_command", about "kubectl", rule "commands.block", twin "kubectl --token \"$(printf '\\377')\" get pod";
    two_megabytes: sh "kubectl --token $(head -c 100000 /dev/zero | tr '\\0' x) delete $(seq 1 90000)", action "execute_command", about "kubectl", rule "commands.block", twin "kubectl --token $(head -c 100000 /dev/zero | tr '\\0' x) get $(seq 1 90000)";
    a_tool_that_a_pack_describes: sh "deployer --stage prod destroy", action "execute_command", about "deployer", rule "commands.block", twin "deployer --stage destroy show";
};

const PUSHES: &[Row] = refused! {
    by_name: sh "git push -q origin main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git push -q origin topic";
    by_refspec: sh "git push -q origin HEAD:main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git push -q origin HEAD:topic";
    by_the_short_head: sh "git push -q -f origin @:refs/heads/main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git push -q -f origin @:refs/heads/new";
    by_a_pattern: sh "git push -q origin 'refs/heads/ma*:refs/heads/ma*'", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git push -q origin refs/heads/topic:refs/heads/topic";
    by_deletion: sh "git push -q --del origin main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git push -q --del origin other";
    by_all: sh "git push -q --al origin", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git push -q --tags origin";
    by_the_branch_that_is_checked_out: sh "git checkout -q main && git push -q", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git checkout -q topic && git push -q";
    by_a_worktree: sh "git worktree add -q wt main && git -C wt push -q origin HEAD", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git -C . push -q origin HEAD";
    by_an_option: sh "git -c push.default=matching push -q", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git -c push.default=current push -q";
    by_a_configured_refspec: sh "git config remote.origin.push refs/heads/topic:refs/heads/main && git push -q origin topic", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git config --unset remote.origin.push; git push -q origin topic";
    by_an_upstream: sh "git config branch.topic.merge refs/heads/main && git config push.default upstream && git push -q", action "git_operation", about "push", rule "git.protected_branch.block_direct_push", twin "git config branch.topic.merge refs/heads/topic && git push -q";
    by_an_alias: sh "git config alias.p 'push -q origin' && git p main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git p topic";
    by_an_alias_on_the_command_line: sh "git -c alias.p=push p -q origin main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git -c alias.p=push p -q origin topic";
    by_an_alias_in_the_environment: sh "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=alias.p GIT_CONFIG_VALUE_0=push git p -q origin main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=alias.p GIT_CONFIG_VALUE_0=push git p -q origin topic";
    by_an_included_file: sh "printf '[alias]\\np = push\\n' >more && git config include.path ../more && git p -q origin main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git p -q origin topic";
    by_a_descriptors_file: sh "printf '[alias]\\np = push\\n' >more && GIT_CONFIG_GLOBAL=/dev/fd/3 git p -q origin main 3<more", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "GIT_CONFIG_GLOBAL=$PWD/more git p -q origin topic";
    by_a_symbolic_branch: sh "git symbolic-ref refs/heads/alias refs/heads/main && git push -q origin alias", action "git_operation", about "alias", rule "git.protected_branch.block_direct_push", twin "git symbolic-ref refs/heads/alias refs/heads/topic && git push -q origin alias";
    by_a_shells_alias: sh "git config alias.p '!git push -q origin main' && git p", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git config alias.p '!git push -q origin topic' && git p";
    by_argv0: sh "bash -c 'exec -a git-push git -q origin main'", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "bash -c 'exec -a git-push git -q origin topic'";
    by_plumbing: sh "git send-pack ./remote.git main", action "git_operation", about "main", rule "git.protected_branch.block_direct_push", twin "git send-pack ./remote.git topic";
};

/// What people do with git, through a pack that protects branches.
const WORK: &[Row] = allowed! {
    feature_branches: sh "git checkout -q -b feature && git commit -q --allow-empty -m x && git push -q -u origin feature && git ls-remote -q --heads origin feature | wc -l";
    force_with_lease: sh "git commit -q --amend --allow-empty -m y && git push -q --force-with-lease origin topic && echo pushed";
    stash_push: sh "echo x >f && git add f && git stash push -q -m main && git stash list | wc -l";
    everyday: sh "git status --short; git log --format=%s; git fetch -q origin; git branch -a | wc -l";
};

/// What agents and editors ask of git's configuration, through the pack that holds writes to it: git says the same, and nothing is held.
const READS: &[Row] = allowed! {
    a_list_behind_options: sh "git -c core.hooksPath=/dev/null -c core.fsmonitor= config --local --includes -z --list | wc -l; git -c a.b=c config --local --name-only --list";
    a_bundle: sh "git config -zl | wc -c; git config -f .git/config -l | wc -l";
    one_key: sh "git config --local core.bare; git config --file=.git/config --type=bool core.bare; git config --local --get-regexp '^remote' origin";
    harmless_writes: sh "git config --local user.name b; git config --local --unset user.name; git config --local user.name || echo none";
};

const NAMES: &[Row] = refused! {
    a_name_that_the_caller_gives: sh "bash -c 'exec -a tool ./other x'", action "execute_command", about "other", rule "commands.default.block", twin "tool x";
    a_name_in_an_own_folder: sh "cp other tool && PATH=$PWD && tool x", action "execute_command", about "tool", rule "commands.default.block", twin "cp other z && tool x";
    a_name_behind_a_wrapper: sh "env A=1 tool x", action "execute_command", about "env", rule "commands.default.block", twin "A=1 tool x";
    a_name_by_symlink: sh "ln -s other tool && ./tool x", action "execute_command", about "tool", rule "commands.default.block", twin "ln -s other z && tool x";
};

const PACK: &str = "\
metadata: {id: commands}
filesystem: {default_read: allow, default_write: allow}
commands:
  default: allow
  block: ['terraform apply*', 'terraform destroy*', 'kubectl delete*', 'aws iam create-access-key*', 'npm publish*', 'cargo publish*',
          'docker push*', 'deployer destroy*']
git: {protected_branches: [main], push_protected: block}
command_grammar:
- {names: [deployer], words: 1, valued: [--stage]}
";

const HELD: &str = "\
metadata: {id: held}
filesystem: {default_read: allow, default_write: block, allow_write: ['${workspace}/**', '/dev/**']}
commands: {default: block, allow: ['sh *', 'bash *', 'cp *', 'ln *', 'tool *']}
";

fn pack<'w>(session: Session<'w>) -> Session<'w> {
    session.pack(PACK)
}

fn tools(user: User) -> Result<Stage, Unmet> {
    let world = Stage::new(user)?;
    for tool in [
        "terraform",
        "kubectl",
        "aws",
        "npm",
        "cargo",
        "docker",
        "ssh",
        "deployer",
    ] {
        // Of different content: two equal files would be copies of each other, and count as both.
        world.script(
            format!("bin/{tool}"),
            format!("#!/bin/sh\n# {tool}\necho \"$1\"; : >ran\n"),
        );
    }
    Ok(world)
}

fn repositories(user: User) -> Result<Stage, Unmet> {
    let world = Stage::new(user)?;
    world.write(
        "home/.gitconfig",
        "[user]\nname = a\nemail = a@example.org\n[init]\ntemplateDir =\ndefaultBranch = main\n",
    );
    let made = world.native([
        "sh",
        "-ec",
        "git init -q; git init -q --bare remote.git; git -C remote.git config receive.denyDeleteCurrent ignore; git remote add origin \"$PWD/remote.git\"
         git commit -q --allow-empty -m one; git branch topic; git branch other; git tag v1
         git push -q -u origin main topic other
         git commit -q --allow-empty -m two; git checkout -q topic; git commit -q --allow-empty -m three",
    ]);
    assert!(made.status.success(), "{made:?}");
    Ok(world)
}

fn names(user: User) -> Result<Stage, Unmet> {
    let world = Stage::new(user)?;
    world.script("bin/tool", "#!/bin/sh\necho tool\n");
    world.script("ws/other", "#!/bin/sh\necho other\n");
    Ok(world)
}

fn main() -> std::process::ExitCode {
    Suite::new("commands")
        .both(row_cases(TOOLS, tools, pack))
        .both(row_cases(PUSHES, repositories, pack))
        .both(row_cases(WORK, repositories, pack))
        .both(row_cases(READS, repositories, |session| {
            session.policy("cavra-workstation").approvals("deny")
        }))
        .both(row_cases(NAMES, names, |session| session.pack(HELD)))
        .main()
}
