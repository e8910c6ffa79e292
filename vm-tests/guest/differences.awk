# Whether two traces of tests/programs/differ.c say the same: awk -f differences.awk KNOWN NATIVE INSIDE.
# KNOWN is tests/compat/differences/calls.txt; read as tests/compat/known.rs and differential.rs read it. Prints what differs and is not known, and
# last how many results were compared and how many differences are known.
BEGIN { FS = "\t" }

# Whether text is as pattern says, whose `*` stand for anything.
function fits(pattern, text,    parts, n, i, at) {
    n = split(pattern, parts, "*")
    if (n == 1) return pattern == text
    if (substr(text, 1, length(parts[1])) != parts[1]) return 0
    text = substr(text, length(parts[1]) + 1)
    for (i = 2; i < n; i++) {
        if (parts[i] == "") continue
        at = index(text, parts[i])
        if (!at) return 0
        text = substr(text, at + length(parts[i]))
    }
    return length(text) >= length(parts[n]) && substr(text, length(text) - length(parts[n]) + 1) == parts[n]
}

# What came of a step, behind its call.
function came(step,    at) {
    at = index(step, " = ")
    return at ? substr(step, at + 3) : ""
}

FILENAME == ARGV[1] {
    if ($0 != "" && substr($0, 1, 1) != "#") what[++rows] = $1 SUBSEP $2 SUBSEP $3
    next
}
FILENAME == ARGV[2] { native[++steps] = $0; next }
{ inside[++others] = $0 }

END {
    for (i = 1; i <= steps; i++) {
        compared++
        was = came(native[i])
        is = i in inside ? came(inside[i]) : "missing"
        if (was == is) continue
        call = native[i]
        sub(/ = .*/, "", call)
        # Its number is not part of it.
        sub(/^[^ ]* /, "", call)
        known = 0
        for (row = 1; row <= rows && !known; row++) {
            split(what[row], columns, SUBSEP)
            known = fits(columns[1], call) && fits(columns[2], was) && fits(columns[3], is)
        }
        if (known) explained++
        else print call ": natively " was ", inside " is
        # What comes after the first success that was none follows from it.
        if (!known || was !~ /^E/ || is !~ /^E/) { stopped = 1; break }
    }
    print "compared", compared + 0, explained + 0, stopped ? "part" : "whole"
}
