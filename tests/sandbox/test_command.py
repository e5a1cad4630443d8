"""How the command starts, who it is, what it may, and how it ends."""

import shutil
from pathlib import Path

import pytest

from rootless_builder.sandbox.mounts import Tmpfs, standard
from rootless_builder.sandbox.spec import DEFAULT_CAPABILITIES, Limit
from tests.sandbox.conftest import Box

INSIDE = ("/\n", "/proc", "/sys", "/dev")  # where fds of mount points lead
DOCKER_MASK = 0xA80425FB  # the 14 capabilities of DEFAULT_CAPABILITIES


@pytest.mark.parametrize("init", [False, True])
def test_output_and_exit_code_come_back(box: Box, init: bool) -> None:
    result = box.run("sh", "-c", "echo out; echo err >&2; exit 7", init=init)
    assert (result.code, result.signal, result.out, result.err) == (7, None, "out\n", "err\n")


@pytest.mark.parametrize("init", [False, True])
def test_a_signal_is_told_apart_from_an_exit_code(box: Box, init: bool) -> None:
    if init:
        result = box.run("sh", "-c", "kill -SEGV $$", init=True)
    else:  # pid 1 is not hurt by its own signals
        result = box.run("sh", "-c", "sh -c 'kill -SEGV $$'; exit $?")
        assert (result.code, result.signal) == (139, None)
        return
    assert (result.code, result.signal) == (139, 11)


def test_the_command_is_pid_1_or_the_child_of_the_reaper(box: Box) -> None:
    assert box.sh("echo $$; cat /proc/1/comm; true").out == "1\nsh\n"
    assert box.sh("echo $PPID; cat /proc/1/comm; true", init=True).out == "1\niechor-init\n"


def test_the_environment_is_what_the_spec_says_and_home(box: Box) -> None:
    assert box.run("env", env=("PATH=/bin", "A=b=c", "X=\udcff")).out == "PATH=/bin\nA=b=c\nX=\udcff\nHOME=/root\n"
    assert box.run("env", env=("PATH=/bin", "HOME=/x")).out == "PATH=/bin\nHOME=/x\n"


def test_the_users_secrets_are_nowhere_in_proc(box: Box) -> None:
    """The reaper is a process of ours: neither its environment nor its memory may show."""
    script = "cat /proc/1/environ; cat /proc/1/maps; ls /proc/1/root/; readlink /proc/1/fd/0 /proc/1/cwd; exit 0"
    result = box.run("sh", "-c", script, init=True)
    assert result.out == ""
    assert result.err.count("Permission denied") == 3


def test_stdin_is_what_was_given_or_empty(box: Box) -> None:
    assert box.sh("cat").out == ""
    assert box.sh("cat", stdin="one\ntwo\n").out == "one\ntwo\n"


def test_only_the_three_fds_are_open(box: Box) -> None:
    for init in (False, True):
        assert box.sh("ls /proc/self/fd", init=init).out.split() == ["0", "1", "2", "3"]  # 3: ls reading the folder


def test_signals_umask_and_session_are_those_of_a_fresh_program(box: Box) -> None:
    script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; umask; awk '{print $6}' /proc/self/stat"
    for init, session in ((False, "1"), (True, "2")):
        result = box.run("sh", "-c", "exec sh -c \"$0\"", script, init=init)
        lines = result.out.split()
        assert lines[1] == lines[3] == "0000000000000000"
        assert lines[-2:] == ["0022", session]


def test_a_command_that_cannot_be_started(plain: Box) -> None:
    (plain.root / "bin/binary").write_bytes(b"\x7fELFno")
    (plain.root / "bin/lost").write_text("#!/bin/none\n")
    for name in ("binary", "lost"):
        (plain.root / "bin" / name).chmod(0o755)
    for argv, status, words in (
        (("nothing",), 127, "cannot run nothing: not found in PATH (/bin)"),
        (("/no/such",), 127, "cannot run /no/such: no such file in the image"),
        (("/etc/passwd",), 126, "cannot run /etc/passwd: Permission denied"),
        (("/tmp",), 126, "cannot run /tmp: Permission denied"),
        (("/bin/binary",), 126, "cannot run /bin/binary: Exec format error"),
        (("/bin/lost",), 127, "cannot run /bin/lost: it is there, its interpreter or loader is not"),
        ((), 127, "cannot run the command: it is empty"),
    ):
        for init in (False, True):
            error = plain.run(*argv, init=init).error
            assert error is not None
            assert (error["kind"], error["status"], error["message"]) == ("ExecFailed", status, words)


def test_a_working_directory_that_is_missing_or_a_file(box: Box) -> None:
    error = box.run("true", cwd="/none").error
    assert error is not None and error["message"] == "cannot enter /none: No such file or directory"
    assert error["hint"]
    error = box.run("true", cwd="/etc/passwd").error
    assert error is not None and error["message"] == "cannot enter /etc/passwd: Not a directory"
    assert box.sh("pwd", cwd="/home/app").out == "/home/app\n"


def test_a_working_directory_through_proc_does_not_lead_out(box: Box) -> None:
    """CVE-2024-21626: a cwd of /proc/self/fd/N, N being left open on the host's side."""
    for number in range(3, 80):
        result = box.run("pwd", "-P", cwd=f"/proc/self/fd/{number}")
        refused = result.error is not None and "cannot enter" in result.error["message"]
        assert refused or result.out.startswith(INSIDE), (number, result)


