#!/bin/sh
# The tests that failed in what a test program printed (standard input), each with the first lines of what it said: of libtest's output and of
# that of this workspace's own harness.
exec awk '
    /^test .* \.\.\. FAILED/ || /^---- .* stdout ----$/ { left = 40; print; next }
    /^test / || /^test result: / || /^failures:$/ { left = 0 }
    left > 0 && !/^ *(at |[0-9]+: )/ { left--; print "    " $0 }'
