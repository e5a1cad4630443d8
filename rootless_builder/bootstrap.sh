#!/usr/bin/env bash
# bootstrap.sh OUTPUT.tar SUITE [VARIANT [PACKAGE,...]] — a small Debian from this machine's own archive, as a tar.
#
# Run by `iechor bootstrap` as root of a namespace, and by examples/debian-base.sh as whoever calls it. What the host
# needs to reach its archive and package index (apt settings, certificates, pip settings) goes in too, so that RUN
# reaches them likewise. `bootstrap.sh has SUITE` tells whether the archive has a suite.
set -euo pipefail

fail() { echo "$1" >&2; exit 3; }

# The first URI of the host's apt sources for a suite that begins with $1, deb822 or one-line format.
archive_of() {
    { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        awk -v suite="^($1)\$" '
            /^URIs:/ { uri = $2 }
            /^Suites:/ { for (i = 2; i <= NF; i++) if (!found && $i ~ suite) { print uri; found = 1 } }
            /^deb / { sub(/\[[^]]*\] /, ""); if (!found && $3 ~ suite) { print $2; found = 1 } }'
}

has() { curl -sfIL -o /dev/null "$1/dists/$2/Release" || curl -sfIL -o /dev/null "$1/dists/$2/InRelease"; }

output=${1:?usage: bootstrap.sh OUTPUT.tar SUITE [VARIANT [PACKAGE,...]]}
suite=${2:?usage: bootstrap.sh OUTPUT.tar SUITE [VARIANT [PACKAGE,...]]}
variant=${3:-minbase}
include=ca-certificates${4:+,$4}
for program in mmdebstrap curl apt-config; do
    command -v "$program" >/dev/null || fail "$program is not installed"
done
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
main=$(archive_of "$codename")
security=$(archive_of "$codename(-security|/updates)")
[ -n "$main" ] || fail "this machine has no apt source for ${codename:-Debian}"
if [ "$output" = has ]; then
    has "$main" "$suite" && exit 0
    exit 1
fi
has "$main" "$suite" || fail "its archive $main has no suite $suite"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    echo "deb $main $suite main"
    if [ -n "$security" ] && has "$security" "$suite-security"; then echo "deb $security $suite-security main"; fi
} >"$work/sources.list"

# apt: whatever the host says about how archives are fetched (proxies, dates); its lists of languages do not matter.
apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-|Retries|ForceIPv4|ForceIPv6|Languages|IndexTargets::[^ ]*::DefaultEnabled)' \
    >"$work/apt.conf" || true

mkdir -p "$work/keep/etc/apt/apt.conf.d" "$work/keep/usr/local/share/ca-certificates"
cp "$work/apt.conf" "$work/keep/etc/apt/apt.conf.d/90host"
cp /usr/local/share/ca-certificates/*.crt "$work/keep/usr/local/share/ca-certificates/" 2>/dev/null || true
{
    echo "[global]"
    for key in index-url cert trusted-host proxy; do
        value=$(PIP_DISABLE_PIP_VERSION_CHECK=1 /usr/bin/python3 -m pip config get "global.$key" 2>/dev/null || true)
        if [ -n "$value" ]; then echo "$key = $value"; fi
    done
    # From bookworm on, pip wants to be told that it may install system-wide, as that of Ubuntu 22.04 does unasked.
    if [ "$suite" != bullseye ]; then echo "break-system-packages = true"; fi
} >"$work/keep/etc/pip.conf"

# Without device nodes, as base images are: every container gets its own /dev.
mode=auto
[ "$(id -u)" -eq 0 ] && mode=root
namespace=()
if [ "$mode" = root ] && [ "$(tr -d ' ' </proc/self/uid_map)" != 004294967295 ]; then
    # Root of a user namespace: sysfs belongs to whose network it is, and devpts wants a group that need not exist. The
    # packages do with a few devices of the host.
    namespace=(--skip=chroot/mount/sys,chroot/mount/dev
        --setup-hook='mkdir -p "$1/dev" && for name in null zero full random urandom tty; do
            : >"$1/dev/$name" && mount --bind "/dev/$name" "$1/dev/$name"; done'
        --customize-hook='for name in null zero full random urandom tty; do umount -l "$1/dev/$name"; done')
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)} mmdebstrap --mode="$mode" --variant="$variant" --skip=output/dev \
    --include="$include" --aptopt="$work/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="tar -C '$work/keep' -cf - . | tar -C \"\$1\" --no-same-owner -xf -" \
    --customize-hook='chroot "$1" update-ca-certificates' "${namespace[@]}" \
    "$suite" "$work/base.tar" "$work/sources.list" >&2
mv "$work/base.tar" "$output"
