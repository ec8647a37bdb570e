#!/usr/bin/env bash
# Everything that must pass before a change lands: tests/ci.sh [step …], all steps by default.
#
#   fmt      formatting
#   lint     clippy, warnings denied, all targets
#   msrv     `rust-version` of Cargo.toml is enough: all targets checked by that toolchain
#   deny     licences, advisories, sources and versions of what Cargo.lock names (.deny.toml)
#   package  what would be published: which files, and how many bytes
#   debug    unit tests with overflow checks
#   test     all tests, optimised
#   docs     rustdoc, warnings denied
#   recipe   the Python package in models/recipe: ruff, and its tests as far as the machine has what they need
#   fuzz     each parser fed with what coverage suggests, for FUZZ_SECONDS (5) each (tests/fuzz)
#   arm      unit, golden, prompt and arithmetic tests on emulated Arm cores
#   boot     the program on an emulated board with a camera and a UART (tests/board/boot.sh)
#   miri     the x86 kernels at small sizes, interpreted; only where it is asked for, because it takes long
#
# Needs Rust and nothing else. Steps that need more say SKIPPED and what is missing; where the variable in brackets is set, that fails:
#   lint   the targets aarch64-unknown-linux-gnu and thumbv7em-none-eabihf, for what is compiled for them only
#   msrv   the toolchain that Cargo.toml names, if the installed one is newer (TARSIER_REQUIRE_MSRV)
#   deny   cargo-deny, and a network for the advisories (TARSIER_REQUIRE_DENY)
#   recipe Python 3.11 with venv, and an index to install tests/requirements.txt of models/recipe from, some 190 MB below target/
#          (TARSIER_REQUIRE_RECIPE; without a network it is skipped in any case)
#   fuzz   a C++ compiler (TARSIER_REQUIRE_FUZZ)
#   arm    the target aarch64-unknown-linux-gnu, aarch64-linux-gnu-gcc and qemu-aarch64 (TARSIER_REQUIRE_ARM)
#   boot   what `arm` needs, qemu-system-aarch64, python3 and Debian's arm64 kernel, `tests/board/boot.sh --fetch` (TARSIER_REQUIRE_BOOT)
#   miri   a nightly toolchain with the components miri and rust-src (TARSIER_REQUIRE_MIRI)
# Tests that need python3 or cc say SKIPPED without them, unless TARSIER_REQUIRE_CLIENTS is set.
set -euo pipefail
cd "$(dirname "$0")/.."

fmt() { cargo fmt --all --check; }

# also what is compiled for Arm only, and what a microcontroller runs, where its target is installed
lint() {
    cargo clippy --locked --release --all-targets -- -D warnings
    # by itself: what the program asks of its dependencies must not be what it needs
    cargo clippy --locked --release -p tarsier-wire --all-targets -- -D warnings
    cargo clippy --locked --release -p tarsier-wire --all-targets --features std -- -D warnings
    local bare=thumbv7em-none-eabihf
    if rustc --print target-libdir --target $bare 2>/dev/null | xargs -r test -d; then
        cargo clippy --locked --release -p tarsier-wire --lib --example microcontroller --target $bare -- -D warnings
        # linked: nothing of an operating system is missing
        cargo build --locked --release -p tarsier-wire --example microcontroller --target $bare
    else
        echo "lint: without the microcontroller's example, missing: rustup target add $bare"
    fi
    local target=aarch64-unknown-linux-gnu
    # as for a board: without the formats that no camera sends
    cargo clippy --locked --release --lib --bins --no-default-features -- -D warnings
    if rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d; then
        cargo clippy --locked --release --lib --bins --target $target -- -D warnings
    fi
}

# with the profile of `lint`, which has checked the same already where this very toolchain is the installed one
msrv() {
    local want have toolchain
    want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(rustc --version | cut -d' ' -f2)
    if ! grep -q "Rust $want or later" README.md; then
        echo "msrv: README.md does not say \`Rust $want or later\`, which Cargo.toml says" >&2
        return 1
    fi
    if [[ $have == "$want" || $have == "$want".* ]]; then
        cargo check --locked --release -p tarsier -p tarsier-wire --all-targets
        return
    fi
    toolchain=$(rustup toolchain list 2>/dev/null | grep -oE "^${want//./\\.}(\.[0-9]+)?[-a-z0-9_]*" | head -n 1 || true)
    if [[ -z $toolchain ]]; then
        echo "msrv: SKIPPED, missing: rustup toolchain install $want (rustc is $have)"
        [[ -z ${TARSIER_REQUIRE_MSRV:-} ]]
        return
    fi
    cargo "+$toolchain" check --locked --release -p tarsier -p tarsier-wire --all-targets
}

