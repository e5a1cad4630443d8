"""What no build needs is refused, in each id mode, by each table of calls; and the table is the kernel's."""

import errno
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rootless_builder.sandbox import denied
from rootless_builder.sandbox.denied import ALLOW, CALLS, ERRNO, IOCTL, MACHINES, NEVER, REASONS, X32, Denied
from tests.sandbox.conftest import Box

SOURCE = Path(__file__).with_name("calls.c")
HEADERS = ("asm/unistd_64.h", "asm/unistd_32.h", "asm-generic/unistd.h")
REMOVED = {"lookup_dcookie", "nfsservctl", "uselib", "vm86old"}  # from some kernels' headers
GETPID = {"x86_64": 39, "i386": 20}
KILLED = 0x80000000


def listed(place: int) -> list[tuple[int, int, int]]:
    """(number, second argument, errno)"""
    calls = [(call.numbers[place], 0, call.answer) for call in CALLS if call.numbers[place] != NEVER]
    ioctl = IOCTL.numbers[place]
    return [*calls, (ioctl, denied.TIOCSTI, errno.EPERM), (ioctl, denied.TIOCLINUX, errno.EPERM),
            (ioctl, 0x5401, errno.ENOTTY)]  # TCGETS: what anybody may ask of /dev/null


def program(folder: Path, place: int, calls: list[tuple[int, int, int]]) -> Path:
    made = folder / f"calls-{place}-{os.urandom(4).hex()}"
    text = ", ".join(f"{{{number}, {second}, {answer}}}" for number, second, answer in calls)
    subprocess.run(["gcc", *(["-m32"] if place else []), "-static", "-nostdlib", "-ffreestanding", "-fno-pie",
                    "-no-pie", "-fno-stack-protector", "-O1", "-o", made, f"-DCALLS={text}", SOURCE], check=True)
    return made


def put(box: Box, made: Path) -> str:
    shutil.copy(made, box.root / "bin" / made.name)
    (box.root / "bin" / made.name).chmod(0o755)
    return made.name


@pytest.mark.parametrize("place", [0, 1], ids=["x86-64", "i386"])
def test_each_call_of_the_table_is_refused(box: Box, place: int, tmp_path: Path) -> None:
    calls = listed(place)
    if place == 0:  # the kernel looks at the low half of the request (CVE-2019-10063), and x32 is another table
        calls += [(IOCTL.numbers[0], 1 << 32 | denied.TIOCSTI, errno.EPERM), (X32 | 39, 0, errno.ENOSYS)]
    result = box.run(put(box, program(tmp_path, place, calls)))
    assert result.error is None and result.code == 0, calls[(result.code or 0) - 1]


def test_an_insecure_step_and_an_unconfined_container_have_no_filter(box: Box, tmp_path: Path) -> None:
    """Or the test above would see what kernels refuse anyway. keyctl(KEYCTL_GET_KEYRING_ID, …) is no key's number."""
    name = put(box, program(tmp_path, 0, [(250, 0x7FFFFFFF, errno.ENOKEY)]))
    assert box.run(name, confined=False).code == 0
    assert box.run(name).code == 1
    outer = box.sh("grep ^Seccomp_filters: /proc/self/status", confined=False).out.split()[1]
    assert box.sh("grep ^Seccomp_filters: /proc/self/status").out.split()[1] == str(int(outer) + 1)


def test_who_joins_a_container_is_confined_like_it(plain: Box) -> None:
    spec = plain.spec("sleep", "1000").to_json()
    inner = plain.spec("grep", "^Seccomp_filters", "/proc/self/status").to_json()
    done = plain.script(f"""
with Launcher() as launcher:
    outer = launcher.launch(read_spec({spec!r}, ids))
    print(finished(launcher.join(outer.pid, read_spec({inner!r}, ids)))["out"])
    outer.kill(signal.SIGKILL)
""")
    assert done.stdout.split() == plain.sh("grep ^Seccomp_filters /proc/self/status").out.split(), done.stderr


