#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER of `tests/ci.sh fuzz`: the compiler, with coverage counters for this
# repository's own crates. A stable toolchain has them as a pass of LLVM; cargo-fuzz wants a nightly
# one for its -Z flags and for the address sanitizer, which safe Rust needs less than the counters.
exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Coverflow-checks -Cdebug-assertions
