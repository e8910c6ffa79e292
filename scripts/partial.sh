#!/bin/sh
# Names the parts that what is on standard input says it left out. Status 3 when there are any: everything was asked for, and this was not all.
parts=$(sed -n 's/^test \(.*\) \.\.\. SKIPPED: /\1: /p; s/^SKIPPED: //p' | sort -u)
[ -n "$parts" ] || exit 0
printf '\npartial: these parts did not run here\n%s\n' "$parts"
exit 3
