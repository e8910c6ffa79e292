#!/bin/sh
# Installs what the tests need on Debian and Ubuntu: system packages, Claude Code, cargo-deny. Run again, it changes nothing.
# What cannot be installed is named; the tests that need it then say SKIPPED, with the reason.
#
#   scripts/setup.sh --all        also what only scripts/compat.sh needs: Go's sources
#   scripts/setup.sh --benches    also what benches/run compares with and starts
set -eu
cd "$(dirname "$0")/.."

python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo 3.11)
# program or file that shows it is there : package
needs="
gcc:gcc
make:make
git:git
tmux:tmux
expect:expect
npm:npm
unshare:util-linux
python3:python3
stress-ng:stress-ng
fio:fio
busybox:busybox
less:less
vim:vim
top:procps
script:bsdutils
curl:curl
openssl:openssl
musl-gcc:musl-tools
go:golang-go
javac:default-jdk-headless
ssh-keygen:openssh-client
/usr/lib/python3/dist-packages/pip/__init__.py:python3-pip
/usr/lib/python3/dist-packages/fusepy.py:python3-fusepy
/usr/lib/python3/dist-packages/../../python$python/ensurepip/__init__.py:python3-venv
/usr/lib/python$python/test/test_os.py:libpython$python-testsuite
"
# These start a service where there is systemd; elsewhere they only lie there.
[ -d /run/systemd/system ] || needs="$needs /usr/sbin/sshd:openssh-server /usr/sbin/unbound:unbound"
case ${1-} in
--all) needs="$needs /usr/share/go/src/os:golang-src" ;;
--benches) needs="$needs rg:ripgrep bwrap:bubblewrap strace:strace pytest:python3-pytest" ;;
'') ;;
*)
    echo "usage: scripts/setup.sh [--all | --benches]" >&2
    exit 2
    ;;
esac
missing=
for need in $needs; do
    thing=${need%%:*} package=${need##*:}
    case $thing in
    /*) [ -e "$thing" ] || missing="$missing $package" ;;
    *) command -v "$thing" >/dev/null || missing="$missing $package" ;;
    esac
done

status=0
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: no apt-get here; install these yourself:$missing" >&2
        status=1
    elif [ "$(id -u)" != 0 ]; then
        echo "setup: root is needed for: apt-get install$missing" >&2
        status=1
    else
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        # shellcheck disable=SC2086 # a list
        apt-get install -y -q --no-install-recommends $missing || status=1
    fi
fi
[ "$status" = 0 ] && echo "setup: the system packages are there"

# The static one beside the other, which it would replace as a package: a C library in a program of its own looks names up in its own way.
static=target/tools/busybox-static
if [ ! -x "$static/bin/busybox" ] && command -v apt-get >/dev/null; then
    mkdir -p "$static"
    (cd "$static" && apt-get download -q busybox-static && dpkg-deb -x busybox-static_*.deb . && rm busybox-static_*.deb) || {
        echo "setup: busybox-static could not be fetched; its test will say SKIPPED" >&2
        status=1
    }
fi

if ! command -v cargo-deny >/dev/null && ! [ -x target/tools/bin/cargo-deny ]; then
    # Unoptimised: that takes a minute on two cores, and it runs for a second.
    cargo install -q --debug --locked --root target/tools --target-dir target/tools/build cargo-deny || {
        echo "setup: cargo-deny could not be installed; the check of dependencies will say SKIPPED" >&2
        status=1
    }
    rm -rf target/tools/build
fi
scripts/claude.sh || {
    echo "setup: Claude Code could not be installed; tests/agent will say SKIPPED" >&2
    status=1
}
exit $status