@pytest.mark.parametrize("init", [False, True])
def test_users_are_those_of_the_image(many_ids: Box, init: bool) -> None:
    for user, ids in {
        "": "0 0 0,4", "root": "0 0 0,4", "0": "0 0 0,4", "app": "1000 1001 1001,4,2000",
        "1000": "1000 1001 1001,4,2000", "app:extra": "1000 2000 2000", "app:77": "1000 77 77", "1234": "1234 0 0",
        "1234:4": "1234 4 4", "nogroup": "1005 1005 1005", ":4": "0 4 4",
    }.items():
        out = many_ids.sh("id -u; id -g; id -G", user=user, init=init).out.splitlines()
        uid, gid, groups = ids.split()
        assert out[:2] == [uid, gid], user
        assert set(out[2].split()) == set(groups.split(",")), user


def test_home_is_the_users(many_ids: Box) -> None:
    assert many_ids.sh("echo $HOME", user="app").out == "/home/app\n"
    assert many_ids.sh("echo $HOME", user="4242").out == "/\n"
    assert many_ids.sh("echo $HOME", user="nogroup").out == "/\n"


def test_a_user_that_is_not_there(box: Box) -> None:
    error = box.run("true", user="nobody").error
    assert error is not None and error["kind"] == "UserNotFound"
    assert error["message"] == "cannot run as nobody: no user nobody in the image's /etc/passwd"
    error = box.run("true", user="0:none").error
    assert error is not None
    assert error["message"] == "cannot run as 0:none: no group none in the image's /etc/group"


def test_one_id_cannot_become_another(plain: Box) -> None:
    """Without the fakeroot supervisor; the message names the way out."""
    error = plain.run("true", user="app").error
    assert error is not None and "only uid 0 exists in this sandbox" in error["message"]
    assert "subuid" in error["hint"]


def test_the_passwd_of_the_image_cannot_hang_or_mislead(fresh: Box) -> None:
    (fresh.root / "etc/passwd").unlink()
    assert fresh.sh("id -u").out == "0\n"
    (fresh.root / "etc/passwd").symlink_to("/proc/1/root/etc/passwd")
    (fresh.root / "etc/group").unlink()
    (fresh.root / "etc/group").symlink_to("/dev/zero")
    assert fresh.sh("id -u").out == "0\n"


def test_capabilities_are_dockers(box: Box) -> None:
    for init in (False, True):
        out = box.sh("grep ^Cap /proc/self/status", init=init).out.split()
        sets = {name: int(value, 16) for name, value in zip(out[0::2], out[1::2], strict=True)}
        assert sets == {"CapInh:": 0, "CapAmb:": 0, "CapPrm:": DOCKER_MASK, "CapEff:": DOCKER_MASK,
                        "CapBnd:": DOCKER_MASK}
    assert box.run("mount", "-t", "tmpfs", "none", "/tmp").code == 1
    assert len(DEFAULT_CAPABILITIES) == 14


def test_capabilities_are_gone_with_the_user(many_ids: Box) -> None:
    out = many_ids.sh("grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status", user="app").out.split()
    assert set(out[1::2]) == {"0" * 16}


def test_no_new_privileges_only_on_request(box: Box) -> None:
    assert "0" in box.sh("grep NoNewPrivs /proc/self/status").out
    assert "1" in box.sh("grep NoNewPrivs /proc/self/status", no_new_privileges=True).out


def test_a_set_uid_program_works_without_no_new_privileges(many_ids: Box, show_euid: Path) -> None:
    shutil.copy(show_euid, many_ids.root / "bin/euid")
    many_ids.own(many_ids.root)
    many_ids.sh("chmod 4755 /bin/euid")
    assert many_ids.run("euid", user="app").code == 0
    assert many_ids.run("euid", user="app", no_new_privileges=True).code == 1000 % 256


def test_limits_are_set(box: Box) -> None:
    limits = (Limit(name="nofile", soft=111, hard=222), Limit(name="core", soft=0, hard=0))
    assert box.sh("ulimit -n; ulimit -Hn; ulimit -c", limits=limits).out == "111\n222\n0\n"
    error = box.run("true", limits=(Limit(name="bogus", soft=1, hard=1),)).error
    assert error is not None and "no such limit" in error["message"]


def test_the_host_name_is_the_containers_own(box: Box) -> None:
    before = box.person.run("hostname").stdout
    assert box.sh("hostname", hostname="box").out == "box\n"
    assert box.person.run("hostname").stdout == before


def test_a_read_only_root(box: Box) -> None:
    mounts = (*standard(), Tmpfs(target="/tmp"))
    result = box.run("sh", "-c", "echo x > /tmp/a && echo y > /dev/shm/b && touch /c", read_only=True, mounts=mounts)
    assert result.code == 1
    assert "Read-only file system" in result.err


def test_a_plain_users_program_may_open_its_stdout_anew(many_ids: Box) -> None:
    assert many_ids.sh("echo hello > /dev/stdout", user="app").out == "hello\n"
    assert many_ids.sh("echo hello > /dev/stdout", user="app", init=True).out == "hello\n"


def test_another_root_is_an_error_with_its_path(fresh: Box) -> None:
    (fresh.root / "bin/busybox").unlink()
    error = fresh.run("sh").error
    assert error is not None and error["status"] == 127


def test_further_fds_become_3_and_on(box: Box) -> None:
    code = """
ends = [os.pipe() for _ in range(3)]
for number, (_, end) in enumerate(ends):
    os.write(end, f"pipe {number}\\n".encode())
    os.close(end)
spec = read_spec(open("spec.json").read(), ids)
sandbox = launch(spec, pass_fds=[end for end, _ in reversed(ends)])
print(finished(sandbox)["out"], end="")
"""
    box.person.write("spec.json", box.spec("sh", "-c", "cat <&3; cat <&4; cat <&5; ls /proc/self/fd | wc -l").to_json())
    done = box.script(code)
    assert (done.stdout, done.stderr) == ("pipe 2\npipe 1\npipe 0\n7\n", "")
