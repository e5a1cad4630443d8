"""What a command tries that means harm, and what it gets: each of the doors that others have left open before.

Beside test_mounts.py (files out of sight), test_processes.py (nobody outlives a step), test_denied.py (system calls).
"""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from rootless_builder.sandbox.mounts import SYS_OTHERS, standard
from tests.conftest import Person
from tests.registry_server import Registry
from tests.sandbox.conftest import Box

# Each line is a door; the shell says which of them opened.
READS = """
/dev/kmsg /dev/mem /dev/port /dev/sda /dev/vda /dev/kvm /dev/fuse /dev/net/tun /proc/kmsg /proc/kcore
/proc/1/mem /proc/1/environ /proc/1/maps /proc/1/root/bin/sh /proc/1/cwd/bin/sh /proc/1/fd/0
/sys/kernel/debug/x /sys/kernel/tracing/trace /sys/fs/cgroup/cgroup.procs
"""
WRITES = """
/proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hostname
/proc/sys/vm/drop_caches /proc/sys/fs/suid_dumpable /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/ns_last_pid
/proc/irq/default_smp_affinity /proc/bus/x /proc/acpi/wakeup
/proc/1/attr/current /proc/1/mem /proc/1/comm /proc/sys/kernel/random/boot_id /sys/power/state
/sys/kernel/uevent_helper /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/release_agent /sys/module/kernel/parameters/panic
"""


def opened(box: Box, paths: str, how: str, **fields: object) -> list[str]:
    script = f'for path in {" ".join(paths.split())}; do ( {how} ) 2>/dev/null && echo "$path"; done; true'
    return box.sh(script, init=True, **fields).out.split()


def test_nothing_of_the_kernel_or_of_process_1_can_be_read(box: Box) -> None:
    """Process 1 is our reaper, which has every capability in there. Masked files are empty, so a byte has to come."""
    assert opened(box, READS, '[ -n "$(head -c 1 <"$path" | od)" ] && head -c 1 <"$path" | grep -q .') == []


def test_nothing_of_the_kernel_or_of_process_1_can_be_written(box: Box) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert opened(box, WRITES, 'echo 1 >"$path"') == []
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_what_the_host_mounts_in_its_sys_is_out_of_sight(box: Box) -> None:
    """tracefs, BPF's file system and their like: a step with the host's network shows the host's /sys."""
    folders = [f"/sys/{name}" for name in SYS_OTHERS if os.path.isdir(f"/sys/{name}")]
    assert len(folders) > 2
    text = box.spec("sh", "-c", f"cat $(find {' '.join(folders)} -type f); ls /sys/kernel").to_json()
    mounts = " && ".join(f"mount -t tmpfs none {path} && echo door >{path}/door" for path in folders)
    ids = f"--reuid {box.person.uid} --regid {box.person.gid} --init-groups"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mounts} && exec setpriv {ids} "$@" </dev/null', "sh",
         *box.script_command(f"print(finished(launch(read_spec({text!r}, ids)))['out'])")],
        env=box.person.environment(), cwd=box.person.home, capture_output=True, text=True)
    assert done.returncode == 0 and "door" not in done.stdout and "tracing" in done.stdout, done


def test_a_nested_user_namespace_opens_nothing(box: Box) -> None:
    """Root of a namespace of its own: with every capability in it, behind the same walls."""
    secret = box.person.home / "secret"
    secret.write_text("not yours")
    script = f"""
      umount /proc/keys /proc/kcore /proc/sys /sys 2>/dev/null; umount -l /proc 2>/dev/null
      mount -t proc proc /proc 2>/dev/null; wc -c </proc/keys 2>/dev/null
      mount -o remount,rw,bind /sys 2>/dev/null; mount -o remount,rw,bind /proc/sys 2>/dev/null
      for path in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/power/state; do
          (echo x >$path) 2>/dev/null && echo "wrote $path"
      done
      mknod /tmp/disk b 254 0 2>/dev/null && head -c 1 /tmp/disk 2>/dev/null && echo "read a disk"
      cat {secret} 2>/dev/null; kill -9 1 2>/dev/null; cat /proc/1/environ 2>/dev/null; true
    """
    result = box.run("unshare", "-Urmp", "--fork", "sh", "-c", script, init=True)
    assert result.error is None and result.out.replace("0\n", "") == "", result


def test_the_keyring_of_the_user_is_out_of_reach(box: Box) -> None:
    """Even where no call is refused: the step's session keyring is an empty one of its own."""
    made = box.root / "bin/findkey"
    source = ("#include <errno.h>\n#include <unistd.h>\n#include <sys/syscall.h>\nint main(void) {"
              'return syscall(SYS_keyctl, 10, -3, "user", "iechor-test", 0) < 0 ? errno : 0; }')
    subprocess.run(["gcc", "-static", "-x", "c", "-o", made, "-"], input=source, text=True, check=True)
    free, bound = (box.spec("findkey", confined=confined).to_json() for confined in (False, True))
    done = box.script(f"""
import ctypes
libc = ctypes.CDLL(None)
assert libc.syscall(250, 1, None) > 0
assert libc.syscall(248, b"user", b"iechor-test", b"ticket", 6, -3) > 0
assert libc.syscall(250, 10, -3, b"user", b"iechor-test", 0) > 0
for text in ({free!r}, {bound!r}):
    print(finished(launch(read_spec(text, ids)))["code"])
""")
    assert done.stdout.split() == ["126", "1"], done.stderr  # ENOKEY, EPERM


