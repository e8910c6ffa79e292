#!/usr/bin/env bash
# The test command: installs what the tests need, checks, builds, runs everything; the last line is the totals.
set -uo pipefail
cd "$(dirname "$0")/.."
missing=()
for program in cc git python3; do command -v "$program" >/dev/null || missing+=("$program"); done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq && apt-get install -y -qq gcc libc6-dev git python3 >/dev/null
    else
        echo "needed and not here: ${missing[*]}; as root: apt-get install gcc libc6-dev git python3" >&2
        exit 1
    fi
fi
failed=0
step() {
    echo "== $*"
    "$@" || { failed=$((failed + 1)); echo "FAILED: $*"; }
}
step cargo fmt --all --check
step cargo clippy --workspace --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --quiet
if cargo deny --version >/dev/null 2>&1; then
    step cargo deny check
else
    echo "SKIPPED: cargo deny (not installed: cargo install cargo-deny)"
fi
step cargo build --workspace --quiet
scripts/claude.sh || echo "SKIPPED: the real agent (it could not be installed)"
log=$(mktemp)
cargo test --workspace --no-fail-fast 2>&1 | tee "$log"
tests=${PIPESTATUS[0]}
sum() { grep -E '^test result' "$log" | sed -E "s/.* ([0-9]+) $1.*/\1/" | awk '{n += $1} END {print n + 0}'; }
passed=$(sum passed) broken=$(sum failed) skipped=$(sum ignored)
rm -f "$log"
broken=$((broken + failed))
[ "$tests" -eq 0 ] || [ "$broken" -gt 0 ] || broken=1
echo "$passed passed, $broken failed, $skipped skipped"
[ "$broken" -eq 0 ] && [ "$passed" -gt 0 ]