def test_what_builds_do_is_not_refused(box: Box) -> None:
    """Namespaces of their own, mounts in them, a chroot."""
    if box.person.userns == "host":
        script = "unshare -m true 2>&1; chroot / true"
        assert "Operation not permitted" in box.run("sh", "-c", script).out  # no CAP_SYS_ADMIN: the kernel's own word
    script = "unshare -Urm sh -ec 'mount -t tmpfs none /tmp; echo made >/tmp/x; cat /tmp/x; umount /tmp; chroot / true'"
    assert box.sh(script, scoped=True).out == "made\n"


def numbers_in(header: str) -> dict[str, int]:
    """By the compiler: as the kernel's own headers have it for user space."""
    text = subprocess.run(["gcc", "-E", "-dM", "-include", header, "-x", "c", "/dev/null"], capture_output=True,
                          text=True, check=True).stdout
    found = {}
    for name, value in re.findall(r"^#define __NR(?:3264)?_(\w+) (.+)$", text, re.MULTILINE):
        if value.isdecimal():
            found[name] = int(value)
    return found


@pytest.mark.parametrize("place", range(3), ids=["x86-64", "i386", "generic"])
def test_the_numbers_are_the_kernels(place: int) -> None:
    numbers = numbers_in(HEADERS[place])
    for call in (*CALLS, *denied.SUPERVISORS, IOCTL):
        if call.numbers[place] == NEVER:
            assert call.name not in numbers or call.name == "clock_settime64", call
        elif call.name not in REMOVED:
            assert numbers[call.name] == call.numbers[place], call


def outcome(machine: str, audit: int, number: int, request: int, calls: tuple[Denied, ...] = CALLS) -> int:
    """The filter, carried out by hand: what it returns."""
    code = denied.program(machine, calls)
    data = {denied.NUMBER: number, denied.ARCHITECTURE: audit, denied.REQUEST: request}
    lines = [(int.from_bytes(code[at:at + 2], "little"), code[at + 2], code[at + 3],
              int.from_bytes(code[at + 4:at + 8], "little")) for at in range(0, len(code), 8)]
    at = held = 0
    while True:
        kind, if_so, if_not, value = lines[at]
        at += 1
        if kind == denied.LOAD:
            held = data[value]
        elif kind == denied.JUMP:
            at += value
        elif kind == denied.RETURN:
            return value
        else:
            true = {denied.JUMP_EQUAL: held == value, denied.JUMP_GREATER_EQUAL: held >= value,
                    denied.JUMP_SET: bool(held & value)}[kind]
            at += if_so if true else if_not


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machines_filter_does_what_the_table_says(machine: str) -> None:
    """For machines that are not here as well: each number that there may be."""
    for audit, place in MACHINES[machine]:
        answers = {call.numbers[place]: call.answer for call in CALLS}
        for number in range(600):
            expected = ERRNO | answers[number] if number in answers else ALLOW
            assert outcome(machine, audit, number, 0) == expected
        for request in (denied.TIOCSTI, denied.TIOCLINUX):
            assert outcome(machine, audit, IOCTL.numbers[place], request) == ERRNO | errno.EPERM
            assert outcome(machine, audit, IOCTL.numbers[place] + 1, request) in (ALLOW, *(ERRNO | e for e in (1, 38)))
    assert outcome(machine, 0x12345678, 1, 0) == KILLED


def test_the_document_has_the_same_table() -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    for reason, words in REASONS.items():
        names = [call.name for call in (*CALLS, IOCTL) if call.reason == reason]
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{names[0]}`" in line)
        assert set(re.findall(r"`(\w+)`", row)) == set(names), row
        assert words in row
    assert {call.reason for call in (*CALLS, IOCTL)} == set(REASONS)


def test_this_machine_is_known() -> None:
    assert platform.machine() in MACHINES
