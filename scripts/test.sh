#!/bin/bash
# The test command: format, lints, documentation, dependencies, unit tests, black-box tests as root and as a user.
# Ends with what attacks, compatibility, faults and kernels came to, and with "N passed, N failed, N skipped" alone on the last line; the
# status is 0 only when nothing failed.
#
#   scripts/test.sh           everything
#   scripts/test.sh --fast    without the kernels in QEMU, the real tools and CPython's own tests
#   CAVRA_OFFLINE=1           fetches nothing that is not there yet: no advisory database
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

log=$(mktemp "${TMPDIR:-/tmp}/cavra-test.XXXXXX") whole=$(mktemp "${TMPDIR:-/tmp}/cavra-test.XXXXXX")
said=$(mktemp "${TMPDIR:-/tmp}/cavra-test.XXXXXX")
trap 'rm -f "$log" "$whole" "$said"' EXIT
passed=0 failed=0 skipped=0
failures=() left_out=() took=()

title() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

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
    left_out+=("$1: $2")
    skipped=$((skipped + 1))
}

# Test programs: their own totals are added up; one that ends badly without totals counts as one failure.
tests() {
    local name=$1 status sums p f s start=$SECONDS
    shift
    title "$name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    cat "$log" >>"$whole"
    took+=("${name#black box: } $((SECONDS - start))")
    while read -r line; do left_out+=("$name: $line"); done < <(sed -n 's/^test \(.*\) \.\.\. SKIPPED: /\1: /p; s/^SKIPPED: //p' "$log")
    sums=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) \(ignored\|skipped\);.*/\1 \2 \3/p' "$log")
    while read -r p f s; do
        [ -n "$p" ] || continue
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
        [ "$f" = 0 ] || status=reported
    done <<<"$sums"
    [ "$status" = 0 ] || { echo "-- $name" && scripts/failures.sh <"$log"; } >>"$said"
    case $status in
    0) ;;
    reported) failures+=("$name") ;;
    *)
        failed=$((failed + 1))
        failures+=("$name (status $status)")
        # What hangs or is too slow is behind its last line.
        { echo "    the last that it said:" && tail -n 3 "$log" | cut -c 1-200 | sed 's/^/    /'; } >>"$said"
        ;;
    esac
}

# Seconds that one black-box program may take, so that the whole stays within its hour.
limit() {
    case $1 in
    tools) echo 1800 ;;
    attacks) echo 2000 ;;
    *) echo 900 ;;
    esac
}

command -v cargo >/dev/null || {
    echo "scripts/test.sh: cargo is needed: https://rustup.rs, Rust 1.89 or later" >&2
    exit 1
}
title "what the tests need"
scripts/setup.sh || echo "(going on: what is missing is SKIPPED below)"
PATH=$PATH:$PWD/target/tools/bin

check "format" cargo fmt --all -- --check
check "lints" cargo clippy -q --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" check "documentation" cargo doc -q --workspace --no-deps
if ! command -v cargo-deny >/dev/null; then
    leave_out "dependencies" "cargo-deny is not installed, and scripts/setup.sh could not build it"
else
    check "dependencies: licences, bans, sources" cargo deny -L error check licenses bans sources
    if [ -n "${CAVRA_OFFLINE-}" ]; then
        leave_out "dependencies: advisories" "CAVRA_OFFLINE is set, and the advisory database is fetched"
    elif cargo deny fetch db >/dev/null 2>&1; then
        check "dependencies: advisories" cargo deny -L error check advisories
    else
        leave_out "dependencies: advisories" "the advisory database cannot be fetched from here"
    fi
fi
check "build" cargo build -q --workspace --bins
[ "$(id -u)" = 0 ] || leave_out "sessions as root" "the tests run as an ordinary user"
# A minute for the fuzz targets, which run side by side, and beside the other tests; another for random calls at a live session (faults).
export CAVRA_FUZZ_SECONDS=${CAVRA_FUZZ_SECONDS:-60}
tests "unit tests" cargo test -q --no-fail-fast --workspace --exclude cavra-tests
tests "the harness itself" cargo test -q -p cavra-tests --lib
tests "the harness: examples" cargo test -q -p cavra-tests --doc
# Every [[test]] of the tests' crate: a new program needs no line here.
programs=$(cargo metadata --format-version 1 --no-deps | python3 -c '
import json, sys
crate = next(p for p in json.load(sys.stdin)["packages"] if p["name"] == "cavra-tests")
print(*(t["name"] for t in crate["targets"] if "test" in t["kind"]))') && [ -n "$programs" ] || check "the list of black-box programs" false
for program in $programs; do
    if [ "$fast$program" = 1tools ]; then
        leave_out "black box: tools" "--fast"
    else
        tests "black box: $program" timeout --kill-after=30 "$(limit "$program")" cargo test -q -p cavra-tests --test "$program"
    fi
done
if [ -n "$fast" ]; then
    leave_out "kernels" "--fast"
else
    tests "kernels" timeout --kill-after=30 900 vm-tests/run
fi

if [ ${#failures[@]} -gt 0 ]; then
    title "failed"
    printf '%s\n' "${failures[@]}"
    cat "$said"
fi
if [ ${#left_out[@]} -gt 0 ]; then
    title "skipped"
    printf '%s\n' "${left_out[@]}"
fi
title "totals"
(IFS=, && echo "seconds: ${took[*]}") | sed 's/,/, /g'
scripts/totals.sh <"$whole"
printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
