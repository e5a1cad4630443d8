"""What a step reads from elsewhere (git, URLs, images, named contexts, secrets, caches), changed, and whether that is a
hit or a miss: the rest of test_cache_keys.py.
"""

import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry
from tests.servers import Web, git, repository, serve_git, serve_web

TEXT = """\
FROM busybox AS fetched
ADD @GIT@#side /add-branch/
ADD @GIT@#@COMMIT@ /add-commit/
ADD @URL@ /add-url
FROM busybox AS images
COPY --from=other /motd /from-image
FROM other AS based
COPY --link one /copy-link
FROM busybox AS mounted
RUN --mount=from=other,source=/motd,target=/m --mount=from=extra,source=d,target=/d \\
    --mount=source=dir,target=/c cat /m /d/f /c/f && echo run-bound
RUN --mount=type=secret,id=tok --mount=type=ssh --mount=type=cache,id=one,target=/cache echo run-given
FROM busybox AS arguments
ARG TARGETARCH
RUN echo run-platform
ARG HTTPS_PROXY
RUN echo run-proxy
FROM busybox AS texts
ENV UNUSED=1
COPY one /copy-one
COPY dir /copy-dir/
RUN <<run-heredoc
echo heredoc
run-heredoc
FROM scratch
COPY --from=texts /copy-one /last
"""
MARKS = ("add-branch", "add-commit", "add-url", "from-image", "copy-link", "run-bound", "run-given", "run-platform",
         "run-proxy", "copy-one", "copy-dir", "run-heredoc", "last")
FILES = {"c/one": "1", "c/dir/f": "f", "c/dir/x": "x", "c/dir/ignored": "i", "c/.iechorignore": "**/ignored\n",
         "extra/d/f": "e", "extra/unused": "u"}


@dataclass
class Place:
    """All that the file reads; each change is made to a fresh one."""

    person: Person
    web: Web
    work: Path
    url: str
    text: str = TEXT
    options: list[str] = field(default_factory=list)
    token: str = "t" * 9

    def fresh(self) -> None:
        for name, text in FILES.items():
            (self.person.home / name).unlink(missing_ok=True)
            self.person.write(name, text)
        self.web.files["/f"], self.web.modified = b"remote", "Mon, 01 Jan 2024 00:00:00 GMT"
        git(self.work, "branch", "-f", "side", "v1^{}")
        self.other("hello")

    def other(self, text: str, *options: str) -> None:
        """The image that is read from, unless it is that one already."""
        built = self.person.home / "built"
        if built.exists() and built.read_text() == f"{text} {options}":
            return
        built.write_text(f"{text} {options}")
        self.person.write("o/motd", text)
        self.person.write("o/iEchorfile", "FROM scratch\nCOPY motd /\n")
        self.person.iechor("build", "-q", "-t", "other", *options, self.person.home / "o")

    def edit(self, old: str, new: str) -> None:
        assert old in self.text
        self.text = self.text.replace(old, new)

    def build(self) -> set[str]:
        """Marks of the steps that were run."""
        commit, checksum = git(self.work, "rev-parse", "v1^{}"), hashlib.sha256(self.web.files["/f"]).hexdigest()
        self.person.write("c/iEchorfile", self.text.replace("@GIT@", f"{self.url}/source/.git").replace(
            "@URL@", f"{self.web.url}/f").replace("@COMMIT@", commit).replace("@SUM@", checksum))
        shown = self.person.iechor(
            "build", "--progress=plain", "--skip-unused-stages=false", "--secret", "id=tok,env=TOKEN",
            f"--build-context=extra={self.person.home}/extra", *self.options, self.person.home / "c",
            env={"TOKEN": self.token}).stderr
        hits = set(re.findall(r"^#(\d+) CACHED", shown, re.MULTILINE))
        steps = re.findall(r"^#(\d+) \[[^]]*\] (.*)$", shown, re.MULTILINE)
        return {[mark for mark in MARKS if mark in step][-1] for number, step in steps
                if number not in hits and not step.startswith("FROM")}


Change = Callable[[Place], object]


def put(name: str, text: str) -> Change:
    return lambda place: place.person.write(name, text)


def edit(old: str, new: str) -> Change:
    return lambda place: place.edit(old, new)


def option(*words: str) -> Change:
    return lambda place: place.options.extend(words)


def attribute(name: str, value: bytes) -> Change:
    return lambda place: os.setxattr(place.person.home / "c/dir/f", name, value)


def with_agent(place: Place) -> None:
    path = place.person.home / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
    os.chown(path, place.person.uid, place.person.gid)
    place.options.append(f"--ssh=default={path}")


def renamed(place: Place) -> None:
    place.person.iechor("tag", "other", "another")
    for word in ("--from=", "from=", "FROM "):
        place.text = place.text.replace(f"{word}other", f"{word}another")


