"""The doctor tells the causes apart, with the command that mends each; a step that meets one says the same."""

import errno
import json
import os
from pathlib import Path

import pytest

from rootless_builder import doctor
from rootless_builder.doctor import Finding, Host
from rootless_builder.sandbox.causes import userns_cause
from rootless_builder.sandbox.probe import Answers, probe
from tests.sandbox.conftest import Box

EXAMINE = """
import dataclasses
from rootless_builder.doctor import Host, examine
from pathlib import Path
host = Host(user="me", uid=os.getuid(), gid=os.getgid(), scratch=Path(os.environ["IECHOR_SCRATCH"]))
print(json.dumps([dataclasses.asdict(finding) for finding in examine(host)]))
"""


def host_proc(folder: Path, *, limit: int = 100, userns: bool = True, clone: int | None = None,
              apparmor: int | None = None, seccomp: int = 0, mounts: str = "1 0 8:1 / / rw - ext4 x rw\n") -> Path:
    """A /proc as another host would have it."""
    for path, text in {"sys/user/max_user_namespaces": limit, "sys/kernel/unprivileged_userns_clone": clone,
                       "sys/kernel/apparmor_restrict_unprivileged_userns": apparmor,
                       "self/status": f"Name:\tx\nSeccomp:\t{seccomp}\n", "self/mountinfo": mounts,
                       "self/ns/user": "" if userns else None}.items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(f"{text}")
    return folder


@pytest.mark.parametrize("number, facts, name, remedy", [
    (errno.EINVAL, {"userns": False}, "kernel", "Boot a kernel with CONFIG_USER_NS=y."),
    (errno.ENOSPC, {"limit": 0}, "limit", "Run `sudo sysctl -w user.max_user_namespaces=15000`"),
    (errno.ENOSPC, {}, "limit", "Run `sudo sysctl -w user.max_user_namespaces=100000`"),
    (errno.EPERM, {"clone": 0}, "sysctl", "Run `sudo sysctl -w kernel.unprivileged_userns_clone=1`"),
    (errno.EACCES, {"apparmor": 1, "clone": 1}, "apparmor",
     "Run `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"),
    (errno.EPERM, {"seccomp": 2, "apparmor": 0}, "seccomp", "Start the outer container with `--security-opt"),
    (errno.EPERM, {"mounts": "1 0 8:1 / /proc rw - ext4 x rw\n"}, "chroot", "Use `unshare --mount` and pivot_root"),
    (errno.EPERM, {}, "unknown", "Ask your administrator"),
])
def test_the_causes_are_told_apart(tmp_path: Path, number: int, facts: dict[str, object], name: str,
                                   remedy: str) -> None:
    cause = userns_cause(number, host_proc(tmp_path, **facts))  # type: ignore[arg-type]
    assert cause.name == name
    assert cause.remedy.startswith(remedy)
    assert cause.text


def findings(box: Box, prefix: tuple[str, ...] = ()) -> dict[str, Finding]:
    done = box.person.run(*prefix, *box.script_command(EXAMINE.replace("ids = enter()", "")))
    assert (done.returncode, done.stderr) == (0, "")
    return {entry["name"]: Finding(**entry) for entry in json.loads(done.stdout)}


def test_here_everything_a_step_needs_works(box: Box) -> None:
    box.person.scratch.mkdir()
    os.chown(box.person.scratch, box.person.uid, box.person.gid)
    found = findings(box)
    for name in ("kernel", "procfs", "network namespaces", "overlayfs", "fakeroot"):
        assert found[name].ok, found[name]
    assert found["user namespaces" if box.person.userns == "fakeroot" else "namespaces"].ok
    assert os.listdir(box.person.scratch) == []
    for finding in found.values():
        assert finding.detail
        assert finding.ok or finding.remedy.endswith("."), finding


def test_a_limit_of_no_namespaces_is_named_by_doctor_and_by_a_step(plain: Box) -> None:
    """Really: user.max_user_namespaces is 0, in a namespace of the test's own."""
    plain.person.write("spec.json", plain.spec("true").to_json())
    inner = EXAMINE.replace("os.getuid()", "1000") + """
try:
    launch(dataclasses.replace(read_spec(open("spec.json").read(), None), ids=IdMap.single(0, 0)))
except IechorError as error:
    print(json.dumps([type(error).__name__, error.message, error.hint]))
"""
    done = plain.person.run("unshare", "--user", "--map-root-user", "sh", "-c",
                            'echo 0 > /proc/sys/user/max_user_namespaces && IECHOR_USERNS=host exec "$@"', "sh",
                            *plain.script_command(inner))
    assert (done.returncode, done.stderr) == (0, "")
    raised = done.stdout.splitlines()[1]
    remedy = "Run `sudo sysctl -w user.max_user_namespaces=15000` (a file in /etc/sysctl.d keeps it)."
    words = "cannot make a user namespace: user.max_user_namespaces is 0"
    assert json.loads(raised) == ["NamespaceError", words, remedy]


FORBID_UNSHARE = """
import ctypes, struct, sys
def rule(code, jt, jf, k): return struct.pack("HBBI", code, jt, jf, k)
number = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
program = rule(0x20, 0, 0, 0) + rule(0x15, 0, 1, number) + rule(6, 0, 0, 0x50001) + rule(6, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(program)
libc = ctypes.CDLL(None)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(4, ctypes.addressof(buffer)))) == 0
"""


def test_a_seccomp_filter_is_named_by_doctor_and_by_a_step(plain: Box) -> None:
    """Really: unshare(2) answers EPERM."""
    plain.person.write("spec.json", plain.spec("true").to_json())
    code = FORBID_UNSHARE + EXAMINE + """
started = time.monotonic()
try:
    launch(read_spec(open("spec.json").read(), ids))
except IechorError as error:
    print(json.dumps([type(error).__name__, error.message, error.hint, time.monotonic() - started < 1]))
"""
    done = plain.script(code)
    assert (done.returncode, done.stderr) == (0, "")
    report, raised = map(json.loads, done.stdout.splitlines())
    found = {entry["name"]: entry for entry in report}["user namespaces"]
    assert not found["ok"] and "seccomp" in found["detail"]
    words = "cannot make a user namespace: a seccomp filter, of an outer container perhaps, forbids it"
    assert raised == ["NamespaceError", words, found["remedy"], True]


def test_every_answer_has_its_meaning() -> None:
    """The parts of the report that this host does not give."""
    host = Host(user="me", uid=1000, gid=1000, scratch=Path("/s"))
    refused = doctor._overlay(host, Answers(overlay=errno.EINVAL))
    assert not refused.ok and "Invalid argument" in refused.detail and "IECHOR_SCRATCH" in refused.remedy
    assert not doctor._overlay(host, Answers()).ok
    assert not doctor._kernel("4.18.0-553.el8").ok
    assert doctor._kernel("6.18.44").ok
    assert doctor._kernel("5.15.0-1").remedy == "Boot Linux 6.6 or later."
    named = {finding.name: finding for finding in doctor._namespaces(host, Answers(namespace=0, mapping=0, mount=0,
                                                                                    proc=1, network=28))}
    assert not named["procfs"].ok and not named["network namespaces"].ok and named["user namespaces"].ok


def test_probing_a_folder_that_is_not_writable_is_no_crash() -> None:
    answers = probe(Path("/proc/self"))
    assert answers.namespace == 0 and answers.overlay
