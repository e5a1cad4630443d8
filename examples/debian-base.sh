#!/usr/bin/env bash
# debian-base.sh OUTPUT.tar — a small Debian root file system from this machine's own archive, as a tar.
#
# Stands in for ubuntu:22.04 where no registry answers (`--build-context ubuntu:22.04=OUTPUT.tar`) and in the tests.
# Bullseye while the archive has it: its pip installs system-wide, as that of Ubuntu 22.04 does; else bookworm, with
# pip told so. What the host needs to reach its archive and package index (apt settings, certificates, pip settings)
# goes in too, so that RUN reaches them likewise. As root, or as a user with a subordinate id range.
set -euo pipefail

output=${1:?usage: debian-base.sh OUTPUT.tar}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first URI of the host's apt sources for a suite that begins with $1, deb822 or one-line format.
archive_of() {
    { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        awk -v suite="^($1)\$" '
            /^URIs:/ { uri = $2 }
            /^Suites:/ { for (i = 2; i <= NF; i++) if (!found && $i ~ suite) { print uri; found = 1 } }
            /^deb / { sub(/\[[^]]*\] /, ""); if (!found && $3 ~ suite) { print $2; found = 1 } }'
}

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
main=$(archive_of "$codename")
security=$(archive_of "$codename(-security|/updates)" || true)
[ -n "$main" ] || { echo "debian-base.sh: no apt source for $codename on this machine" >&2; exit 1; }

has() { curl -sfIL -o /dev/null "$1/dists/$2/Release" || curl -sfIL -o /dev/null "$1/dists/$2/InRelease"; }

suite=bullseye
has "$main" "$suite" || suite=bookworm
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
    if [ "$suite" != bullseye ]; then echo "break-system-packages = true"; fi
} >"$work/keep/etc/pip.conf"

# Without device nodes, as base images are: every container gets its own /dev.
mode=auto
[ "$(id -u)" -eq 0 ] && mode=root
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)} mmdebstrap --mode="$mode" --variant=minbase \
    --skip=output/dev --include=ca-certificates --aptopt="$work/apt.conf" --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="tar -C '$work/keep' -cf - . | tar -C \"\$1\" --no-same-owner -xf -" \
    --customize-hook='chroot "$1" update-ca-certificates' \
    "$suite" "$work/base.tar" "$work/sources.list" >&2
mv "$work/base.tar" "$output"
echo "$suite" >&2
