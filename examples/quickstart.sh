#!/usr/bin/env bash
# examples/quickstart.sh — from a fresh Debian machine to a running web application, as a plain user.
#
#   packages   apt installs what is missing                            (root, or through sudo)
#   prepare    iechor goes into a virtual environment of the user, ubuntu:22.04 is pulled from the configured registry
#   base       where no registry answers: `iechor bootstrap` makes a Debian base, to be given as a named context instead
#   demo       examples/flask is built and run, and its page fetched
#
# Called by root, all but packages is done as the user who called sudo, or as iechor-demo, made for it. Settings:
# PORT=8000, VENV=~/.local/share/iechor/venv; arguments are further options of `iechor build`.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
port=${PORT:-8000}
venv=${VENV:-$HOME/.local/share/iechor/venv}
say() { printf '\n== %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "quickstart: cannot run '$*': you are not root, and there is no sudo; ask the administrator to" >&2
        return 1
    fi
}

packages() {
    local missing=() name
    for name in python3 python3-venv python3-dev gcc libc6-dev libcap-dev uidmap curl ca-certificates mmdebstrap; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    as_root apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}

prepare() {  # fails when there is no base to be had
    say "installing iechor into $venv"
    [ -x "$venv/bin/python" ] || /usr/bin/python3 -m venv "$venv"
    "$venv/bin/python" -m pip install -q "$source[prctl]"
    "$venv/bin/iechor" version
    say "pulling ubuntu:22.04"
    "$venv/bin/iechor" pull ubuntu:22.04
}

base() {  # bullseye while the archive has it: its pip installs system-wide, as that of ubuntu:22.04 does
    say "no registry answers: making $1 from this machine's Debian archive"
    "$venv/bin/iechor" bootstrap "$1"
}

demo() {  # demo IMAGE|"" [BUILD OPTION...]
    local context=() image=$1
    shift
    [ -z "$image" ] || context=(--build-context "ubuntu:22.04=docker-image://$image")
    PATH=$venv/bin:$PATH
    say "building examples/flask"
    iechor build -t test:latest "${context[@]}" "$@" "$source/examples/flask"
    say "running it"
    iechor run -d --name quickstart -p "127.0.0.1:$port:8000" test:latest
    trap 'iechor rm -f quickstart >/dev/null' EXIT
    for _ in $(seq 100); do
        if page=$(curl -fsS "http://localhost:$port" 2>/dev/null); then
            say "http://localhost:$port says"
            echo "$page"
            return
        fi
        sleep 0.2
    done
    echo "quickstart: the page does not answer; the container wrote:" >&2
    iechor logs quickstart >&2
    return 1
}

# As root: one of the steps above, as the plain user, from a copy of the source that they can read.
as_user() {
    local kept=() name
    for name in PORT VENV IECHOR_USERNS IECHOR_HOME IECHOR_SCRATCH http_proxy https_proxy no_proxy SSL_CERT_FILE PIP_CERT PIP_INDEX_URL PIP_FIND_LINKS; do
        if [ -n "${!name:-}" ]; then kept+=("$name=${!name}"); fi
    done
    (cd "$home" && setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups env -i HOME="$home" USER="$user" \
        PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 "${kept[@]}" \
        bash "$work/source/examples/quickstart.sh" "$@")
}

if [[ ${1:-} == --step ]]; then
    "${@:2}"
    exit
fi

packages
work=$(mktemp -d /var/tmp/iechor-quickstart.XXXXXX)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
if [ "$(id -u)" -eq 0 ]; then
    user=${SUDO_USER:-root}
    if [ "$user" = root ]; then
        user=iechor-demo
        id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
    fi
    home=$(getent passwd "$user" | cut -d: -f6)
    mkdir "$work/source"
    tar -C "$source" --exclude=.git --exclude='*.so' --exclude=build --exclude=__pycache__ -cf - . |
        tar -C "$work/source" -xf -
    chown -R "$user:" "$work/source"
    step() { as_user --step "$@"; }
else
    step() { bash "$source/examples/quickstart.sh" --step "$@"; }  # a process of its own: its errors end it alone
fi
image=
if ! step prepare; then
    for image in debian:bullseye debian:bookworm; do
        if step base "$image"; then break; fi
    done
fi
say "as the plain user ${user:-$(id -un)}:"
step demo "$image" "$@"
