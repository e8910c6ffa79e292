#!/usr/bin/env bash
# Every fuzz target for so many seconds, and random calls thrown at a live session.
#
#   scripts/fuzz.sh [SECONDS]    for each target (60); new inputs go to fuzz/corpus, which is kept between runs
#
# Without cargo-fuzz (`cargo install cargo-fuzz`, a nightly toolchain) the same claims run under the seeded mutator of the test command. Random
# calls: CAVRA_CALLS=N at least, CAVRA_SEED=N.
#
# Exit status: 0 every claim held, 1 one did not, 3 a part could not run here and is named.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-60}
status=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if cargo +nightly fuzz --version >/dev/null 2>&1; then
    for target in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$target" .rs)
        echo "== $name, $seconds s"
        mkdir -p "fuzz/corpus/$name" "fuzz/seeds/$name"
        cargo +nightly fuzz run "$name" "fuzz/corpus/$name" "fuzz/seeds/$name" -- -max_total_time="$seconds" -print_final_stats=1 || status=1
    done
else
    echo "SKIPPED: cargo-fuzz with a nightly toolchain is not installed; the seeded mutator runs the same claims" | tee "$log"
    CAVRA_FUZZ_SECONDS=$seconds cargo test --quiet --package cavra --test fuzz || status=1
fi
cargo build --quiet --workspace --bins || exit 1
CAVRA_FUZZ_SECONDS=$seconds cargo test --quiet --package cavra-tests --test faults -- random_calls 2>&1 | tee -a "$log"
[ "${PIPESTATUS[0]}" = 0 ] || status=1
[ "$status" = 0 ] || exit "$status"
scripts/partial.sh < "$log"