def test_an_abstract_socket_of_the_host_is_out_of_reach(box: Box) -> None:
    """They have no file that a mode could guard: D-Bus and containerd-shim (CVE-2020-15257) trusted in that."""
    name = f"iechor-test-{os.urandom(4).hex()}"
    source = ('#include <stdio.h>\n#include <string.h>\n#include <sys/socket.h>\n#include <sys/un.h>\n'
              'int main(int n, char **word) { struct sockaddr_un to = {AF_UNIX}; int fd = socket(AF_UNIX, 1, 0);'
              'strcpy(to.sun_path + 1, word[1]); perror(""); n = connect(fd, (void *)&to, 3 + strlen(word[1]));'
              'return n ? 1 : 0; }')
    subprocess.run(["gcc", "-static", "-x", "c", "-o", box.root / "bin/abstract", "-"], input=source, text=True,
                   check=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert box.run("abstract", name).code == 0  # a container of `iechor run` with the host's network
        assert box.run("abstract", name, scoped=True).code == 1


@pytest.fixture(scope="module")
def intruder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("intruder") / "intruder"
    subprocess.run(["gcc", "-static", "-O1", "-Wall", "-o", made, Path(__file__).with_name("intruder.c")], check=True)
    return made


def test_the_doors_that_have_no_file_are_shut(box: Box, intruder: Path) -> None:
    """Process 1 by ptrace, pidfd and memory; the namespaces above; descriptors left open; the host's network."""
    shutil.copy(intruder, box.root / "bin/intruder")
    for init in (True, False):
        result = box.run("intruder", *(["as root"] if box.person.userns == "host" else []), init=init)
        assert (result.code, result.out, result.error) == (0, "", None), result


def test_no_mount_is_tied_to_one_of_the_host(box: Box) -> None:
    """Neither what the step mounts gets out, nor what the host mounts later comes in."""
    tied = box.sh("grep -E ' (shared|master|propagate_from):' /proc/self/mountinfo || true", mounts=standard())
    assert tied.out == ""


def directories_of(pid: int) -> dict[str, int]:
    """name in /proc/PID/fd → an fd of ours for the same folder, with the same mounts above it."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[name] = os.open(f"/proc/{pid}/fd/{name}", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            continue
    return found


def top_of(fd: int) -> tuple[int, int]:
    """Where ".." after ".." ends."""
    while True:
        above = os.open("..", os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
        same = os.path.samestat(os.fstat(fd), os.fstat(above))
        os.close(fd)
        fd = above
        if same:
            status = os.fstat(fd)
            os.close(fd)
            return status.st_dev, status.st_ino


def test_no_folder_that_the_supervisor_holds_leads_to_the_hosts_files(plain_user: Person, registry: Registry,
                                                                       busybox: str) -> None:
    """A real build, as the plain user: of its step's P1 (the supervisor) and of process 1, every fd and its root."""
    person = plain_user
    person.mirror(registry)
    mark = f"3{int.from_bytes(os.urandom(3), 'big')}"
    context = person.write("c/iEchorfile", f"FROM busybox\nRUN chown 5:5 /etc/group; echo begun; sleep {mark}\n").parent
    build = person.start(*person.command("build", "--progress=plain", "-t", "x", context), stderr=subprocess.PIPE)
    try:
        assert any("begun" in line and "RUN" not in line for line in build.stderr)
        names = {process.pid: process.name() for process in psutil.Process(build.pid).children(recursive=True)}
        inner = {pid: name for pid, name in names.items() if name in ("iechor-step", "iechor-init")}
        assert sorted(inner.values()) == ["iechor-init", "iechor-step"]
        host = os.stat("/")
        for pid, name in inner.items():
            for held, fd in {**directories_of(pid), "root": os.open(f"/proc/{pid}/root", os.O_PATH),
                             "cwd": os.open(f"/proc/{pid}/cwd", os.O_PATH)}.items():
                assert top_of(fd) != (host.st_dev, host.st_ino), (name, held, os.readlink(f"/proc/{pid}/fd/{held}"))
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.search(r"^Seccomp:\s*2$", status, re.MULTILINE) or name == "iechor-init"
    finally:
        build.terminate()
        build.communicate(timeout=20)


def test_output_without_end_and_terminal_sequences(box: Box) -> None:
    """Bytes come as they were written; what they do to a terminal is the renderers' to prevent (tests/unit/cli)."""
    result = box.sh(r"printf '\033]0;title\007\033[2J\033[31m\r\0'; yes | head -c 3000000 | wc -c", mounts=standard())
    assert result.out.startswith("\x1b]0;title\x07\x1b[2J\x1b[31m\r\x003000000")


def test_closed_streams_are_the_commands_own_affair(box: Box) -> None:
    result = box.run("sh", "-c", "exec >&- 2>&- <&-; echo lost; touch /tmp/lived; exit 3", init=True)
    assert (result.code, result.out, result.error) == (3, "", None)
    assert box.sh("ls /tmp/lived").out
