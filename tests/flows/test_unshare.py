"""`iechor unshare`, `iechor bootstrap` and `iechor doctor`, as people type them."""

import json
import os
import pty
import signal
import subprocess
import tarfile
import time

import pytest

from tests.conftest import Person


def test_root_s_view_of_ones_own_files(plain_user: Person) -> None:
    person = plain_user
    script = """id -u; pwd; umask; cd work; echo > f; chown 42:4204350 f; chmod 4755 f; mknod n c 1 3; mkdir -m 0 d
        chroot / stat -c '%u:%g %a %F' "$PWD"/f "$PWD"/n "$PWD"/d; echo x > d/in; echo "$HOME $LEFT"; exit 7"""
    (person.home / "work").mkdir()
    os.chown(person.home / "work", person.uid, person.gid)
    done = person.iechor("unshare", "sh", "-c", script, code=7, env={"LEFT": "as it was"})
    assert done.stdout.splitlines() == [
        "0", str(person.home), "0022", "42:4204350 4755 regular file", "0:0 644 character special file",
        "0:0 0 directory", f"{person.home} as it was"]
    assert done.stderr == ""
    for path in (person.home / "work").rglob("*"):
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (person.uid, person.gid)
        assert path.is_file() or path.is_dir()
    assert person.run("rm", "-r", "work").returncode == 0


def test_becoming_another_user_with_the_hosts_own_program(plain_user: Person) -> None:
    """Not su: newer PAMs ask for the shadow file even for root, by a program whose set-gid bit means nothing here."""
    script = ("mkdir -m 1777 t; setpriv --reuid nobody --regid nogroup --init-groups "
              "sh -c 'id -u; touch t/f; ! touch g 2>/dev/null'; "
              "stat -c %U t/f; rm -r t")
    assert plain_user.iechor("unshare", "sh", "-c", script).stdout == "65534\nnobody\n"


def test_what_was_given_away_can_be_unmounted(plain_user: Person) -> None:
    """The supervisor holds files for a while after they got an owner; no mount is busy for that."""
    script = ("mkdir m; mount -t tmpfs none m; echo > m/f; chown 5 m/f; umount m; "
              "mount --bind . m; mkdir m/d; chown 6 m/d; umount m")
    assert plain_user.iechor("unshare", "sh", "-c", script).stderr == ""


def test_a_table_takes_owners_to_the_next_call(plain_user: Person) -> None:
    table = plain_user.home / "owners"
    plain_user.iechor("unshare", "--table", table, "sh", "-c",
                      "echo > f; chown 5:6 f; mknod n b 8 1; ln -s f l; chown -h 9 l")
    assert table.stat().st_uid == plain_user.uid
    seen = plain_user.iechor("unshare", "--table", table, "stat", "-c", "%u:%g %t:%T", "f", "n", "l").stdout
    assert seen == "5:6 0:0\n0:0 8:1\n9:0 0:0\n"
    assert plain_user.iechor("unshare", "stat", "-c", "%u", "f").stdout == "0\n"
    tar = plain_user.iechor("unshare", "--table", table, "tar", "-cf", "-", "f", "n", env={"TAR_OPTIONS": ""})
    assert tar.returncode == 0
    table.write_bytes(b"not a table")
    refused = plain_user.iechor("unshare", "--table", table, "true", code=125)
    assert "cannot read an owner table" in refused.stderr
    assert table.read_bytes() == b"not a table"


