"""`iechor run` in the foreground: what a user types, and what the application sees."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.running import Box, box, layout, plain, until

__all__ = ["box", "layout", "plain"]


def test_streams_and_exit_code_are_the_applications(box: Box) -> None:
    done = box.run("--rm", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert box.run("--rm --init", "sh", "-c", "kill -TERM $$", code=143).stdout == ""


def test_owners_of_the_image_are_seen_and_a_user_can_be_chosen(box: Box) -> None:
    assert box.out("", "stat", "-c", "%U:%G %a", "/home/app") == "app:app 755\n"
    assert box.out("-u app", "sh", "-c", "id -un; id -gn; id -Gn; echo $HOME") == "app\napp\napp video\n/home/app\n"
    assert box.out("-u 1000:44 -w /home/app", "sh", "-c", "id -u; id -g; touch new; stat -c %u:%g new; pwd") == (
        "1000\n44\n1000:44\n/home/app\n")
    failed = box.run("--rm -u nobody-knows", "true", code=125)
    assert "nobody-knows" in failed.stderr


def test_the_image_stays_as_it_is_and_nothing_is_left(box: Box) -> None:
    box.out("", "sh", "-c", "rm -rf /etc /home; mkdir -p /a/b/c; echo x > /bin/new; chmod 0 /a/b")
    assert box.out("", "sh", "-c", "ls -d /etc /home/app; ls /a /bin/new 2>&1 | wc -l") == "/etc\n/home/app\n2\n"
    folder = box.person.scratch / "containers"
    assert (os.listdir(folder), os.listdir(folder / "names")) == (["names"], [])


def test_the_application_is_pid_1_unless_init(plain: Box) -> None:
    assert plain.out("", "sh", "-c", "echo $$") == "1\n"
    assert plain.out("--init", "sh", "-c", "[ $$ != 1 ] && echo no") == "no\n"


def test_environment_and_entrypoint(plain: Box) -> None:
    plain.person.write("env", "# a comment\nFROM_FILE=f\nBOTH=file\nASKED\n")
    done = plain.iechor("run", "--rm", "--env-file", plain.person.home / "env", "-e", "BOTH=cli", "-e", "ASKED",
                        "-e", "MISSING", plain.image, "env", env={"ASKED": "from the caller"})
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (seen["FROM_FILE"], seen["BOTH"], seen["ASKED"]) == ("f", "cli", "from the caller")
    assert "MISSING" not in seen and seen["HOME"] == "/root" and seen["PATH"].startswith("/usr/local/sbin")
    assert set(seen) == {"FROM_FILE", "BOTH", "ASKED", "HOME", "PATH", "HOSTNAME", "container"}
    assert plain.out("--entrypoint echo", "a", "b") == "a b\n"
    assert plain.iechor("run", "--rm", "--entrypoint", '["echo","x"]', plain.image, "y").stdout == "x y\n"


def test_standard_input(plain: Box) -> None:
    assert plain.out("-i", "cat", input="typed\n" * 20_000) == "typed\n" * 20_000
    assert plain.out("", "cat", input="not given on") == ""
    assert plain.out("-i", "head", "-c", "2", input="x" * 1_000_000) == "xx"


def test_volumes_tmpfs_and_read_only(plain: Box) -> None:
    plain.person.write("data/in", "given\n")
    folder = plain.person.home / "data"
    assert plain.out(f"-v {folder}:/d", "sh", "-c", "cat /d/in; echo back > /d/out") == "given\n"
    assert (folder / "out").read_text() == "back\n" and (folder / "out").stat().st_uid == plain.person.uid
    refused = plain.run(f"--rm -v {folder}:/d:ro", "sh", "-c", "echo x > /d/in", code=1)
    assert "Read-only file system" in refused.stderr
    assert plain.out("-v ./data/in:/etc/passwd:ro", "cat", "/etc/passwd", cwd=plain.person.home) == "given\n"
    script = "touch /x || echo closed; touch /t/x /v/x && echo open; stat -f -c %T /t"
    done = plain.run("--rm --read-only --tmpfs /t:size=1m -v /v", "sh", "-c", script)
    assert done.stdout == "closed\nopen\ntmpfs\n"
    missing = plain.run("--rm -v /no/such:/d", "true", code=125)
    assert "/no/such" in missing.stderr and "mkdir -p /no/such" in missing.stderr


def test_volumes_of_the_image_begin_with_its_content_and_stay_writable(box: Box) -> None:
    box.iechor("tag", box.image, "box:1")
    box.person.write("vols/iEchorfile", 'FROM box:1\nVOLUME ["/home/app", "/new/vol"]\nCMD ["true"]\n')
    box.iechor("build", "-t", "vols", ".", cwd=box.person.home / "vols")
    script = "stat -c %U /home/app; touch /home/app/x /new/vol/x && echo open; touch /x || echo closed; ls /home/app"
    for option, rest in (("--read-only", "closed\nx\n"), ("--init", "x\n"), ("--init", "x\n")):
        assert box.iechor("run", "--rm", option, "vols", "sh", "-c", script).stdout == f"app\nopen\n{rest}"


def test_hostname_hosts_limits_and_a_fresh_proc(plain: Box) -> None:
    script = "hostname; cat /etc/hostname; grep db /etc/hosts; ulimit -n; ls /proc | grep -c '^[0-9]'"
    out = plain.out("--hostname web --add-host db:10.1.2.3 --ulimit nofile=77:88", "sh", "-c", script).split("\n")
    assert out[:4] == ["web", "web", "10.1.2.3\tdb", "77"] and int(out[4]) <= 4
    assert plain.out("", "hostname").strip() == os.uname().nodename


def test_the_callers_descriptors_and_signals_are_not_inherited(plain: Box) -> None:
    def run(*command: str) -> list[str]:
        shell = ["sh", "-c", 'trap "" INT QUIT HUP PIPE; exec "$@" 7</etc/hosts', "-"]
        return plain.person.run(*shell, *plain.person.command("run", "--rm", plain.image, *command)).stdout.split()

    assert run("ls", "/proc/self/fd") == ["0", "1", "2", "3"]  # 3: of the listing itself
    assert run("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status") == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_a_reader_that_leaves_ends_the_writer(plain: Box) -> None:
    command = " ".join(plain.person.command("run", "--rm", plain.image, "yes"))
    assert plain.person.run("sh", "-c", f"{command} | head -n 1", timeout=20).stdout == "y\n"
    until(lambda: not plain.person.processes())


@pytest.mark.parametrize(("command", "code", "said"), [
    (("no-such-program",), 127, "not found in PATH"),
    (("/etc/passwd",), 126, "Permission denied"),
    (("/bin/no-such",), 127, "no such file"),
])
def test_what_cannot_be_started(plain: Box, command: tuple[str, ...], code: int, said: str) -> None:
    before = plain.containers()
    for options in ("", "-d"):
        done = plain.run(options, *command, code=code)
        assert said in done.stderr and done.stdout == ""
    assert plain.containers() == before


@pytest.mark.parametrize(("options", "code", "said"), [
    ("-p 80:x", 125, "80:x"),
    ("-w rel", 125, "not an absolute path"),
    ("-w /no/such", 125, "/no/such"),
    ("--network=none -p 80:80", 125, "without a network"),
    ("--name .x", 125, "letters, digits"),
    ("--pull=never no/such/image", 125, "not in the store"),
    ("--platform linux/s390x", 125, "it is for linux/"),
])
def test_what_is_refused(plain: Box, options: str, code: int, said: str) -> None:
    before = plain.containers()
    assert said in plain.run(options, "true", code=code).stderr
    assert plain.containers() == before


def test_cidfile_and_name(plain: Box) -> None:
    file = plain.person.home / "cid"
    plain.run(f"--cidfile {file} --name called", "true")
    listed = plain.iechor("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}").stdout
    assert f"{file.read_text()} called\n" in listed and len(file.read_text()) == 64
    assert "exists" in plain.run(f"--cidfile {file}", "true", code=125).stderr
    taken = plain.run("--name called", "true", code=125)
    assert "iechor rm called" in taken.stderr


def test_timeout_ends_it(plain: Box) -> None:
    assert plain.run("--rm --timeout 0.3", "sleep", "60", code=137, timeout=20).stdout == ""


def test_when_iechor_is_killed_the_container_goes_too(plain: Box) -> None:
    process = plain.person.start(*plain.person.command("run", "--name", "orphan", plain.image, "sleep", "613"),
                                 stdout=subprocess.DEVNULL)
    pid = until(lambda: plain.iechor("ps", "--format", "{{.Pid}}").stdout.strip())
    assert "613" in Path(f"/proc/{pid}/cmdline").read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: not plain.person.processes())
    assert "orphan exited 137" in plain.iechor("ps", "-a", "--format", "{{.Names}} {{.State}} {{.ExitCode}}").stdout
    plain.iechor("rm", "orphan")


WITHOUT_OVERLAY = """
import errno, sys
from pathlib import Path
from rootless_builder import config, events, run
from rootless_builder.sandbox.idmap import IdMode
from rootless_builder.scratch.scratch import Scratch
from rootless_builder.store.store import Store
store, folder, mode, image, script = sys.argv[1:]
settings = config.load((), {"HOME": store, "IECHOR_HOME": store, "IECHOR_SCRATCH": folder})
scratch = Scratch.open(Path(folder), mode=IdMode(mode), overlay=errno.EPERM)
request = run.RunRequest(image=image, command=("sh", "-c", script), remove=True)
emit = lambda event: print(event.text, file=sys.stderr)
sys.exit(run.run(request, Store.open(Path(store)), scratch, settings, emit=emit))
"""


def test_where_no_overlay_can_be_mounted(box: Box) -> None:
    if box.person.userns == "subuid":  # the same as host here, after the command's second life
        return
    for _ in range(2):
        script = "stat -c %U /home/app; [ ! -e /new ] && touch /new && rm -r /home && chown app /new && stat -c %U /new"
        done = box.person.run(sys.executable, "-P", "-c", WITHOUT_OVERLAY, box.person.store,
                              box.person.home / "other-scratch", box.person.userns, box.image, script)
        assert (done.stdout, done.returncode) == ("app\napp\n", 0) and "no overlay can be mounted" in done.stderr
