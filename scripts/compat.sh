#!/usr/bin/env bash
# Suites by others and generated calls, natively and inside, in full: everything that tests/compat has, and tests/tools. About two hours.
#
#   scripts/compat.sh              all
#   scripts/compat.sh WORD...      the cases whose name contains a WORD
#   CAVRA_SEED=N CAVRA_SEEDS=N     other seeds, more of them; CAVRA_STRESS_SECONDS=N for each stressor (30)
#   CAVRA_STRESSORS='NAME...' CAVRA_MODULES='NAME...'    these of stress-ng's stressors and of CPython's modules alone
#
# Exit status: 0 no unexplained difference, 1 there are some, 3 a part could not run here and is named (not with words).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ $# -gt 0 ] || scripts/setup.sh --all || echo "(going on: what is missing is SKIPPED below)"
cargo build --quiet --workspace --bins || exit 1
status=0
CAVRA_SCALE=all cargo test --quiet --package cavra-tests --test compat -- "$@" 2>&1 | tee "$log"
[ "${PIPESTATUS[0]}" = 0 ] || status=1
if [ $# = 0 ]; then
    cargo test --quiet --package cavra-tests --test tools 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || status=1
fi
scripts/totals.sh < "$log"
[ "$status" = 0 ] && [ $# = 0 ] || exit "$status"
scripts/partial.sh < "$log"
