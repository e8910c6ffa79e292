#!/usr/bin/env bash
# Runs the whole attack corpus, as root and as an ordinary user, and writes docs/attacks.md from what it saw.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --workspace --quiet
exec cargo test --quiet --package cavra-tests --test attacks -- --write "$PWD/docs/attacks.md" "$@"
