#!/bin/sh
# Builds the attack programs into the folder $1.
set -eu
out=${1:?usage: build.sh OUT-FOLDER}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$out"
flags='-std=gnu17 -O2 -pthread -Wall -Wextra -Wno-unused-function -Wno-unused-result -Wno-format-truncation'
for source in "$here"/*.c; do
    name=$(basename "$source" .c)
    [ "$name" != preload ] || continue
    # Only what changed: the tests call this each time.
    if [ "$out/$name" -nt "$source" ] && [ "$out/$name" -nt "$here/attack.h" ] && [ "$out/$name" -nt "$here/marks.h" ]; then continue; fi
    # shellcheck disable=SC2086
    "${CC:-gcc}" $flags -I"$here" -o "$out/$name" "$source"
done
if [ ! "$out/preload.so" -nt "$here/preload.c" ]; then
    # shellcheck disable=SC2086
    "${CC:-gcc}" $flags -I"$here" -shared -fPIC -o "$out/preload.so" "$here/preload.c"
fi
# The program whose runs are counted exists as a permitted and as a forbidden build, each static, so that a spawn is cheap, and
# dynamic, so that a loader can be called by hand.
for build in mark-static evil-static evil; do
    if [ "$out/$build" -nt "$here/mark.c" ]; then continue; fi
    extra=''
    case $build in *-static) extra='-static' ;; esac
    case $build in evil*) extra="$extra -DEVIL" ;; esac
    # shellcheck disable=SC2086
    "${CC:-gcc}" $flags $extra -o "$out/$build" "$here/mark.c"
done
