//! Rows: command lines with the spellings that they must have, and with the branches that they would push to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::config::Config;
use super::repo::{Place, Repo};
use super::{Meaning, PushTarget, Table, meaning_in};
use crate::policy::Command;

/// A repository on branch `topic`, with this configuration and the tag `v1`.
struct On(&'static str, Config);

impl Repo for On {
    fn current_branch(&self, place: &Place<'_>) -> Option<Vec<u8>> {
        match place.cwd.as_slice() {
            b"/ws/on-main" => Some(b"main".to_vec()),
            _ => Some(self.0.as_bytes().to_vec()).filter(|name| !name.is_empty()),
        }
    }
    fn config(&self, _place: &Place<'_>) -> Config {
        self.1.clone()
    }
    fn is_tag(&self, _place: &Place<'_>, name: &[u8]) -> bool {
        name == b"v1"
    }
    fn behind(&self, _place: &Place<'_>, source: &[u8]) -> Vec<Option<Vec<u8>>> {
        (source == b"link")
            .then(|| Some(b"refs/heads/main".to_vec()))
            .into_iter()
            .collect()
    }
}

fn read(command: &Command<'_>, repo: &On) -> Meaning {
    meaning_in(repo, Table::shipped(), command)
}

fn spellings(command: &Command<'_>) -> Vec<Vec<u8>> {
    let meaning = read(command, &On("topic", Config::default()));
    assert!(!meaning.unreadable);
    meaning.lines.into_iter().map(|line| line.text).collect()
}

/// Splits a row as a shell would.
fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap()
}

