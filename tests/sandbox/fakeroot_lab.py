"""A root file system on disk for one user, commands run in it under the supervisor, and the image they leave.

The same commands run by real root, whose owners the kernel keeps, are the oracle: `Lab.image()` of both is equal.
"""

import dataclasses
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from rootless_builder.sandbox.fakeroot import OwnerRecord, decode, encode
from tests.conftest import Person

BUSYBOX = Path("/bin/busybox")
DRIVE = Path(__file__).with_name("fakeroot_drive.py")
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nmail:x:8:12::/:/bin/sh\n"
NATIVE = Path(__file__).resolve().parents[2] / "native"
PROBE = (Path(__file__).with_name("fakeroot_probe.c"), NATIVE / "fr_calls.c", f"-I{NATIVE}")
GROUP = "root:x:0:\nadm:x:4:root,app\nmail:x:12:\nwide:x:4204350:app\napp:x:1001:\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command ended, and the packed table after it (None: the kernel kept the owners)."""

    code: int
    signal: int | None
    timed_out: bool
    out: str
    err: str
    table: bytes | None
    seconds: float

    @property
    def records(self) -> dict[int, OwnerRecord]:
        return {record.ino: record for record in decode(self.table or b"")}


class Lab:
    """lower: the image's files, all the user's own in fakeroot; what their owners are is in `records`."""

    def __init__(self, person: Person, programs: Path) -> None:
        self.person = person
        self.lower = person.home / "lower"
        self.work = person.home / "work"
        self.records: dict[str, OwnerRecord] = {}
        for folder in ("bin", "etc", "tmp", "home/app", "root", "t", "proc", "sys", "dev"):
            (self.lower / folder).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.lower / "bin/busybox")
        listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in set(listed) - {"busybox"}:
            (self.lower / "bin" / name).symlink_to("busybox")
        for program in programs.iterdir():
            shutil.copy(program, self.lower / "t")
        (self.lower / "etc/passwd").write_text(PASSWD)
        (self.lower / "etc/group").write_text(GROUP)
        (self.lower / "tmp").chmod(0o1777)
        for folder, names, files in os.walk(self.lower):
            for name in (".", *names, *files):
                os.chown(os.path.join(folder, name), person.uid, person.gid, follow_symlinks=False)
        self.give("home/app", 1000, 1001)

    @property
    def is_root(self) -> bool:
        return self.person.uid == 0

    def give(self, path: str, uid: int, gid: int, mode: int | None = None,
             xattrs: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """A file of the lower layer belongs to others: for root on disk, else in the initial table."""
        target = self.lower / path
        status = target.lstat()
        wanted = status.st_mode if mode is None else stat.S_IFMT(status.st_mode) | mode
        if self.is_root:
            os.chown(target, uid, gid, follow_symlinks=False)
            if mode is not None:
                target.chmod(mode)
            for name, value in xattrs:
                os.setxattr(target, name, value)
            return
        self.records[path] = OwnerRecord(status.st_ino, wanted, uid, gid, xattrs=xattrs, links=status.st_nlink)

    def request(self, *argv: str, **fields: Any) -> str:
        table = encode(self.records.values())
        return json.dumps({"lower": str(self.lower), "work": str(self.work), "argv": argv, "user": "", "overlay": True,
                           "table": table.hex(), "fsync": False, "timeout": 120, "init": True, "view": True,
                           "binds": {}, **fields})

    def run(self, *argv: str, **fields: Any) -> Ran:
        done = self.person.run(sys.executable, self.person.write("drive.py", DRIVE.read_text()),
                               self.request(*argv, **fields), timeout=700)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return Ran(**{**told, "table": None if told["table"] is None else bytes.fromhex(told["table"])})

    def sh(self, script: str, **fields: Any) -> Ran:
        ran = self.run("sh", "-c", script, **fields)
        assert not ran.timed_out and ran.signal is None, ran
        return ran

    def image(self, ran: Ran, top: Path | None = None) -> dict[str, tuple[Any, ...]]:
        """Every path that the run left in the upper directory: mode, owner, device, link target, xattrs, names."""
        top = self.work / "upper" if top is None else top
        records = ran.records
        return {os.path.relpath(os.path.join(folder, name), top): self._see(os.path.join(folder, name), records)
                for folder, names, files in os.walk(top) for name in (*names, *files)}

    def _see(self, path: str, records: dict[int, OwnerRecord]) -> tuple[Any, ...]:
        status = os.lstat(path)
        xattrs = {name: os.getxattr(path, name, follow_symlinks=False)
                  for name in os.listxattr(path, follow_symlinks=False) if ".overlay." not in name}
        mode, uid, gid, rdev = status.st_mode, status.st_uid, status.st_gid, status.st_rdev
        if stat.S_ISCHR(mode) and rdev == 0:
            return ("whiteout",)
        if not self.is_root:
            assert (uid, gid) == (self.person.uid, self.person.gid), f"{path} is {uid}:{gid} on disk"
            assert os.access(path, os.R_OK) or stat.S_ISLNK(mode)
            uid = gid = 0
            if (record := records.get(status.st_ino)) is not None:
                mode, uid, gid = record.mode, record.uid, record.gid
                rdev = os.makedev(record.rdev_major, record.rdev_minor)
                xattrs |= {name.decode(): value for name, value in record.xattrs}
        device = rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else None
        names = None if stat.S_ISDIR(mode) else status.st_nlink
        target = os.readlink(path) if stat.S_ISLNK(mode) else None
        return oct(mode), uid, gid, device, target, tuple(sorted(xattrs.items())), names


def build_programs(folder: Path) -> Path:
    """The tests' own programs, static: they run in any root."""
    here = Path(__file__).parent
    folder.mkdir()
    subprocess.run(["gcc", "-static", "-O1", "-pthread", "-o", folder / "probe", *PROBE], check=True)
    if os.uname().machine == "x86_64":
        subprocess.run(["gcc", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie",
                        "-no-pie", "-O1", "-o", folder / "i386", here / "fakeroot_i386.c"], check=True)
    return folder