def set_on(what: str, **values: object) -> Change:
    """Something of `place.web` or of the place itself."""
    def change(place: Place) -> None:
        for name, value in values.items():
            setattr(getattr(place, what) if what else place, name, value)

    return change


def remote(body: bytes) -> Change:
    return lambda place: place.web.files.update({"/f": body})


HIT: Mapping[str, Change] = {
    "nothing": lambda place: None,
    "another name of the same commit": edit("#side", "#v1"),
    "a commit that is on another branch": lambda place: git(place.work, "commit", "-q", "--allow-empty", "-m", "3"),
    "another name of the same image": renamed,
    "another stage above": edit("FROM busybox AS images", "FROM busybox AS above\nFROM busybox AS images"),
    "an image with another config": lambda place: place.other("hello", "--label", "a=b"),
    "a file of a named context that nobody reads": put("extra/unused", "other"),
    "the value of a secret": set_on("", token="u" * 9),
    "an SSH agent": with_agent,
    "which cache, and how it is shared": edit("id=one,", "id=two,sharing=locked,"),
    "a rule that ignores nothing": put("c/.iechorignore", "**/ignored\nno-such-file\n"),
    "a rule that ignores what nobody reads": put("c/.iechorignore", "**/ignored\niEchorfile\n"),
    "an ignored file": put("c/dir/ignored", "other"),
    "an attribute that no image carries": attribute("trusted.x", b"1"),
    "the platform that it is anyway": option("--arch", "amd64"),
}
MISS: Mapping[str, tuple[Change, tuple[str, ...]]] = {
    "a branch that moved": (lambda place: git(place.work, "branch", "-f", "side", "main"),
                            ("add-branch", "add-commit", "add-url")),
    "another commit": (edit("#@COMMIT@", "#main"), ("add-commit", "add-url")),
    "what a URL gives": (remote(b"other"), ("add-url",)),
    "when it was modified": (set_on("web", modified="Mon, 01 Jan 2025 00:00:00 GMT"), ("add-url",)),
    "a checksum": (edit("ADD @URL@", "ADD --checksum=sha256:@SUM@ @URL@"), ("add-url",)),
    "an image with another file": (lambda place: place.other("hallo"), ("from-image", "run-bound", "run-given")),
    "a named context": (put("extra/d/f", "E"), ("run-bound", "run-given")),
    "a mounted folder of the context": (put("c/dir/f", "F"), ("run-bound", "run-given", "copy-dir", "run-heredoc")),
    "a secret that is mounted elsewhere": (edit("id=tok", "id=tok,target=/t"), ("run-given",)),
    "a cache that is mounted elsewhere": (edit("target=/cache", "target=/cache2"), ("run-given",)),
    "a declared proxy": (option("--build-arg", "HTTPS_PROXY=http://p"), ("run-proxy",)),
    "an ENV that no RUN uses": (edit("UNUSED=1", "UNUSED=2"), ("run-heredoc",)),
    "a heredoc": (edit("echo heredoc", "echo heredoc2"), ("run-heredoc",)),
    "--chmod": (edit("COPY one /copy", "COPY --chmod=600 one /copy"), ("copy-one", "copy-dir", "run-heredoc", "last")),
    "--link": (edit("COPY one /copy", "COPY --link one /copy"), ("copy-one", "copy-dir", "run-heredoc")),
    "a rule that ignores a file that is read": (put("c/.iechorignore", "**/ignored\ndir/x\n"),
                                                ("run-bound", "run-given", "copy-dir", "run-heredoc")),
    "an attribute": (attribute("user.x", b"1"), ("run-bound", "run-given", "copy-dir", "run-heredoc")),
}



@pytest.fixture
def web() -> Iterator[Web]:
    with serve_web() as server:
        yield server


def test_each_input_from_elsewhere_hits_or_misses(plain_user: Person, registry: Registry, busybox: str, web: Web,
                                                  tmp_path: Path) -> None:
    plain_user.mirror(registry)
    work = repository(tmp_path / "source")
    with serve_git(tmp_path) as url:
        first = Place(plain_user, web, work, url)
        first.fresh()
        assert first.build() == set(MARKS)
        wrong = []
        for what, change in HIT.items():
            wrong += tried(Place(plain_user, web, work, url), what, change, set())
        for what, (change, marks) in MISS.items():
            wrong += tried(Place(plain_user, web, work, url), what, change, set(marks))
    assert wrong == []


def tried(place: Place, what: str, change: Change, expected: set[str]) -> list[str]:
    """What was wrong about it, nothing for a good one."""
    place.fresh()
    change(place)
    ran = place.build()
    return [] if ran == expected else [f"{what}: {sorted(ran)} instead of {sorted(expected)}"]
