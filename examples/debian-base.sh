#!/usr/bin/env bash
# debian-base.sh OUTPUT.tar — a small Debian root file system from this machine's own archive, as a tar.
#
# Stands in for ubuntu:22.04 where no registry answers (`--build-context ubuntu:22.04=OUTPUT.tar`) and in the tests, as
# root or as a user with a subordinate id range; `iechor bootstrap` needs neither. Bullseye while the archive has it: its
# pip installs system-wide, as that of Ubuntu 22.04 does; else bookworm, with pip told so.
set -euo pipefail

output=${1:?usage: debian-base.sh OUTPUT.tar}
bootstrap=$(cd "$(dirname "$0")/../rootless_builder" && pwd)/bootstrap.sh
suite=bullseye
"$bootstrap" has "$suite" || suite=bookworm
"$bootstrap" "$output" "$suite"
echo "$suite" >&2
