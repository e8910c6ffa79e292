#!/usr/bin/env bash
# Runs the attack corpus, as root and as an ordinary user, and writes docs/attacks.md from what it saw.
#
#   scripts/attacks.sh --full     every race with 20 000 attempts and more, and what other test programs claim about classes (an hour)
#   scripts/attacks.sh [WORD...]  races with as many attempts as in CI; with words, only what they name, and no page
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --workspace --quiet
write=(--write "$PWD/docs/attacks.md")
for word in "$@"; do
    case $word in
    -*) ;;
    *) write=() ;;
    esac
done
exec cargo test --quiet --package cavra-tests --test attacks -- "${write[@]}" "$@"
