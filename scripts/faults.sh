#!/usr/bin/env bash
# The supervisor starved, stopped, killed, crowded, slowed and panicking, with the large numbers: 200 kills, 10 000 tasks, an hour's soak for each
# user. `scripts/faults.sh WORD...` runs the cases whose name contains a WORD; CAVRA_SOAK=SECONDS is another soak
# (the case `threads_stay_flat`).
#
# Exit status: 0 all survived, 1 something did not, 3 a part could not run here and is named (not with words).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build --quiet --workspace --bins || exit 1
CAVRA_SCALE=all cargo test --quiet --package cavra-tests --test faults -- "$@" 2>&1 | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
scripts/totals.sh < "$log" | grep '^faults'
[ $# -gt 0 ] || scripts/partial.sh < "$log"