# advisories come from a repository of their own; without it the rest is checked all the same
deny() {
    if ! cargo deny --version >/dev/null 2>&1; then
        echo 'deny: SKIPPED, missing: cargo install --locked cargo-deny'
        [[ -z ${TARSIER_REQUIRE_DENY:-} ]]
        return
    fi
    local known=(cargo deny --locked --workspace)
    if [[ -z ${TARSIER_REQUIRE_DENY:-} ]] && ! "${known[@]}" fetch db >/dev/null 2>&1; then
        echo 'deny: advisories SKIPPED, no network'
        "${known[@]}" check licenses bans sources
        return
    fi
    "${known[@]}" check
}

# Packs, weights and photos must not come back into the package; nothing is built, and no registry is asked.
package() {
    local most=2000000 found bytes stray
    local always='Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json'
    stray=$({
        cargo package --list --allow-dirty --offline -p tarsier 2>/dev/null |
            grep -vE "^(src/.*\.(rs|md)|README\.md|\.github/(CHANGELOG\.md|LICENSE-(APACHE|MIT))|$always)\$"
        cargo package --list --allow-dirty --offline -p tarsier-wire 2>/dev/null |
            grep -vE "^((src|examples)/.*\.rs|WIRE\.md|$always)\$"
    } || true)
    if [[ -n $stray ]]; then
        printf 'package: nobody said that these are published: %s\n' "${stray//$'\n'/ }" >&2
        return 1
    fi
    found=$(cargo metadata --locked --offline --no-deps --format-version 1 | grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4)/package
    rm -f "$found"/tarsier-*.crate
    # both at once: no registry has the one that the other needs
    cargo package --no-verify --allow-dirty --offline -p tarsier-wire -p tarsier 2>&1 | grep -v 'not included in the published package'
    bytes=$(cat "$found"/tarsier-*.crate | wc -c)
    echo "package: $bytes bytes of at most $most"
    ((bytes <= most))
}

# our crate stops at integer overflow and at debug assertions, which what ships does not; what it depends on is that of the other steps
debug() {
    local settings=() setting
    for setting in overflow-checks=true debug-assertions=true opt-level=1 codegen-units=16; do
        settings+=(--config "profile.release.package.tarsier.$setting")
    done
    cargo test --locked --release --lib "${settings[@]}"
    # the profile for development has both checks
    cargo test --locked -p tarsier-wire --features std --lib
}

# nothing but the tests decides: benches are programs, not tests
tests() {
    cargo test --locked --release --lib --bins --tests --examples
    cargo test --locked --release --doc
    cargo test --locked --release -p tarsier-wire --features std
    # as on a microcontroller, but that there is a system to run tests on
    cargo test --locked --release -p tarsier-wire --lib --tests
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --locked --release --no-deps --lib -p tarsier -p tarsier-wire; }

# in an environment of its own that sees the machine's packages: PyTorch is too large to install for this
recipe() (
    local home=$PWD/target/recipe needs=$PWD/models/recipe/tests/requirements.txt
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo 'recipe: SKIPPED, missing: Python 3.11 with venv'
        [[ -z ${TARSIER_REQUIRE_RECIPE:-} ]]
        return
    fi
    [[ -x $home/bin/python ]] || python3 -m venv --system-site-packages "$home"
    if ! "$home/bin/python" -m pip install -q --disable-pip-version-check -r "$needs" >"$home/pip.log" 2>&1; then
        tail -n 3 "$home/pip.log" | cut -c1-200
        if grep -qiE 'connection|name resolution|unreachable|timed out|proxy' "$home/pip.log"; then
            echo 'recipe: SKIPPED, no network to install its checks from'
            return
        fi
        echo "recipe: SKIPPED, cannot install $needs"
        [[ -z ${TARSIER_REQUIRE_RECIPE:-} ]]
        return
    fi
    cd models/recipe
    "$home/bin/python" -m ruff check --no-cache .
    "$home/bin/python" -m ruff format --no-cache --check .
    "$home/bin/python" -m pytest -q -p no:cacheprovider -W ignore::DeprecationWarning
)

