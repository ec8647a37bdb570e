#!/usr/bin/env bash
# Boots an emulated aarch64 board that runs the static program and its pack, with a camera of the kernel and a UART, and checks what
# the UART says: tests/board/boot.sh [--fetch | --lacks] [options of boot.py: --cpu NAME, --cores N, --limit SECONDS …]
#
#   --fetch   only download what is missing: Debian's arm64 kernel (60 MB) and busybox
#   --lacks   only print what is missing, one thing a line, and download nothing
#
# Measured on 2026-11-25 on two cores: 38 s once the program is built, and 8 s once for --fetch (with two dozen other programs running, 244 and
# 110 s); every step has a limit of its own.
#
# qemu-system-aarch64 -machine virt; Debian's kernel, its driver `vivid` as a V4L2 camera; an initramfs of our own (init); the PL011 UART
# as the serial link. boot.py tells the order of events. Nothing is installed on this machine: packages are downloaded with apt's own
# means for arm64, verified by its keys, into a state of their own, and unpacked in
# ${TARSIER_BOOT_CACHE:-$XDG_CACHE_HOME/tarsier-boot}. Needs Debian or a system with its sources, Rust's target
# aarch64-unknown-linux-gnu, aarch64-linux-gnu-gcc, qemu-system-aarch64 and python3; no root, and no network after --fetch.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=aarch64-unknown-linux-gnu
cache=${TARSIER_BOOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tarsier-boot}

fail() { printf 'boot: %s\n' "$*" >&2; exit 1; }

# Debian's apt for another architecture, which changes nothing on this machine
apt_arm64() {
    local program=$1
    shift
    "$program" -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$cache/apt/state" \
        -o Dir::State::status="$cache/apt/status" -o Dir::Cache="$cache/apt/cache" -o APT::Sandbox::User= \
        -o Debug::NoLocking=1 -o Acquire::Retries=3 -o Acquire::http::Timeout=60 "$@"
}

fetched() { [[ -f $cache/board/vmlinuz && -x $cache/board/busybox && -e $(echo "$cache"/board/modules/99-*.ko) ]]; }

# what a module asks for, then the module itself, each once
with_needs() {
    local file need
    file=$(find "$cache/unpacked/lib/modules" -name "$1.ko*" -o -name "${1//_/-}.ko*" -o -name "${1//-/_}.ko*" | head -n 1)
    [[ -n $file ]] || fail "the kernel has no module $1"
    case $file in
        *.xz) xz -d "$file" && file=${file%.xz} ;;
        *.zst) zstd -q -d --rm "$file" && file=${file%.zst} ;;
    esac
    for need in $(tr '\0' '\n' <"$file" | grep -a '^depends=' | cut -d= -f2 | tr ',' ' '); do
        with_needs "$need"
    done
    grep -qxF "$file" "$cache/unpacked/order" || echo "$file" >>"$cache/unpacked/order"
}

fetch() {
    local kernel start=$SECONDS
    mkdir -p "$cache"/apt/{state/lists/partial,cache/archives/partial}
    : >"$cache/apt/status"
    printf 'boot: asking apt for an arm64 kernel\n'
    apt_arm64 apt-get update
    kernel=$(apt_arm64 apt-cache depends --important linux-image-arm64 | sed -n 's/.*Depends: \(linux-image-[^: ]*\).*/\1/p' | head -n 1)
    [[ -n $kernel ]] || fail "apt knows no package linux-image-arm64 for arm64: are Debian's sources configured?"
    rm -rf "$cache/unpacked" "$cache/board" "$cache"/*.deb
    printf 'boot: downloading %s and busybox-static\n' "$kernel"
    (cd "$cache" && apt_arm64 apt-get download "$kernel" busybox-static)
    mkdir -p "$cache/unpacked" "$cache/board.new/modules"
    dpkg-deb --fsys-tarfile "$cache/$kernel"_*.deb | tar -x -C "$cache/unpacked" --wildcards './boot/vmlinuz-*' './lib/modules/*/kernel/drivers/media/*'
    dpkg-deb --fsys-tarfile "$cache"/busybox-static_*.deb | tar -x -C "$cache/unpacked" --wildcards '*bin/busybox'
    : >"$cache/unpacked/order"
    with_needs vivid
    local number=0 file
    while read -r file; do
        number=$((number + 1))
        [[ $file == */vivid.ko ]] && number=99
        cp "$file" "$cache/board.new/modules/$(printf '%02d' $number)-$(basename "$file")"
    done <"$cache/unpacked/order"
    cp "$cache"/unpacked/boot/vmlinuz-* "$cache/board.new/vmlinuz"
    cp "$(find "$cache/unpacked" -name busybox -type f)" "$cache/board.new/busybox"
    # whole or not at all
    mv "$cache/board.new" "$cache/board"
    rm -rf "$cache/unpacked" "$cache"/*.deb "$cache/apt"
    printf 'boot: %s and %d modules in %s after %d s\n' "$kernel" "$(find "$cache/board/modules" -type f | wc -l)" "$cache/board" $((SECONDS - start))
}

lacks() {
    local program
    for program in qemu-system-aarch64 aarch64-linux-gnu-gcc python3; do
        command -v $program >/dev/null || echo "$program"
    done
    rustc --print target-libdir --target $target 2>/dev/null | xargs -r test -d || echo "rustup target add $target"
    fetched || echo "Debian's arm64 kernel (tests/board/boot.sh --fetch)"
}

case ${1:-} in
    --fetch)
        fetched || { rm -rf "$cache/board.new"; fetch; }
        exit
        ;;
    --lacks)
        lacks
        exit
        ;;
esac

fetched || { rm -rf "$cache/board.new"; fetch; }
missing=$(lacks)
[[ -z $missing ]] || fail "missing: ${missing//$'\n'/, }"

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
# what `tests/ci.sh arm` has built already
cargo build --locked --release --target $target --bin tarsier
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
aarch64-linux-gnu-strip -o "$work/tarsier" "${CARGO_TARGET_DIR:-target}/$target/release/tarsier"
aarch64-linux-gnu-gcc -static -O1 -Wall -Werror -o "$work/control" tests/board/control.c
timeout --kill-after=10 "${TARSIER_BOOT_TIMEOUT:-1500}" python3 tests/board/boot.py --kernel "$cache/board/vmlinuz" --modules "$cache/board/modules" \
    --busybox "$cache/board/busybox" --control "$work/control" --program "$work/tarsier" --pack models/tarsier-s.tarsier --work "$work" "$@"
