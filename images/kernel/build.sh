#!/bin/sh
# Builds the guest kernel from a plain source tree, which is left as it was.
#
#   build.sh SOURCE_TREE OUTPUT [ARCH]
#
# ARCH is x86_64 or aarch64 (default: this machine's). Ends with OUTPUT/vmlinux (for aarch64 OUTPUT/Image), which is what
# Firecracker and QEMU boot, and OUTPUT/config. OUTPUT/build holds the objects and may be removed.
# Needs make, gcc, flex, bison, bc, libelf-dev, and for another architecture its compiler.
#
# CONFIGURE_ONLY=1 stops when the configuration is made and checked. JOBS is the number of processes (default: all
# processors). CROSS_COMPILE is as the kernel knows it.
set -eu

die() {
    echo "build.sh: $*" >&2
    exit 1
}

[ $# -ge 2 ] && [ $# -le 3 ] || die "usage: build.sh SOURCE_TREE OUTPUT [x86_64|aarch64]"
here=$(cd "$(dirname "$0")" && pwd)
source_tree=$(cd "$1" && pwd) || die "no source tree at $1"
[ -f "$source_tree/Kconfig" ] || die "$source_tree holds no kernel source: no Kconfig in it"
mkdir -p "$2/build"
output=$(cd "$2" && pwd)
architecture=${3:-$(uname -m)}
case $architecture in
x86_64) kernel_architecture=x86_64 image=vmlinux made=vmlinux ;;
aarch64) kernel_architecture=arm64 image=Image made=arch/arm64/boot/Image ;;
*) die "no configuration for $architecture: x86_64 or aarch64" ;;
esac
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}

# The same kernel for the same source and configuration, whoever builds it and when.
export KBUILD_BUILD_USER=agentkernel KBUILD_BUILD_HOST=agentkernel
export KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970'
export LC_ALL=C

make_kernel() {
    make -C "$source_tree" O="$output/build" ARCH="$kernel_architecture" "$@"
}

fragments="$here/common.config $here/$architecture.config"
config="$output/build/.config"
# shellcheck disable=SC2086 # two paths
cat $fragments >"$output/fragment"
make_kernel --silent tinyconfig
# The last line that names a symbol counts, so the fragment wins over tinyconfig.
cat "$output/fragment" >>"$config"
make_kernel --silent olddefconfig 2>"$output/kconfig.log" || die "olddefconfig failed: $(cat "$output/kconfig.log")"

# Kconfig drops without a word what it can't grant: a symbol that is gone, renamed, or whose dependency is missing.
unmet=0
while IFS= read -r line; do
    case $line in
    CONFIG_*=*)
        symbol=${line%%=*}
        grep -qxF -- "$line" "$config" && continue
        got=$(grep -E "^(# )?$symbol[= ]" "$config" || echo "no such symbol, or a dependency is missing")
        ;;
    '# CONFIG_'*' is not set')
        symbol=${line#\# }
        symbol=${symbol%% *}
        got=$(grep -E "^$symbol=" "$config") || continue
        ;;
    *) continue ;;
    esac
    echo "build.sh: unmet: wanted \`$line\`, got \`$got\`" >&2
    unmet=$((unmet + 1))
done <"$output/fragment"
[ "$unmet" -eq 0 ] || die "$unmet lines of the fragment did not take in $source_tree"
cp "$config" "$output/config"
[ -z "${CONFIGURE_ONLY:-}" ] || exit 0

make_kernel --silent -j"$jobs" "$image"
# Written beside and renamed: whoever sees it sees all of it.
cp "$output/build/$made" "$output/$image.new"
mv "$output/$image.new" "$output/$image"
