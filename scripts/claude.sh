#!/usr/bin/env bash
# Installs the real agent that tests/agent.rs drives, from npm, into target/claude.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x target/claude/node_modules/.bin/claude ] && exit 0
if ! command -v npm >/dev/null; then
    [ "$(id -u)" = 0 ] || { echo "npm is needed; as root: apt-get install npm" >&2; exit 1; }
    apt-get update -qq && apt-get install -y -qq npm >/dev/null
fi
mkdir -p target/claude
cd target/claude
npm install --silent --no-audit --no-fund @anthropic-ai/claude-code@2.1.330 >/dev/null
