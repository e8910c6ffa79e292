#!/bin/sh
# Installs Claude Code, the real agent of tests/agent, into target/claude. Does nothing where that version is already
# there, so it works offline from the second time on.
set -eu
version=${CAVRA_CLAUDE_VERSION:-2.1.330}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/target/claude
package=$folder/node_modules/@anthropic-ai/claude-code

if [ -x "$package/bin/claude.exe" ] && grep -q "\"version\": \"$version\"" "$package/package.json"; then
    echo "Claude Code $version is in target/claude"
    exit 0
fi
command -v npm >/dev/null || {
    echo "scripts/claude.sh: npm is missing; scripts/setup.sh installs it" >&2
    exit 1
}
mkdir -p "$folder"
# Its install step only links the program of this platform into place; the switch is unknown to older npm and harmless there.
npm install --prefix "$folder" --no-save --no-audit --no-fund --foreground-scripts "@anthropic-ai/claude-code@$version"
"$package/bin/claude.exe" --version
