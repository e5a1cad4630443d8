"""What the workloads ask of a contender. Each builds as the user it is given, in a folder of that user's own."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


class Missing(Exception):
    """The contender is not on this machine, or cannot work here; the text says why."""


class Contender:
    """place: where it keeps everything. The methods return command lines; nothing is run by them but by start, stop
    and reset. NotImplementedError: it has no such command."""

    name = ""
    peer = True  # one of the others, against whom iechor is held
    rootless = True
    keeps_images = True  # a later build finds them: FROM localhost/NAME

    def __init__(self, place: Path, user: str) -> None:
        self.place = place
        self.user = user

    def version(self) -> str:
        """Errors: Missing."""
        raise NotImplementedError

    def start(self) -> None:
        """Daemons, if it has any, on an empty store. Errors: Missing."""
        self.reset()

    def stop(self) -> None:
        """And their end."""

    def daemons(self) -> list[int]:
        return []

    def reset(self) -> None:
        """An empty store."""
        subprocess.run(["rm", "-rf", self.place], check=True)
        self.make_place()

    def make_place(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        entry = pwd.getpwnam(self.user)
        os.chown(self.place, entry.pw_uid, entry.pw_gid)

    def build(self, context: Path, tag: str, *words: str) -> list[str]:
        """words: of --no-cache, --target=STAGE and --build-arg=NAME=VALUE."""
        raise NotImplementedError

    def run(self, tag: str, *argv: str) -> list[str]:
        raise NotImplementedError

    def save(self, tag: str, path: Path) -> list[str]:
        """As a gzip'ed OCI archive, or what comes nearest."""
        raise NotImplementedError

    def push(self, tag: str, registry: str) -> list[str]:
        """To REGISTRY/TAG, over plain HTTP."""
        raise NotImplementedError

    def pull(self, name: str) -> list[str]:
        raise NotImplementedError

    def stored(self) -> list[Path]:
        """Where its images are: what W10 counts."""
        return [self.place]

    def as_user(self, argv: Sequence[str], **environ: str) -> list[str]:
        if self.user == "root":
            return ["env", *(f"{name}={value}" for name, value in environ.items()), *argv]
        entry = pwd.getpwnam(self.user)
        environ = {"HOME": str(self.place), "USER": self.user, "PATH": PATH,
                   "XDG_RUNTIME_DIR": str(self.place), **environ}
        return ["setpriv", "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--init-groups", "env", "-i",
                *(f"{name}={value}" for name, value in environ.items()), *argv]


def first_line(*argv: str) -> str:
    """What a program says of itself. Errors: Missing."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{argv[0]} is not here, or does not start") from error
    return (done.stdout or done.stderr).strip().splitlines()[0]