def test_streams_signals_and_exit_codes_are_the_command_s(plain_user: Person) -> None:
    assert plain_user.iechor("unshare", "cat", input="typed\n").stdout == "typed\n"
    assert "no-such-command" in plain_user.iechor("unshare", "no-such-command", code=127).stderr
    assert plain_user.iechor("unshare", "sh", "-c", "kill -9 $$", code=137).stdout == ""
    assert plain_user.iechor("unshare", "--", "sh", "-c", "echo $0", "-x").stdout == "-x\n"
    script = "trap 'echo got; exit 3' TERM; echo up; sleep 60 & wait"
    process = plain_user.start(*plain_user.command("unshare", "sh", "-c", script), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert (process.stdout.read(), process.wait(10)) == ("got\n", 3)


def test_a_terminal_is_the_command_s_own(plain_user: Person) -> None:
    """Job control needs a controlling terminal; Ctrl-C reaches the command and nobody else."""
    master, slave = pty.openpty()
    script = "tty >/dev/null && echo ready; cat || echo ended $?"
    process = plain_user.start(*plain_user.command("unshare", "sh", "-c", script), stdin=slave, stdout=slave,
                               stderr=slave)
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 20
    while b"ready" not in seen and time.monotonic() < deadline:
        seen += os.read(master, 1000)
    os.write(master, b"typed\n")
    while seen.count(b"typed") < 2 and time.monotonic() < deadline:  # the terminal's echo, then what cat makes of it
        seen += os.read(master, 1000)
    os.write(master, b"\x03")
    try:
        while data := os.read(master, 1000):
            seen += data
    except OSError:  # EIO: the other end is closed
        pass
    os.close(master)
    assert process.wait(10) == 130, seen


@pytest.mark.parametrize("who", ["subuid_user", "root_user"])
def test_where_the_kernel_keeps_owners_it_does_so_here(who: str, request: pytest.FixtureRequest) -> None:
    person: Person = request.getfixturevalue(who)
    assert person.iechor("unshare", "sh", "-c", "id -u; echo > f; chown 42 f; stat -c %u f").stdout == "0\n42\n"
    assert (person.home / "f").stat().st_uid not in (0, person.uid)
    assert "the kernel keeps them" in person.iechor("unshare", "--table", "t", "true", code=125).stderr


def test_a_base_from_this_machine_s_archive(plain_user: Person) -> None:
    """mmdebstrap, whole and unmodified, for a user with one uid; then RUN in what it made."""
    person = plain_user
    done = person.iechor("bootstrap", "-q", "--variant=essential", "--include", "passwd", "debian:bookworm",
                         env={"TMPDIR": str(person.home)}, timeout=280)
    assert done.stdout.startswith("sha256:") and done.stderr == ""
    assert set(os.listdir(person.home)) <= {"store", "scratch"}
    assert person.iechor("images", "--format", "{{.Repository}}:{{.Tag}}").stdout == "debian:bookworm\n"
    person.iechor("save", "-o", person.home / "x.tar", "debian:bookworm")
    with tarfile.open(person.home / "x.tar") as outer:
        [image] = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]
        [layer] = image["Layers"]
        with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
            found = {info.name: (info.uid, info.gid, info.mode) for info in inner}
    assert found["etc/shadow"] == (0, 42, 0o640)
    assert found["usr/bin/passwd"] == (0, 0, 0o4755) and found["usr/bin/chage"] == (0, 42, 0o2755)
    assert found["var/mail"] == (0, 8, 0o2775) and found["tmp"] == (0, 0, 0o1777)
    assert not [name for name in found if name.startswith("dev/")]
    person.write("c/iEchorfile", "FROM debian:bookworm\n"
                                 "RUN grep -q bookworm /etc/os-release && su daemon -s /bin/sh -c id\n")
    assert "uid=1(daemon)" in person.iechor("build", "--progress=plain", "c").stderr


def test_no_base_is_called_what_it_is_not(plain_user: Person) -> None:
    for words in (["ubuntu:22.04"], ["debian:"], ["debian:../x"]):
        assert "only Debian can be made" in plain_user.iechor("bootstrap", *words, code=2).stderr
    for name in ("ubuntu:22.04", "debian:trixie", "docker.io/library/alpine"):
        refused = plain_user.iechor("bootstrap", "-t", name, "debian:bookworm", code=2).stderr
        assert f"cannot call it {name.removeprefix('docker.io/library/')}" in refused and "hint:" in refused
    missing = plain_user.iechor("bootstrap", "-q", "debian:nosuchsuite", code=7)
    assert "has no suite nosuchsuite" in missing.stderr
    assert plain_user.iechor("images", "-q").stdout == ""


@pytest.mark.parametrize("who, keeper", [
    ("plain_user", "the fakeroot supervisor"), ("subuid_user", "a subordinate id range"), ("root_user", "real root")])
def test_the_doctor_says_what_was_tried_and_what_comes_of_it(who: str, keeper: str,
                                                             request: pytest.FixtureRequest) -> None:
    person: Person = request.getfixturevalue(who)
    said = person.iechor("doctor").stdout
    assert "yes overlayfs" in said and "tried: an overlay mounted in the scratch folder" in said
    assert keeper in said.splitlines()[-1] and "overlays are mounted" in said.splitlines()[-1]
    told = json.loads(person.iechor("doctor", "--format", "json").stdout)
    assert told["OK"] and {finding["name"] for finding in told["Host"]} >= {"kernel", "overlayfs", "fakeroot"}
    assert f"Path taken:           {told['Path']}" in person.iechor("info").stdout
    for line in said.splitlines():
        assert not line.startswith("no ") or "mend:" in said
