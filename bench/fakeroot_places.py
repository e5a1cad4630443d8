"""What bench/fakeroot.py works on: one Debian tree, unpacked three ways, and what runs in it. As root.

    lower-plain   every file its user's own, owners in `table` (and in `owned`, where each of the many files is odd)
    lower-sub     the owners as a user with a subuid range sees them
    base.tar      for Buildah

The packages to install lie in the tree already (/var/cache/apt/archives), so no run needs a network.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from rootless_builder.sandbox.fakeroot import OwnerRecord, encode

PLACE = Path("/var/tmp/iechor-bench")
PACKAGES = "gcc,libc6-dev,fakeroot,proot,ca-certificates"
INSTALL = "man-db openssh-server vim python3-pip"
PLAIN = "vim python3-pip"


def make_base(files: int) -> Path:
    """The tree as real root has it; kept for the next run."""
    base, done = PLACE / "base", PLACE / "base.done"
    if done.exists() and done.read_text() == f"{files}":
        return base
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    keep = PLACE / "keep"
    (keep / "etc/apt/apt.conf.d").mkdir(parents=True)
    settings = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout.splitlines()
    (keep / "etc/apt/apt.conf.d/90host").write_text("".join(
        line + "\n" for line in settings if line.startswith(("Acquire::http", "Acquire::https", "Acquire::Check-"))))
    subprocess.run([
        "mmdebstrap", "--quiet", "--variant=apt", f"--include={PACKAGES}", "--skip=cleanup/apt,cleanup/tmp",
        f"--aptopt={keep}/etc/apt/apt.conf.d/90host",
        f"--customize-hook=cp {keep}/etc/apt/apt.conf.d/90host \"$1/etc/apt/apt.conf.d\"",
        f"--customize-hook=chroot \"$1\" apt-get -qq -y -d --no-install-recommends install {INSTALL}",
        codename(), str(base)], check=True)
    (base / "etc/apt/apt.conf.d/91bench").write_text('APT::Sandbox::User "root";\n')
    for folder in range(100):
        (base / f"many/{folder}").mkdir(parents=True)
        for file in range(files // 100):
            (base / f"many/{folder}/{file}").touch()
    done.write_text(f"{files}")
    return base


def codename() -> str:
    return next(line.split("=")[1] for line in Path("/etc/os-release").read_text().splitlines()
                if line.startswith("VERSION_CODENAME="))


def copy_of(base: Path, name: str, owner: int, group: int) -> tuple[Path, bool]:
    """A copy of the base in a folder of the user's, and whether it is new."""
    copy = PLACE / name / "lower"
    if copy.exists():
        return copy, False
    copy.parent.mkdir()
    subprocess.run(["cp", "-a", base, copy], check=True)
    os.chown(copy.parent, owner, group)
    return copy, True


def make_plain(base: Path, user: str) -> Path:
    account = pwd.getpwnam(user)
    copy, new = copy_of(base, "plain", account.pw_uid, account.pw_gid)
    if not new:
        return copy
    records, owned = [], []
    for top, folders, entries in os.walk(copy):
        for path in (os.path.join(top, name) for name in (*folders, *entries)):
            status = os.lstat(path)
            if status.st_uid or status.st_gid or status.st_mode & 0o6000 and not os.path.islink(path):
                records.append(OwnerRecord(status.st_ino, status.st_mode, status.st_uid, status.st_gid,
                                           links=status.st_nlink if not os.path.isdir(path) else 1))
            elif f"{copy}/many/" in path:
                owned.append(OwnerRecord(status.st_ino, status.st_mode, 1 + status.st_ino % 5, 7))
            os.lchown(path, account.pw_uid, account.pw_gid)
            if not os.path.islink(path):
                os.chmod(path, status.st_mode & 0o1777 | (0o700 if os.path.isdir(path) else 0o600))
    os.chown(copy, account.pw_uid, account.pw_gid)
    (copy.parent / "table").write_bytes(encode(records))
    (copy.parent / "owned").write_bytes(encode(records + owned))
    return copy


def make_sub(base: Path, user: str) -> Path:
    account = pwd.getpwnam(user)
    copy, new = copy_of(base, "sub", account.pw_uid, account.pw_gid)
    if not new:
        return copy
    first = next(int(line.split(":")[1]) for line in Path("/etc/subuid").read_text().splitlines()
                 if line.startswith(f"{user}:"))

    def seen(number: int, own: int) -> int:
        return own if number == 0 else first + number - 1

    for top, folders, entries in os.walk(copy):
        for path in (top, *(os.path.join(top, name) for name in entries), *(
                os.path.join(top, name) for name in folders if os.path.islink(os.path.join(top, name)))):
            status = os.lstat(path)
            os.lchown(path, seen(status.st_uid, account.pw_uid), seen(status.st_gid, account.pw_gid))
            if not os.path.islink(path):
                os.chmod(path, status.st_mode & 0o7777)
    return copy


def make_image(base: Path, user: str) -> str:
    """Buildah's own copy of the base; its name."""
    image, account = "localhost/iechor-bench", pwd.getpwnam(user)
    mark = PLACE / f"overlay-{user}.done"
    if mark.exists():
        return image
    tar = PLACE / "base.tar"
    subprocess.run(["tar", "-C", base, "--numeric-owner", "-cf", tar, "."], check=True)
    line = f"c=$(buildah from scratch) && buildah add -q $c {tar} / && buildah commit -q $c {image} && buildah rm $c"
    subprocess.run(["sh", "-c", line], check=True, stdout=subprocess.DEVNULL, user=account.pw_uid, group=account.pw_gid,
                   extra_groups=[], cwd="/", env=environment(user))
    tar.unlink()
    mark.touch()
    return image


def environment(user: str) -> dict[str, str]:
    home = PLACE / f"home-{user}"
    if not home.exists():
        home.mkdir()
        shutil.chown(home, user, user)
        (home / "run").mkdir(mode=0o700)
        shutil.chown(home / "run", user, user)
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"),
            "PYTHONDONTWRITEBYTECODE": "1", "STORAGE_DRIVER": "overlay"}  # Buildah's default here copies the whole base


def remove_works() -> None:
    """What the runs have left."""
    for work in PLACE.glob("*/work-*"):
        subprocess.run(["rm", "-rf", work], check=True)
