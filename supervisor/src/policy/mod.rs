//! Packs, layers, compiler, matcher, explain; knows nothing of system calls.
