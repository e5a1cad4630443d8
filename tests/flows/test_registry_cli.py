"""pull, push, login, logout as somebody at a shell: what they see, which exit code, and Ctrl-C."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from tests.registry_proxy import Fault, serve_faults
from tests.registry_server import serve_registry, skopeo, tiny_layout


@pytest.fixture
def locked(shared):
    with serve_registry(shared / "locked", users={"ann": "secret"}) as server:
        yield server


def test_a_plain_user_pulls_by_short_name_and_pushes(plain_user, registry, busybox):
    plain_user.mirror(registry)
    pulled = plain_user.iechor("pull", busybox)
    assert pulled.stdout.startswith("sha256:") and registry.host in pulled.stderr
    target = f"{registry.host}/{plain_user.name}/busybox:copy"
    pushed = plain_user.iechor("push", busybox, target).stdout.strip()
    there = skopeo("inspect", "--format", "{{.Digest}}", f"docker://{target}", *registry.skopeo_flags()).strip()
    assert pushed == there


def test_login_and_logout(plain_user, locked, shared):
    locked.fill(tiny_layout(plain_user.home / "layout"), "team/tiny:1")
    name = f"{locked.host}/team/tiny:1"
    refused = plain_user.iechor("pull", name, code=9)
    assert f"cannot pull {name}: {locked.host} wants a login" in refused.stderr
    assert f"iechor login {locked.host}" in refused.stderr
    wrong = plain_user.iechor("login", locked.host, "-u", "ann", "--password-stdin", input="wrong\n", code=9)
    assert "refuses the password of ann" in wrong.stderr and "wrong" not in wrong.stderr.replace("wrong password", "")
    plain_user.iechor("login", locked.host, "-u", "ann", "--password-stdin", input="secret\n")
    kept = plain_user.home / ".config/iechor/auth.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and kept.stat().st_uid == plain_user.uid
    plain_user.iechor("pull", name)
    plain_user.iechor("logout", locked.host)
    assert json.loads(kept.read_text())["auths"] == {}
    plain_user.iechor("pull", name, code=9)


def test_what_is_not_there_and_who_is_not_there(plain_user, registry, shared):
    missing = plain_user.iechor("pull", f"{registry.host}/no/such:1", code=7)
    assert f"cannot pull {registry.host}/no/such:1: {registry.host} has no such image" in missing.stderr
    down = plain_user.iechor("pull", "127.0.0.1:1/a:1", code=8)
    assert "no connection to 127.0.0.1:1: Connection refused" in down.stderr
    odd = plain_user.iechor("pull", "Not/A/Name", code=2)
    assert "lower case" in odd.stderr
    assert not (plain_user.store / "refs").exists() or not list((plain_user.store / "refs").iterdir())


def test_a_mistake_in_the_configuration_is_shown_with_its_line(plain_user):
    path = plain_user.write(".config/iechor/config.toml", 'jobs = 4\n[registries."docker.io"]\nmirors = []\n')
    done = plain_user.iechor("pull", "a", code=2)
    assert f"{path}:3" in done.stderr and "mirrors" in done.stderr


def test_ctrl_c_ends_a_pull_at_once_and_the_next_one_goes_on(plain_user, registry):
    noise = random.Random(2).randbytes(400_000)
    registry.fill(tiny_layout(plain_user.home / "layout", [{"noise": noise}]), "slow/noise:1")
    with serve_faults(registry) as proxy:
        raw = json.loads(skopeo("inspect", "--raw", f"docker://{registry.host}/slow/noise:1",
                                *registry.skopeo_flags()))
        layer = raw["layers"][0]["digest"]
        proxy.faults.append(Fault("GET", layer, cut=300_000, stall=60))
        name = f"{proxy.host}/slow/noise:1"
        process = plain_user.start(*plain_user.command("pull", name), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        partial = plain_user.store / "tmp"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (partial.is_dir() and any(
                path.stat().st_size >= 262_144 for path in partial.glob("partial.*"))):
            time.sleep(0.02)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130 and "Traceback" not in said
        assert time.monotonic() - started < 5
        plain_user.iechor("pull", name)
        assert any(seen.headers.get("Range", "").startswith("bytes=2") or seen.headers.get("Range") == "bytes=300000-"
                   for seen in proxy.requests)


def test_a_full_disk_is_said_and_leaves_no_image(plain_user, registry):
    """The store is a tmpfs too small for the layer, in a mount namespace of the user's own."""
    noise = random.Random(3).randbytes(3 << 20)
    registry.fill(tiny_layout(plain_user.home / "layout", [{"noise": noise}]), "big/one:1")
    (plain_user.home / "store").mkdir()
    os.chown(plain_user.home / "store", plain_user.uid, plain_user.gid)
    command = ('mount -t tmpfs -o size=1m tmpfs "$IECHOR_HOME" && { "$@" pull ' + f"{registry.host}/big/one:1"
               ' || echo "code $?"; ls "$IECHOR_HOME/tmp" "$IECHOR_HOME/images"; }')
    done = plain_user.run("unshare", "-Urm", "sh", "-c", command, "sh", *plain_user.command())
    assert "code 13" in done.stdout and "no space is left" in done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "partial" not in done.stdout and "sha256" not in done.stdout
