#!/bin/bash
# The test command: format, lints, documentation, dependencies, unit tests, black-box tests as root and as a user.
# Ends with "N passed, N failed, N skipped" alone on the last line; the status is 0 only when nothing failed.
#
#   scripts/test.sh           everything
#   scripts/test.sh --fast    without cargo-deny and the tools' and CPython's own tests
set -u
cd "$(dirname "$0")/.." || exit 1
fast=
case ${1-} in
--fast) fast=1 ;;
'') ;;
*)
    echo "usage: scripts/test.sh [--fast]" >&2
    exit 2
    ;;
esac

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
log=$(mktemp "${TMPDIR:-/tmp}/cavra-test.XXXXXX")
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0
failures=()

title() { printf '\n== %s\n' "$*"; }

# One check counts as one test.
check() {
    local name=$1
    shift
    title "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures+=("$name")
        echo "FAILED: $name"
    fi
}

leave_out() {
    title "$1"
    echo "SKIPPED: $2"
    skipped=$((skipped + 1))
}

# Test programs: their own totals are added up; one that ends badly without totals counts as one failure.
tests() {
    local name=$1 status sums p f s
    shift
    title "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    sums=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) \(ignored\|skipped\);.*/\1 \2 \3/p' "$log")
    while read -r p f s; do
        [ -n "$p" ] || continue
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
        [ "$f" = 0 ] || status=reported
    done <<<"$sums"
    case $status in
    0) ;;
    reported) failures+=("$name") ;;
    *)
        failed=$((failed + 1))
        failures+=("$name (status $status)")
        ;;
    esac
}

# One black-box program, bounded, so that the whole stays within its hour.
black_box() {
    tests "black box: $1" timeout --kill-after=30 "$2" cargo test -q -p cavra-tests --test "$1"
}

title "what the tests need"
scripts/setup.sh || echo "(going on: what is missing is SKIPPED below)"

check "format" cargo fmt --all -- --check
check "lints" cargo clippy -q --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" check "documentation" cargo doc -q --workspace --no-deps
if [ -n "$fast" ]; then
    leave_out "dependencies" "--fast"
else
    if ! [ -x "$target/tools/bin/cargo-deny" ] && ! command -v cargo-deny >/dev/null; then
        title "installing cargo-deny into target/tools"
        timeout 900 cargo install -q --locked --root "$target/tools" --target-dir "$target/tools/build" cargo-deny
        rm -rf "$target/tools/build"
    fi
    PATH=$PATH:$target/tools/bin
    if ! command -v cargo-deny >/dev/null; then
        leave_out "dependencies" "cargo-deny is not installed and could not be built"
    else
        check "dependencies: licences, bans, sources" cargo deny -L error check licenses bans sources
        if cargo deny fetch db >/dev/null 2>&1; then
            check "dependencies: advisories" cargo deny -L error check advisories
        else
            leave_out "dependencies: advisories" "the advisory database cannot be fetched from here"
        fi
    fi
fi
check "build" cargo build -q --workspace --bins
tests "unit tests" cargo test -q --workspace --exclude cavra-tests
tests "the harness itself" cargo test -q -p cavra-tests --lib
tests "the harness: examples" cargo test -q -p cavra-tests --doc
black_box rows 600
black_box session 600
[ -e tests/boundary.rs ] && black_box boundary 900
black_box agent 900
[ -e tests/attacks/main.rs ] && black_box attacks 1200
if [ -n "$fast" ]; then
    leave_out "black box: tools" "--fast"
else
    black_box tools 1800
fi

tests "kernels" timeout --kill-after=30 900 vm-tests/run

if [ ${#failures[@]} -gt 0 ]; then
    title "failed"
    printf '%s\n' "${failures[@]}"
fi
printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
