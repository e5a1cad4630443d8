"""What a workload is: what is built, in which order, and what each shot is held against.

    Workload.make()            contexts on disk, once
    Workload.shots(who)        commands in order; what must happen before a shot and is not measured
    Workload.floor()           shots of the same names, by the floors
    Workload.look(present)     what there is to say of the disk, after the first round
    Workload.close()           servers, if it has any
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .contenders.base import Contender
from .floors import Floors

BUILD_FILES = ("iEchorfile", "Dockerfile")


@dataclass(frozen=True, slots=True)
class Shot:
    """name: of the workload it measures; before: untimed; also: untimed commands as the contender's; cold: page cache
    dropped first."""

    name: str
    argv: list[str]
    before: Callable[[], object] = bool
    also: tuple[list[str], ...] = ()
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Aim:
    """`name` less the shot `less` ≤ most × (what `against` took, and `plus` seconds). against: "floor", "peers" or
    "rootless peers" (each of them), a contender, another shot of our own, or "" for `plus` alone. text: what the base
    is, where that says more.
    """

    name: str
    against: str
    most: float
    text: str = ""
    less: str = ""
    plus: float = 0.0


class Row(NamedTuple):
    """most: None where it is told for comparison only."""

    text: str
    most: float | None
    value: float


class Workload:
    """place: for its contexts. scale: of its counts and sizes, 1.0 for the ones that the aims are about. memory: W12,
    the most bytes a shot may take."""

    key = ""
    title = ""
    aims: tuple[Aim, ...] = ()
    memory: Mapping[str, float] = MappingProxyType({})

    def __init__(self, place: Path, scale: float, floors: Floors) -> None:
        self.place = place / self.key
        self.scale = scale
        self.floors = floors

    def make(self) -> None:
        """Errors: OSError or CalledProcessError where what it needs is not on this machine."""
        raise NotImplementedError

    def shots(self, who: Contender) -> Iterator[Shot]:
        raise NotImplementedError

    def floor(self) -> Iterator[Shot]:
        yield from ()

    def look(self, present: Sequence[Contender]) -> tuple[list[Row], list[str]]:
        """Rows for the table of aims; lines for the workload's own section."""
        return [], []

    def close(self) -> None:
        pass

    def many(self, count: int) -> int:
        return max(1, int(count * self.scale))


def write_context(folder: Path, lines: list[str]) -> Path:
    """The build file under both names. FROM, COPY and RUN are spelt alike in both languages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in BUILD_FILES:
        (folder / name).write_text("\n".join([*lines, ""]))
    return folder


def small_files(folder: Path, files: int, folders: int, size: int) -> None:
    """`files` of `size` random bytes, no two alike."""
    noise = os.urandom(size + 4096)
    for number in range(folders):
        here = folder / f"d{number:04}"
        here.mkdir(parents=True, exist_ok=True)
        for inner in range(files // folders):
            start = (number * 31 + inner * 7) % 4096
            unique = (number * files + inner).to_bytes(8, "big")
            (here / f"f{inner:04}").write_bytes(noise[start:start + size - 8] + unique)


def mixed_files(folder: Path, files: int, folders: int, size: int) -> None:
    """`files` of `size` bytes, half of each random, half of it words: gzip makes about half of them, as it does of a
    distribution's files."""
    words = random.Random(1)
    vocabulary = [words.randbytes(words.randint(1, 6)).hex().encode() for _ in range(5000)]
    text = b" ".join(words.choices(vocabulary, k=200_000))
    for number in range(folders):
        here = folder / f"d{number:04}"
        here.mkdir(parents=True, exist_ok=True)
        for inner in range(files // folders):
            start = words.randrange(len(text) - size)
            (here / f"f{inner:04}").write_bytes(os.urandom(size // 2) + text[start:start + size - size // 2])


def big_file(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as sink:
        for start in range(0, size, 1 << 24):
            sink.write(os.urandom(min(1 << 24, size - start)))


def busybox(folder: Path) -> None:
    """A root file system with one static program, which is what /bin/sh and a few others are."""
    found = shutil.which("busybox")
    if found is None:
        raise FileNotFoundError("busybox-static is needed")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(found, folder / "bin" / "busybox")
    for name in ("sh", "true", "touch", "sleep", "dd", "tr", "mkdir"):
        if not (folder / "bin" / name).is_symlink():
            (folder / "bin" / name).symlink_to("busybox")