/// A command from a row: `file|argv…`, or `argv…` whose first word names the file too.
fn with<T>(row: &str, env: &[&str], run: impl FnOnce(&Command<'_>) -> T) -> T {
    let (file, line) = row.split_once('|').unwrap_or((row.split(' ').next().unwrap(), row));
    let argv = words(line);
    run(&Command {
        file: file.as_bytes(),
        chain: vec![file.as_bytes()],
        argv: argv.iter().map(String::as_bytes).collect(),
        env: env.iter().map(|entry| entry.as_bytes()).collect(),
        cwd: b"/ws",
        copies_of: Vec::new(),
    })
}

const SPELLED: &[(&str, &str)] = &[
    // Names: attack class 38.
    ("terraform apply", "terraform apply"),
    ("/usr/bin/terraform apply", "terraform apply"),
    ("/opt/terraform|innocent apply", "terraform apply"),
    ("/opt/innocent|terraform apply", "terraform apply"),
    ("/opt/terraform|'' apply", "terraform apply"),
    ("./terraform apply -auto-approve", "terraform apply -auto-approve"),
    ("../bin/terraform apply", "terraform apply"),
    ("terraform-1.5.7 apply", "terraform apply"),
    ("/opt/terraform_v1.9/terraform_v1.9 apply", "terraform apply"),
    ("terraform.exe apply", "terraform apply"),
    ("terraform '' apply", "terraform apply"),
    ("terraform apply ''", "terraform apply"),
    ("terraform  apply", "terraform apply"),
    ("/usr/lib/node_modules/npm/bin/npm-cli.js|npm publish", "npm publish"),
    ("/usr/lib/node_modules/npm/bin/npm-cli.js publish", "npm publish"),
    // git's other ways to its own commands.
    ("git-config core.x y", "git config core.x y"),
    (
        "/usr/lib/git-core/git-config --add core.x y",
        "git config --add core.x y",
    ),
    ("/usr/bin/git|git-config core.x y", "git config core.x y"),
    ("git -c alias.c=config c core.x y", "git config core.x y"),
    (
        "git -c alias.a=b -c 'alias.b=config --local' a core.x y",
        "git config --local core.x y",
    ),
    (
        "git -c help.autoCorrect=immediate confg core.x y",
        "git config core.x y",
    ),
    // Wrappers.
    ("env terraform apply", "terraform apply"),
    ("/usr/bin/env A=1 B=2 terraform apply", "terraform apply"),
    ("env -i terraform apply", "terraform apply"),
    ("env - terraform apply", "terraform apply"),
    ("env -u HOME terraform apply", "terraform apply"),
    ("env -iu HOME terraform apply", "terraform apply"),
    ("env -uHOME terraform apply", "terraform apply"),
    ("env --unset=HOME terraform apply", "terraform apply"),
    ("env --unset HOME terraform apply", "terraform apply"),
    ("env --uns HOME terraform apply", "terraform apply"),
    ("env -C /tmp terraform apply", "terraform apply"),
    ("sudo -C 5 A=1 -- terraform apply", "terraform apply"),
    ("env -- terraform apply", "terraform apply"),
    ("env -S 'A=1' terraform apply", "terraform apply"),
    ("nice terraform apply", "terraform apply"),
    ("nice -n 5 terraform apply", "terraform apply"),
    ("nice -n5 /x/terraform apply", "terraform apply"),
    ("nice -5 terraform apply", "terraform apply"),
    ("nice --adjustment=5 terraform apply", "terraform apply"),
    ("ionice -c 2 -n 0 terraform apply", "terraform apply"),
    ("ionice -c2 -n0 terraform apply", "terraform apply"),
    ("timeout 5 terraform apply", "terraform apply"),
    ("timeout -s KILL -k 5 10 terraform apply", "terraform apply"),
    (
        "timeout --signal=KILL --foreground 10s terraform apply",
        "terraform apply",
    ),
    ("timeout --sig KILL 10 terraform apply", "terraform apply"),
    ("nohup terraform apply", "terraform apply"),
    ("setsid -w terraform apply", "terraform apply"),
    ("stdbuf -oL terraform apply", "terraform apply"),
    ("stdbuf -o L -e 0 terraform apply", "terraform apply"),
    ("time -p terraform apply", "terraform apply"),
    ("time -f %e terraform apply", "terraform apply"),
    ("chrt -r 5 terraform apply", "terraform apply"),
    ("taskset 0x3 terraform apply", "terraform apply"),
    ("taskset -c 0,1 terraform apply", "terraform apply"),
    ("sudo terraform apply", "terraform apply"),
    ("sudo -u root -E A=1 terraform apply", "terraform apply"),
    ("sudo -nu root -- terraform apply", "terraform apply"),
    ("doas -u root terraform apply", "terraform apply"),
    ("xvfb-run -a -s '-screen 0' terraform apply", "terraform apply"),
    ("flock /tmp/l terraform apply", "terraform apply"),
    ("flock -n -w 5 /tmp/l terraform apply", "terraform apply"),
    ("xargs -n 1 kubectl delete pod", "kubectl delete pod"),
    ("xargs -I {} kubectl delete {}", "kubectl delete {}"),
    ("watch -n 1 kubectl delete pod", "kubectl delete pod"),
    ("strace -f -o /tmp/t terraform apply", "terraform apply"),
    ("setarch x86_64 -R terraform apply", "terraform apply"),
    ("prlimit --nofile=10 terraform apply", "terraform apply"),
    ("unbuffer terraform apply", "terraform apply"),
    ("command terraform apply", "terraform apply"),
    ("tini -- terraform apply", "terraform apply"),
    ("gosu nobody terraform apply", "terraform apply"),
    (
        "timeout 5 env A=1 nice -n 2 kubectl --context p delete pod",
        "kubectl delete pod",
    ),
    ("env env env env env env env env terraform apply", "terraform apply"),
    ("uv run terraform apply", "terraform apply"),
    ("uv run --with x terraform apply", "terraform apply"),
    ("poetry run twine upload dist/x", "twine upload dist/x"),
    ("bundle exec terraform apply", "terraform apply"),
    ("mise exec -- terraform apply", "terraform apply"),
    ("direnv exec /ws terraform apply", "terraform apply"),
    (
        "aws-vault exec prod -- aws iam create-access-key",
        "aws iam create-access-key",
    ),
    ("op run --env-file=x -- terraform apply", "terraform apply"),
    ("rustup run nightly cargo publish", "cargo publish"),
    ("npx twine upload x", "twine upload x"),
    ("unshare -r terraform apply", "terraform apply"),
    ("busybox nice -n 3 terraform apply", "terraform apply"),
    ("/bin/busybox|env terraform apply", "terraform apply"),
    ("/bin/busybox|x env terraform apply", "terraform apply"),
    // Loaders by hand: class 37.
    ("/lib64/ld-linux-x86-64.so.2 /x/terraform apply", "terraform apply"),
    (
        "/lib64/ld-linux-x86-64.so.2 --argv0 ls /x/terraform apply",
        "terraform apply",
    ),
    (
        "/lib64/ld-linux-x86-64.so.2 --library-path /l --preload p.so /x/terraform apply",
        "terraform apply",
    ),
    ("/lib64/ld-linux-x86-64.so.2|ls /x/terraform apply", "terraform apply"),
    (
        "/lib/ld-musl-x86_64.so.1 --library-path /l -- /x/terraform apply",
        "terraform apply",
    ),
    (
        "/lib64/ld-linux-x86-64.so.2 /usr/bin/env terraform apply",
        "terraform apply",
    ),
    // Interpreters with a script or module.
    (
        "python3 /usr/bin/aws iam create-access-key",
        "aws iam create-access-key",
    ),
    (
        "/usr/bin/python3.11|python3 -u -W ignore /usr/bin/aws iam create-access-key",
        "aws iam create-access-key",
    ),
    ("python3 -m twine upload dist/x", "twine upload dist/x"),
    ("python3 -mtwine upload dist/x", "twine upload dist/x"),
    ("python3 -Im twine upload dist/x", "twine upload dist/x"),
    (
        "python3 -X dev -m awscli iam create-access-key",
        "aws iam create-access-key",
    ),
    (
        "python3.12 -m azure.cli role assignment create",
        "az role assignment create",
    ),
    ("node /usr/lib/node_modules/npm/bin/npm-cli.js publish", "npm publish"),
    ("node -r x.js --no-warnings npm-cli.js publish", "npm publish"),
    ("bash -eu ./terraform apply", "terraform apply"),
    ("perl -w ./terraform apply", "terraform apply"),
    // Options before and between the words of a verb: class 39.
    ("terraform -chdir=d apply", "terraform apply"),
    (
        "terraform -chdir=d -no-color apply -auto-approve",
        "terraform apply -auto-approve",
    ),
    ("terraform --chdir=d apply", "terraform apply"),
    ("terraform -chdir d apply", "terraform apply"),
    ("tofu -chdir=d destroy", "tofu destroy"),
    ("terraform -chdir=d state rm x", "terraform state rm x"),
    ("kubectl --context p delete pod x", "kubectl delete pod x"),
    ("kubectl --context=p -n ns delete pod", "kubectl delete pod"),
    ("kubectl -nns delete pod", "kubectl delete pod"),
    ("kubectl -v 9 --as root delete ns x", "kubectl delete ns x"),
    (
        "kubectl -s https://h --token t --insecure-skip-tls-verify delete ns x",
        "kubectl delete ns x",
    ),
    (
        "kubectl --kubeconfig k --user u --cluster c delete ns x",
        "kubectl delete ns x",
    ),
    ("kubectl --not-listed v delete ns x", "kubectl delete ns x"),
    ("kubectl --not-listed delete ns x", "kubectl delete ns x"),
    ("kubectl1.28 --context p delete pod", "kubectl delete pod"),
    (
        "kubectl rollout --context p undo deploy/x",
        "kubectl rollout undo deploy/x",
    ),
    ("helm --kube-context p uninstall r", "helm uninstall r"),
    ("helm -n ns --debug uninstall r", "helm uninstall r"),
    ("aws --profile p iam create-access-key", "aws iam create-access-key"),
    (
        "aws --region r --output json iam create-access-key --user-name x",
        "aws iam create-access-key --user-name x",
    ),
    ("aws iam --profile p create-access-key", "aws iam create-access-key"),
    (
        "aws --no-cli-pager iam --debug create-access-key",
        "aws iam create-access-key",
    ),
    (
        "aws --endpoint-url=http://x iam create-access-key",
        "aws iam create-access-key",
    ),
    (
        "az --subscription s role assignment create --role x",
        "az role assignment create --role x",
    ),
    (
        "az role --subscription s assignment --debug create",
        "az role assignment create",
    ),
    (
        "gcloud --project p projects add-iam-policy-binding x",
        "gcloud projects add-iam-policy-binding x",
    ),
    (
        "gcloud projects --quiet add-iam-policy-binding x",
        "gcloud projects add-iam-policy-binding x",
    ),
    ("docker --context c system prune -a", "docker system prune -a"),
    ("docker -H tcp://x -D push i", "docker push i"),
    ("docker system --debug prune", "docker system prune"),
    ("podman --remote --url x push i", "podman push i"),
    ("gh -R o/r release create v1", "gh release create v1"),
    ("gh release --repo o/r create v1", "gh release create v1"),
    ("npm --prefix d publish", "npm publish"),
    ("npm -w a publish", "npm publish"),
    ("pnpm -C d --filter a publish", "pnpm publish"),
    ("yarn --cwd d publish", "yarn publish"),
    ("yarn npm publish", "yarn npm publish"),
    ("cargo +nightly publish", "cargo publish"),
    (
        "cargo +nightly --config x=y -Z unstable publish --token t",
        "cargo publish --token t",
    ),
    ("twine --no-color upload x", "twine upload x"),
    ("git -C d -c k=v --no-pager clean -fdx", "git clean -fdx"),
    ("git --git-dir=x --work-tree y clean -fdx", "git clean -fdx"),
    ("systemctl --user enable x", "systemctl enable x"),
    // Abbreviated verbs, and verbs that mean another.
    ("npm publ", "npm publish"),
    ("npm --tag x publi --access public", "npm publish --access public"),
    ("yarn npm publish", "yarn publish"),
    ("pnpm -r publish", "pnpm publish"),
    ("gem pus x.gem", "gem push x.gem"),
    ("helm del r", "helm uninstall r"),
    ("helm --kube-context p un r", "helm uninstall r"),
    ("docker image push i", "docker push i"),
    ("docker --context c image --debug push i", "docker push i"),
    ("gh release new v1", "gh release create v1"),
    ("terraform apply -destroy", "terraform destroy -destroy"),
    (
        "terraform -chdir=d apply -auto-approve --destroy=true",
        "terraform destroy -auto-approve --destroy=true",
    ),
    ("terragrunt run-all apply", "terragrunt apply"),
    ("pip --proxy p install x", "pip install x"),
    ("glab -R o/r release create v1", "glab release create v1"),
    // Unknown options of a subcommand in front of it: cobra gives each the next word, even one with a dash.
    (
        "kubectl --grace-period 5 --timeout 5s --force delete pod x",
        "kubectl delete pod x",
    ),
    ("kubectl --field-manager --context delete pod x", "kubectl delete pod x"),
    // By path.
    ("/opt/deploy/run|run prod", "/opt/deploy/run prod"),
    // Elsewhere, where no exec is seen.
    ("ssh host terraform apply", "terraform apply"),
    ("ssh -p 22 -o x=y u@host terraform -chdir=d apply", "terraform apply"),
    (
        "ssh host 'cd x && kubectl --context p delete pod y'",
        "kubectl delete pod y",
    ),
    (
        "ssh host \"sh -c 'cd x; terraform apply'\"",
        "sh -c cd x; terraform apply",
    ),
    ("ssh -t host -- sudo -u root env A=1 terraform apply", "terraform apply"),
    ("ssh host echo '$(terraform apply)'", "terraform apply"),
    (
        "kubectl --context p exec -it pod -c main -- terraform apply",
        "terraform apply",
    ),
    ("kubectl exec pod -- sh -c 'cd x && terraform apply'", "terraform apply"),
    ("docker exec -e A=1 box env terraform apply", "terraform apply"),
    ("docker exec box bash -lc 'terraform -chdir=d apply'", "terraform apply"),
    (
        "docker run --rm -v a:b -e A=1 hashicorp/terraform:1.9 sh -c 'terraform apply'",
        "terraform apply",
    ),
    ("podman container exec box terraform apply", "terraform apply"),
    ("docker compose exec app terraform apply", "terraform apply"),
    // Pushes in their plain form.
    ("git push -f origin HEAD:refs/heads/main", "git push origin main"),
    ("git push origin tag v9", "git push origin refs/tags/v9"),
    ("git -C d push --tags origin x", "git push origin refs/tags/*"),
];

/// What must not come out: a verb that is only a value, or words of a shell's own line.
const NOT_SPELLED: &[(&str, &str)] = &[
    ("kubectl --context delete get pod", "kubectl delete get pod"),
    ("kubectl -n delete get pod", "kubectl delete get pod"),
    ("kubectl get pod delete", "kubectl delete"),
    ("sh -c 'terraform apply'", "terraform apply"),
    ("bash -c terraform apply", "terraform apply"),
    ("python3 -c terraform apply", "terraform apply"),
    ("node -e terraform apply", "terraform apply"),
    ("echo terraform apply", "terraform apply"),
    ("grep -r terraform apply", "terraform apply"),
    ("aws --profile iam s3 ls", "aws iam s3 ls"),
    ("timeout 5 echo terraform apply", "terraform apply"),
    ("git log --grep push", "git push"),
    ("git commit -m 'push origin main'", "git push origin main"),
    ("git push origin topic", "git push origin main"),
    ("npm un x", "npm unpublish x"),
    ("npm install publ", "npm publish"),
    ("docker run -e A=terraform img ls apply", "terraform apply"),
    ("ssh host \"echo 'a; terraform apply x'\"", "terraform apply x"),
    ("kubectl exec pod -- echo terraform apply", "terraform apply"),
    ("uv pip install twine upload", "twine upload"),
    ("python3 -m pip install twine upload", "twine upload"),
];

fn line_is_spelled(row: &str, wanted: &str) -> bool {
    with(row, &[], |command| {
        spellings(command).iter().any(|line| line == wanted.as_bytes())
    })
}

#[test]
fn commands_have_the_spellings_that_patterns_name() {
    let missing: Vec<_> = SPELLED
        .iter()
        .filter(|(row, wanted)| !line_is_spelled(row, wanted))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn commands_have_no_spelling_that_they_do_not_mean() {
    let wrong: Vec<_> = NOT_SPELLED
        .iter()
        .filter(|(row, other)| line_is_spelled(row, other))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_first_spelling_is_the_one_given() {
    with("/bin/x|./y  a", &[], |command| {
        assert_eq!(spellings(command).first().unwrap(), b"./y a")
    });
}

#[test]
fn copies_lend_their_names() {
    let command = Command {
        file: b"/ws/x",
        argv: vec![b"x", b"apply"],
        copies_of: vec!["terraform"],
        ..Command::default()
    };
    let all = spellings(&command);
    for wanted in [&b"terraform apply"[..], b"/ws/x apply", b"x apply"] {
        assert!(all.iter().any(|line| line == wanted));
    }
}

/// A script is asked about twice: as itself, and as what its first line makes of it.
#[test]
fn a_script_is_not_read_as_its_interpreter_with_the_same_words() {
    let flood = [&b"--request-timeout"[..], b"5"].repeat(600);
    let words = [&flood[..], &[b"get", b"pod"]].concat();
    let chain = vec![&b"/x/kubectl"[..], b"/usr/bin/dash"];
    for (file, first) in [
        (&b"/x/kubectl"[..], &[&b"kubectl"[..]][..]),
        (b"/usr/bin/dash", &[b"/bin/sh", b"/x/kubectl"]),
    ] {
        let argv = [first, &words[..]].concat();
        let command = Command {
            file,
            chain: chain.clone(),
            argv,
            cwd: b"/",
            ..Command::default()
        };
        assert!(spellings(&command).contains(&b"kubectl get pod".to_vec()));
    }
}

#[test]
fn nothing_is_cut_from_two_megabytes_of_arguments() {
    let long = vec![b'a'; 1 << 20];
    let command = Command {
        file: b"/usr/bin/env",
        argv: vec![b"env", b"kubectl", b"--token", &long, b"delete", &long, b"--force"],
        ..Command::default()
    };
    let whole = |line: &Vec<u8>| line.starts_with(b"kubectl delete ") && line.ends_with(b"a --force");
    assert!(spellings(&command).iter().any(whole));
}

#[test]
fn floods_of_options_and_wrappers_cost_little() {
    for word in [&b"env"[..], b"-z", b"--context", b"busybox", b"git", b"push", b"a=b"] {
        for first in [&b"env"[..], b"kubectl", b"git", b"nice", b"busybox"] {
            let mut argv = vec![first];
            argv.extend(std::iter::repeat_n(word, 100_000));
            let command = Command {
                file: b"/bin/x",
                argv,
                cwd: b"/nowhere",
                ..Command::default()
            };
            let lines = read(&command, &On("topic", Config::default())).lines.len();
            assert!(lines < 1000, "{lines} lines of {first:?} {word:?}");
        }
    }
}

/// Rows of pushes: branches with commas between them, `?` for unresolved, empty for no push.
const PUSHED: &[(&str, &str)] = &[
    ("git push origin main", "main"),
    ("git push origin topic", "topic"),
    ("/usr/bin/git push origin main", "main"),
    ("/opt/git|x push origin main", "main"),
    ("git -C d push origin main", "main"),
    ("git -c k=v push origin main", "main"),
    ("git -C d -c k=v --no-pager --git-dir=x push origin main", "main"),
    ("git --git-dir x --work-tree y --namespace z push origin main", "main"),
    ("git -p push origin main", "main"),
    ("git --exec-path=/x push origin main", "main"),
    ("env git push origin main", "main"),
    ("timeout 5 nice git -C d push origin main", "main"),
    ("/lib64/ld-linux-x86-64.so.2 /usr/bin/git push origin main", "main"),
    ("/usr/lib/git-core/git-push origin main", "main"),
    ("hub push origin main", "main"),
    ("git push -f origin main", "main"),
    ("git push --force origin main", "main"),
    ("git push origin main --force", "main"),
    ("git push -fu origin main", "main"),
    ("git push --force-with-lease origin main", "main"),
    ("git push --force-with-lease=main:abc origin topic", "topic"),
    ("git push -o ci.skip origin main", "main"),
    ("git push -oci.skip origin main", "main"),
    ("git push -fo ci.skip origin main", "main"),
    ("git push --push-option ci.skip origin main", "main"),
    ("git push --push-option=ci.skip origin main", "main"),
    ("git push --receive-pack x origin main", "main"),
    ("git push --recurse-submodules check origin main", "main"),
    ("git push --no-verify origin main", "main"),
    ("git push -- origin main", "main"),
    ("git push origin -- main", "main"),
    ("git push https://h/r.git main", "main"),
    ("git push git@h:o/r.git topic:main", "main"),
    ("git push origin +main", "main"),
    ("git push origin topic:main", "main"),
    ("git push origin +topic:main", "main"),
    ("git push origin HEAD:main", "main"),
    ("git push origin HEAD:refs/heads/main", "main"),
    ("git push origin HEAD:heads/main", "main"),
    ("git push origin HEAD:refs//heads/main", "main"),
    ("git push origin abc123:refs/heads/release/1.0", "release/1.0"),
    ("git push origin main:topic", "topic"),
    ("git push origin refs/heads/main", "main"),
    ("git push origin refs/heads/main:refs/heads/main", "main"),
    ("git push origin :main", "main"),
    ("git push origin +:main", "main"),
    ("git push origin topic: ", "topic"),
    ("git push origin link", "link,main"),
    ("git push --delete origin main", "main"),
    ("git push -d origin main", "main"),
    ("git push origin --delete main topic", "main,topic"),
    ("git push --del origin refs/heads/main", "main"),
    ("git push origin a b:main c", "a,main,c"),
    ("git push origin ^main topic", "topic"),
    ("git push --all", "?"),
    ("git push --all origin", "?"),
    ("git push --al origin", "?"),
    ("git push --branches origin", "?"),
    ("git push --mirror origin", "?"),
    ("git push --mir origin", "?"),
    ("git push origin :", "?"),
    ("git push origin +:", "?"),
    ("git push origin 'refs/heads/*:refs/heads/*'", "?"),
    ("git push origin 'refs/*'", "?"),
    ("git push origin topic:HEAD", "?"),
    ("git push --tags", ""),
    ("git push --tags origin", ""),
    ("git push --tags origin main", "main"),
    ("git push --follow-tags", "topic"),
    ("git push --follow-tags origin main", "main"),
    ("git push origin tag v1", ""),
    ("git push origin v1", "v1"),
    ("git push origin refs/tags/v1", ""),
    ("git push origin HEAD:refs/tags/v2", ""),
    ("git push origin HEAD:refs/for/main", ""),
    ("git push", "topic"),
    ("git push origin", "topic"),
    ("git push -u origin HEAD", "topic"),
    ("git push origin @", "topic"),
    ("git push -q", "topic"),
    ("git push --repo=origin", "topic"),
    ("git push --dry-run origin main", "main"),
    ("git -C on-main push", "main"),
    ("git -C on-main push origin HEAD", "main"),
    ("git -C /ws -C on-main push", "main"),
    ("git -C /else -C /ws/on-main push origin", "main"),
    ("git -c push.default=matching push", "?"),
    ("git -c push.default=nothing push", ""),
    ("git -c push.default=current push", "topic"),
    ("git -c PUSH.Default=matching push", "?"),
    (
        "git -c push.default=upstream -c branch.topic.merge=refs/heads/main push",
        "topic,main",
    ),
    (
        "git -c push.default=upstream -c branch.topic.merge=refs/heads/main push origin topic",
        "topic,main",
    ),
    ("git -c remote.origin.push=HEAD:main push", "main"),
    (
        "git -c remote.origin.push=refs/heads/topic:refs/heads/main push origin topic",
        "topic,main",
    ),
    (
        "git -c remote.origin.push=+refs/heads/*:refs/heads/* push origin topic",
        "topic",
    ),
    (
        "git -c remote.origin.push=refs/heads/*:refs/heads/x/* push origin topic",
        "topic,x/topic",
    ),
    ("git -c remote.origin.mirror=true push", "?"),
    ("git -c remote.pushdefault=up -c remote.up.push=HEAD:main push", "main"),
    // Aliases.
    ("git -c alias.p=push p origin main", "main"),
    ("git -c Alias.P=push p origin main", "main"),
    ("git -c alias.p='push origin' p main", "main"),
    ("git -c alias.p='push origin main' p", "main"),
    ("git -c alias.p='-c x=y push' p origin main", "main"),
    ("git -c alias.a=b -c alias.b=push a origin main", "main"),
    ("git -c alias.a=a a origin main", "?"),
    ("git -c alias.p='!git push' p origin main", ""),
    ("git -c alias.status=push status origin main", ""),
    ("git --config-env=alias.p=P p origin main", "main"),
    ("git --config-env alias.p=P p origin main", "main"),
    ("git --config-env=alias.p=MISSING p origin main", "?"),
    ("git mine origin main", "main"),
    ("git -c help.autocorrect=immediate psuh origin main", "?"),
    ("git psuh origin main", ""),
    // send-pack.
    ("git send-pack origin main", "main"),
    ("git send-pack --force h:/r topic:refs/heads/main", "main"),
    ("/usr/lib/git-core/git-send-pack h:/r main", "main"),
    ("git send-pack --all h:/r", "?"),
    ("git send-pack --stdin h:/r", "?"),
    ("git send-pack h:/r", "?"),
    (
        "git send-pack --stateless-rpc --helper-status --thin --progress https://h/r --stdin",
        "",
    ),
    // git goes by argv[0].
    ("/usr/bin/git|git-push origin main", "main"),
    ("/usr/bin/git|/x/git-send-pack h:/r main", "main"),
    ("ssh host git -C d push origin main", "main"),
    ("ssh host 'cd d && git push origin topic:main'", "main"),
    // No pushes.
    ("git status", ""),
    ("git", ""),
    ("git -C", ""),
    ("git stash push -m main", ""),
    ("git commit -m push", ""),
    ("git subtree push --prefix=x origin main", ""),
    ("git remote set-url --push origin x", ""),
    ("git log push", ""),
    ("git external push", ""),
    ("sh -c 'git push origin main'", ""),
    ("echo git push origin main", ""),
    ("gitk push origin main", ""),
    ("make push", ""),
];

fn pushed(row: &str, env: &[&str], repo: &On) -> String {
    with(row, env, |command| {
        let targets = read(command, repo).pushes.into_iter().map(|target| match target {
            PushTarget::Branch(name) => String::from_utf8(name).unwrap(),
            PushTarget::Unresolved => "?".to_owned(),
        });
        targets.collect::<Vec<_>>().join(",")
    })
}

#[test]
fn pushes_are_known_by_the_branches_they_change() {
    let mut config = Config::default();
    config.set(b"alias.mine", b"push");
    let repo = On("topic", config);
    let wrong: Vec<_> = PUSHED
        .iter()
        .map(|(row, wanted)| (row, wanted, pushed(row, &["P=push"], &repo)))
        .filter(|(_, wanted, found)| *wanted != found)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_unknown_branch_counts_as_protected() {
    let mut hidden = Config::default();
    hidden.incomplete = true;
    for (row, branch, config, wanted) in [
        ("git push", "", Config::default(), "?"),
        ("git push origin HEAD", "", Config::default(), "?"),
        ("git push origin topic", "", Config::default(), "topic"),
        ("git push", "topic", hidden.clone(), "?"),
        ("git push origin topic", "topic", hidden.clone(), "?,topic"),
        ("git push origin topic:topic", "topic", hidden.clone(), "topic"),
        ("git unknown origin topic", "topic", hidden.clone(), "?"),
        ("git status", "topic", hidden.clone(), ""),
    ] {
        assert_eq!(pushed(row, &[], &On(branch, config)), wanted, "{row}");
    }
}

/// git's configuration and repository from the environment: attack class 42.
#[test]
fn the_environment_hides_no_push() {
    for (row, env, wanted) in [
        (
            "git p origin main",
            &[
                "GIT_CONFIG_COUNT=1",
                "GIT_CONFIG_KEY_0=alias.p",
                "GIT_CONFIG_VALUE_0=push",
            ][..],
            "main",
        ),
        (
            "git p origin main",
            &["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=alias.p"],
            "?",
        ),
        ("git p origin main", &["GIT_CONFIG_COUNT=x"], "?"),
        ("git p origin main", &["GIT_CONFIG_PARAMETERS='alias.p=push'"], "main"),
        ("git p origin main", &["GIT_CONFIG_PARAMETERS='alias.p'='push'"], "main"),
        ("git p origin main", &["GIT_CONFIG_PARAMETERS='alias.p"], "?"),
        ("git push", &["GIT_CONFIG_PARAMETERS='push.default=matching'"], "?"),
        ("git push origin topic", &["GIT_PAGER=x"], "topic"),
    ] {
        assert_eq!(
            pushed(row, env, &On("topic", Config::default())),
            wanted,
            "{row} {env:?}"
        );
    }
}

/// Verbs of the user's own and words from variables: attack class 39.
#[test]
fn what_a_tool_expands_itself_is_read() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &str, text: &str| {
        let path = home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    at(
        ".config/gh/config.yml",
        "aliases:\n    ship: release create\n    co: pr checkout\n",
    );
    at(".aws/cli/alias", "[toplevel]\nkey = iam create-access-key\n");
    at(
        ".cargo/config.toml",
        "[alias]\nship = [\"publish\", \"--no-verify\"]\nboat = \"ship\"\n",
    );
    at("ws/sub/more.toml", "[alias]\nm = [ # why\n 'publish' ]\n");
    at("ws/other/.cargo/config.toml", "alias.o = 'publish'\n");
    at(".kube/kuberc", "aliases:\n- name: zap\n  command: delete\n");
    at("ws/sub/rc", "aliases:\n- command: delete\n  name: zip\n");
    at("ws/.cargo/config.toml", "[alias]\nlocal = \"publish\"\n");
    let home_is = format!("HOME={}", home.path().display());
    let cwd = home.path().join("ws/sub").display().to_string();
    for (env, row, wanted) in [
        ("", "gh ship v1", "gh release create v1"),
        ("", "gh -R o/r ship v1", "gh release create v1"),
        ("", "aws key --user-name x", "aws iam create-access-key --user-name x"),
        (
            "",
            "cargo +nightly ship --token t",
            "cargo publish --no-verify --token t",
        ),
        ("", "cargo boat", "cargo publish --no-verify"),
        ("", "cargo local", "cargo publish"),
        ("CARGO_ALIAS_P=publish -q", "cargo p", "cargo publish -q"),
        (
            "TF_CLI_ARGS=apply -auto-approve",
            "terraform",
            "terraform apply -auto-approve",
        ),
        ("TF_CLI_ARGS=-destroy", "terraform apply", "terraform destroy -destroy"),
        (
            "TF_CLI_ARGS_apply=-destroy",
            "terraform apply",
            "terraform destroy -destroy",
        ),
    ] {
        with(row, &[&home_is, env], |command| {
            let command = Command {
                cwd: cwd.as_bytes(),
                ..command.clone()
            };
            let lines = spellings(&command);
            assert!(lines.iter().any(|line| line == wanted.as_bytes()), "{row}: {wanted}");
        });
    }
    for row in ["gh pr list", "cargo build", "aws s3 ls"] {
        with(row, &[&home_is], |command| {
            assert!(spellings(command).len() <= 2, "{row}")
        });
    }
}

#[test]
fn a_packs_rows_add_readings_and_take_none() {
    let row = serde_json::json!([
        {"names": ["deployer", "kubectl"], "words": 2, "valued": ["--stage", "--force"], "same": {"rollout now": "deploy"}},
        {"names": ["with-env"], "runs": {"operands": 1}},
    ]);
    let table = Table::shipped()
        .with(&Table::rows(row.as_array().unwrap()).unwrap())
        .unwrap();
    for (row, wanted) in [
        ("deployer --stage prod rollout now x", "deployer deploy x"),
        ("with-env prod terraform apply", "terraform apply"),
        // `--force` takes a value by the pack's row, and none by the shipped ones.
        ("kubectl --force delete pod x", "kubectl delete pod x"),
        ("kubectl --context p delete pod x", "kubectl delete pod x"),
    ] {
        with(row, &[], |command| {
            let lines = meaning_in(&On("topic", Config::default()), &table, command).lines;
            assert!(lines.iter().any(|line| line.text == wanted.as_bytes()), "{row}");
        });
    }
}

#[test]
fn a_command_line_beyond_all_bounds_is_refused_and_an_ordinary_one_is_not() {
    let repo = On("topic", Config::default());
    let unreadable = |argv: &[&[u8]]| {
        read(
            &Command {
                file: argv[0],
                argv: argv.to_vec(),
                cwd: b"/ws",
                ..Command::default()
            },
            &repo,
        )
        .unreadable
    };
    let with = |head: &[&'static [u8]], word: &[&'static [u8]], count: usize| [head, &word.repeat(count)].concat();
    assert!(unreadable(&with(&[b"kubectl"], &[b"--unknown", b"x"], 100)));
    assert!(unreadable(&with(&[b"ssh", b"h"], &[b"ls", b";"], 100)));
    assert!(unreadable(&with(&[b"busybox"], &[b"busybox"], 100)));
    for (head, word) in [
        (&[&b"docker"[..], b"run"][..], &[&b"-e"[..], b"A=1"][..]),
        (&[b"env"], &[b"A=1"]),
        (&[b"rm"], &[b"file"]),
        (&[b"git", b"add"], &[b"file"]),
        (&[b"git", b"push", b"origin"], &[b"topic"]),
        (&[b"kubectl", b"apply"], &[b"-f", b"x.yaml"]),
        (&[b"helm", b"upgrade", b"r"], &[b"--set", b"a=b"]),
        (&[b"aws", b"ec2", b"run-instances"], &[b"--tag", b"b"]),
        (&[b"gcloud", b"compute", b"instances", b"create"], &[b"--tag", b"b"]),
        (&[b"az", b"login"], &[b"--tenant", b"b"]),
        (&[b"gh", b"api", b"x"], &[b"-f", b"b"]),
        (&[b"docker", b"run"], &[b"--network-alias", b"b"]),
        (&[b"docker", b"compose"], &[b"-f", b"b"]),
        (&[b"npm", b"run", b"x"], &[b"--opt", b"b"]),
        (&[b"uv", b"run"], &[b"--with", b"b"]),
        (&[b"cargo", b"test", b"--"], &[b"--skip", b"b"]),
        (&[b"ssh"], &[b"-o", b"b"]),
        (&[b"node", b"x.js"], &[b"--opt", b"b"]),
        (&[b"bash", b"x.sh"], &[b"--opt", b"b"]),
        (&[b"npm", b"run", b"x", b"--"], &[b"--opt", b"b"]),
    ] {
        assert!(
            !unreadable(&with(head, word, 400)),
            "{}",
            String::from_utf8_lossy(&head.join(&b' '))
        );
    }
}
