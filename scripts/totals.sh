#!/bin/sh
# The totals of what the parts of the tests print (standard input): attacks, differences, faults, kernels.
exec awk '
    # attacks refused N / tried N
    /^attacks refused / { refused += $3; tried += $6; attacks = 1 }
    # compared WHAT: N results, N explained differences, N unexplained
    /^compared .*: [0-9]+ results, / {
        compat = 1
        for (i = 2; i < NF; i++) if ($(i + 1) == "results,") results += $i; else if ($(i + 1) == "explained") explained += $i; else if ($(i + 1) == "unexplained") unexplained += $i
    }
    /^ *[0-9]+ tests of CPython compared / { compat = 1; results += $1 }
    /^ *known difference: / { explained++ }
    # running N tests of NAME
    /^running [0-9]+ tests of / { program = $5 }
    /^test .* \.\.\. ok/ && program == "faults" { survived++; faults = 1 }
    /^test .* \.\.\. FAILED/ && program == "faults" { fell++; faults = 1 }
    # vm-tests: N kernels, N proven, N weaker, N refused to start, N failed, N not run
    /^vm-tests: / { kernels = $2; claims = $4; weaker = $6; failed = $12; vm = 1 }
    function part(seen, text) { return seen ? text : "not run" }
    END {
        print "attacks: " part(attacks, refused " refused / " tried " tried")
        print "compatibility: " part(compat, results + 0 " results compared, " explained + 0 " explained differences, " unexplained + 0 " unexplained")
        print "faults: " part(faults, survived + 0 " survived, " fell + 0 " not")
        print "kernels: " part(vm, kernels " run, " claims " claims proven, " weaker " weaker, " failed " failed")
    }'
