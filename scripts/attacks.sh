#!/usr/bin/env bash
# Runs the attack corpus, as root and as an ordinary user, and writes docs/attacks.md from what it saw.
#
#   scripts/attacks.sh --full     every race with 20 000 attempts and more, and what other test programs claim about classes (an hour)
#   scripts/attacks.sh [WORD...]  races with as many attempts as in CI; with words, only what they name, and no page
#
# Exit status: 0 all held, 1 something did not, 3 a part could not run here and is named (not with words).
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build --workspace --quiet
all=(--write "$PWD/docs/attacks.md")
for word in "$@"; do
    case $word in
    -*) ;;
    *) all=() ;;
    esac
done
cargo test --quiet --package cavra-tests --test attacks -- "${all[@]}" "$@" 2>&1 | tee "$log" || exit 1
[ ${#all[@]} = 0 ] || scripts/partial.sh < "$log"