# in a shell of its own, like `fuzz`: what it exports ends with it
arm() (
    local target=aarch64-unknown-linux-gnu lacks=()
    rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d || lacks+=("rustup target add $target")
    command -v aarch64-linux-gnu-gcc >/dev/null || lacks+=("aarch64-linux-gnu-gcc")
    command -v qemu-aarch64 >/dev/null || lacks+=("qemu-aarch64")
    if ((${#lacks[@]})); then
        printf 'arm: SKIPPED, missing: %s\n' "${lacks[*]}"
        [[ -z ${TARSIER_REQUIRE_ARM:-} ]]
        return
    fi
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    # static: under this emulator a dynamic program hangs when it starts a thread
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
    local core
    # neon alone (A53, A72); dot products (A76); everything the emulator knows
    for core in cortex-a53 cortex-a76 max; do
        echo "arm: $core"
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu $core" \
            cargo test --locked --release --target $target --lib --test golden --test prompts --test same_bits
    done
)

# the crates of this repository with coverage counters, what they depend on as it is for the other steps
# (in a shell of its own: no later step may see this compiler's wrapper)
fuzz() (
    if ! command -v c++ >/dev/null; then
        echo 'fuzz: SKIPPED, missing: c++'
        [[ -z ${TARSIER_REQUIRE_FUZZ:-} ]]
        return
    fi
    export RUSTC_WORKSPACE_WRAPPER=$PWD/tests/fuzz/rustc.sh
    local found=target/fuzz target built all=()
    mkdir -p $found
    built=$(cargo build --locked --release -p tarsier-fuzz --bins --message-format json-render-diagnostics | grep -o '"executable":"[^"]*"' | cut -d'"' -f4)
    all=(${FUZZ_TARGETS:-$(cd tests/fuzz/fuzz_targets && basename -s .rs ./*)})
    for target in "${all[@]}"; do
        local program corpus=target/fuzz/corpus/$target
        program=$(grep "/$target\$" <<<"$built")
        mkdir -p "$corpus"
        # what is found goes into the first folder; the second is only read
        "$program" -max_total_time="${FUZZ_SECONDS:-5}" -timeout=20 -rss_limit_mb=2048 -artifact_prefix=$found/ -verbosity=0 -print_final_stats=1 "$corpus" "tests/fuzz/corpus/$target" 2>&1 |
            grep -E 'number_of_executed_units|ERROR|panicked|^artifact|Test unit' | sed "s/^/fuzz: $target: /"
        [[ ${PIPESTATUS[0]} == 0 ]]
    done
)

boot() {
    local lacks
    lacks=$(tests/board/boot.sh --lacks)
    if [[ -n $lacks && -z ${TARSIER_REQUIRE_BOOT:-} ]]; then
        printf 'boot: SKIPPED, missing: %s\n' "${lacks//$'\n'/, }"
        return
    fi
    tests/board/boot.sh
}

miri() {
    local lacks=()
    cargo +nightly miri --version >/dev/null 2>&1 || lacks+=("rustup component add miri --toolchain nightly")
    test -d "$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" || lacks+=("rustup component add rust-src --toolchain nightly")
    if ((${#lacks[@]})); then
        printf 'miri: SKIPPED, missing: %s\n' "${lacks[*]}"
        [[ -z ${TARSIER_REQUIRE_MIRI:-} ]]
        return
    fi
    # levels that the interpreter does not know are not available there, and Isa::available leaves them out
    RUSTFLAGS="-C target-feature=+avx2" CARGO_TARGET_DIR=target/miri cargo +nightly miri test --locked --lib -- kernels::{add,align,conv,depthwise}::tests::every_level_{is,equals}
}

steps=("$@")
((${#steps[@]})) || steps=(fmt lint msrv deny package debug tests docs recipe fuzz arm boot)
for step in "${steps[@]}"; do
    [[ $step == test ]] && step=tests
    case $step in
        fmt | lint | msrv | deny | package | debug | tests | docs | recipe | fuzz | arm | boot | miri) ;;
        *) echo "ci.sh: no step $step; steps: fmt lint msrv deny package debug test docs recipe fuzz arm boot miri" >&2; exit 64 ;;
    esac
    printf '\n== %s\n' "$step"
    $step
done
printf '\nall steps passed: %s\n' "${steps[*]}"
