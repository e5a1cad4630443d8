"""What a step is found by: every input of every kind of step, changed, and whether that is a hit or a miss.

One file with all kinds of steps is built once; then one thing is changed at a time, and built again.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry, serve_http

TEXT = """\
FROM busybox AS made
RUN echo make-it > /made && date +%N > /other
FROM busybox AS running
ARG USED=1
RUN --mount=type=bind,source=bound,target=/b --mount=type=secret,id=tok echo run-bind $USED && cat /b/f
FROM busybox AS environment
ENV E=1
WORKDIR /w
USER app
RUN echo run-env
FROM busybox AS taken
RUN --mount=type=bind,from=made,source=/made,target=/m cat /m && echo run-mount
FROM busybox AS copied
COPY dir /copy-dir/
COPY --chmod=644 --chown=1:1 one /copy-one
COPY --exclude=*.log logs /copy-logs
COPY <<EOF /copy-inline
text
EOF
ADD a.tar /add-tar/
ADD @URL@ /add-url
FROM scratch AS linked
COPY --link one /copy-link
FROM scratch
COPY --from=made /made /from-made
COPY --from=running /etc/passwd /from-running
COPY --from=environment /etc/passwd /from-environment
COPY --from=taken /etc/passwd /from-taken
COPY --from=copied /etc/passwd /from-copied
COPY --from=linked /copy-link /from-linked
"""
FILES = {"dir/f": "f", "dir/sub/x": "x", "one": "1", "logs/a.txt": "a", "logs/b.log": "b", "bound/f": "b",
         "unused": "u", ".iechorignore": "ignored\n"}
MARKS = ("make-it", "run-bind", "/w", "run-env", "run-mount", "copy-dir", "copy-one", "copy-logs", "copy-inline",
         "add-tar", "add-url", "copy-link", "from-made", "from-running", "from-environment", "from-taken",
         "from-copied", "from-linked")
OF_COPIED = ("copy-dir", "copy-one", "copy-logs", "copy-inline", "add-tar", "add-url")


class Server:
    """One file, with an ETag; `body` may be changed."""

    def __init__(self) -> None:
        self.body = b"remote"
        self.etag = '"1"'
        self.modified = "Mon, 01 Jan 2024 00:00:00 GMT"
        self.sent = 0


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            same = self.headers.get("If-None-Match") == state.etag
            self.send_response(304 if same else 200)
            for name, value in (("ETag", state.etag), ("Last-Modified", state.modified),
                                ("Content-Length", "0" if same else str(len(state.body)))):
                self.send_header(name, value)
            self.end_headers()
            if not same:
                state.sent += 1
                self.wfile.write(state.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serve_http(Handler) as url:
        yield state, url


@dataclass
class Place:
    """A context that is changed, and how it is built."""

    person: Person
    server: Server
    text: str
    options: list[str] = field(default_factory=list)
    umask: int = 0o022

    @property
    def folder(self) -> Path:
        return self.person.home / "c"

    def edit(self, old: str, new: str) -> None:
        assert old in self.text
        self.text = self.text.replace(old, new)

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        self.person.write(f"c/{name}", text, mode)

    def fresh(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, text in FILES.items():
            self.write(name, text)
        subprocess.run(["tar", "-C", self.folder, "--mtime=@1", "-cf", self.folder / "a.tar", "logs"], check=True)

    def build(self) -> set[str]:
        """Marks of the steps that were run."""
        self.person.write("c/iEchorfile", self.text)
        shown = self.person.iechor("build", "--progress=plain", "--secret", "id=tok,env=TOKEN", *self.options,
                                   self.folder, env={"TOKEN": "t" * 9}).stderr
        hits = set(re.findall(r"^#(\d+) CACHED", shown, re.MULTILINE))
        steps = re.findall(r"^#(\d+) \[[^]]*\] (.*)$", shown, re.MULTILINE)
        return {[mark for mark in MARKS if mark in step][-1] for number, step in steps
                if number not in hits and not step.startswith("FROM")}


def chmod(name: str, mode: int) -> "Callable[[Place], object]":
    return lambda place: (place.folder / name).chmod(mode)


def put(name: str, text: str) -> "Callable[[Place], object]":
    return lambda place: place.write(name, text)


def edit(old: str, new: str) -> "Callable[[Place], object]":
    return lambda place: place.edit(old, new)


def option(*words: str) -> "Callable[[Place], object]":
    return lambda place: place.options.extend(words)


def touch(place: Place) -> None:
    for path in place.folder.rglob("*"):
        os.utime(path, (1, 1))


def chown(place: Place) -> None:
    for path in place.folder.rglob("*"):
        os.chown(path, 12345, 54321)


def umask(taken: int) -> "Callable[[Place], object]":
    """As a clone with this umask would have it."""
    def change(place: Place) -> None:
        for path in (place.folder, *place.folder.rglob("*")):
            path.chmod((0o777 if path.is_dir() else 0o666) & ~taken)
            os.chown(path, place.person.uid, place.person.gid)

    return change


def symlinked(place: Place) -> None:
    (place.folder / "dir" / "f").unlink()
    (place.folder / "dir" / "f").symlink_to("sub/x")


def remote(body: bytes, etag: str) -> "Callable[[Place], object]":
    def change(place: Place) -> None:
        place.server.body, place.server.etag = body, etag

    return change


HIT: Mapping[str, Callable[[Place], object]] = {
    "nothing": lambda place: None,
    "times": touch, "owners": chown, "umask 077": umask(0o077), "umask 002": umask(0o002), "umask 000": umask(0),
    "a file that nobody reads": put("unused", "other"), "an ignored file": put("ignored", "new"),
    "an excluded file": put("logs/b.log", "other"),
    "a comment": edit("FROM busybox AS running", "# why\nFROM busybox AS running"),
    "a value for an ARG that is its default": option("--build-arg", "USED=1"),
    "a predefined ARG": option("--build-arg", "HTTP_PROXY=http://p"),
    "an ARG that no step follows": edit("COPY --link one", "ARG UNUSED=1\nCOPY --link one"),
    "a label": option("--label", "a=b"), "a name": option("-t", "named"),
    "another ETag for the same bytes": remote(b"remote", '"9"'),
    "CMD and LABEL": edit("RUN echo run-env", "CMD [\"x\"]\nLABEL a=b\nRUN echo run-env"),
}
MISS: Mapping[str, tuple[Callable[[Place], object], tuple[str, ...]]] = {
    "content": (put("dir/f", "F"), OF_COPIED),
    "content of the same size and time, below": (put("dir/sub/x", "y"), OF_COPIED),
    "a new file": (put("dir/new", ""), OF_COPIED),
    "mode 600": (chmod("dir/f", 0o600), OF_COPIED), "x": (chmod("dir/f", 0o755), OF_COPIED),
    "a folder's mode": (chmod("dir/sub", 0o700), OF_COPIED), "set-user-id": (chmod("dir/f", 0o4644), OF_COPIED),
    "group may write": (chmod("dir/f", 0o664), OF_COPIED), "sticky": (chmod("dir/sub", 0o1755), OF_COPIED),
    "kind": (symlinked, OF_COPIED),
    "a file that two steps read": (put("one", "2"), ("copy-link", "from-linked", *OF_COPIED[1:])),
    "--chmod": (edit("--chmod=644", "--chmod=600"), OF_COPIED[1:]),
    "--chown": (edit("--chown=1:1", "--chown=1:2"), OF_COPIED[1:]),
    "--exclude": (edit("*.log", "*.txt"), OF_COPIED[2:]),
    "the target": (edit("/copy-one", "/copy-one2"), OF_COPIED[1:]),
    "an inline file": (edit("\ntext\n", "\nother\n"), OF_COPIED[3:]),
    "an archive": (lambda place: (place.folder / "a.tar").write_bytes(bytes(10240)), OF_COPIED[4:]),
    "what a URL gives": (remote(b"other", '"2"'), OF_COPIED[5:]),
    "a bound folder": (put("bound/f", "B"), ("run-bind",)),
    "the command": (edit("run-env", "run-env2"), ("run-env",)),
    "ENV": (edit("ENV E=1", "ENV E=2"), ("run-env",)),
    "USER": (edit("USER app", "USER root"), ("run-env",)),
    "WORKDIR": (edit("WORKDIR /w", "WORKDIR /w2"), ("/w", "run-env")),
    "SHELL": (edit("RUN echo run-env", 'SHELL ["/bin/sh", "-ec"]\nRUN echo run-env'), ("run-env",)),
    "an ARG that is used": (option("--build-arg", "USED=2"), ("run-bind",)),
    "an ARG that a RUN could use": (edit("USER app", "ARG X=1\nUSER app"), ("run-env",)),
    "--network": (edit("RUN echo run-env", "RUN --network=none echo run-env"), ("run-env",)),
    "a mount": (edit("RUN echo run-env", "RUN --mount=type=tmpfs,target=/t echo run-env"), ("run-env",)),
    "the base": (edit("FROM busybox AS environment", "FROM made AS environment"), ("/w", "run-env")),
    "SOURCE_DATE_EPOCH": (option("--timestamp", "7"), MARKS),
    "--no-cache": (option("--no-cache"), MARKS),
}


def test_each_input_hits_or_misses(plain_user: Person, registry: Registry, busybox: str,
                                   server: tuple[Server, str]) -> None:
    plain_user.mirror(registry)
    state, url = server
    text = TEXT.replace("@URL@", f"{url}/file")
    first = Place(plain_user, state, text)
    first.fresh()
    assert first.build() == set(MARKS)
    wrong = []
    for what, change in HIT.items():
        wrong += tried(Place(plain_user, state, text), what, change, set())
    for what, (change, marks) in MISS.items():
        wrong += tried(Place(plain_user, state, text), what, change, set(marks))
    assert wrong == []


def tried(place: Place, what: str, change: Callable[[Place], object], expected: set[str]) -> list[str]:
    """What was wrong about it, nothing for a good one."""
    place.server.body, place.server.etag = b"remote", '"1"'
    place.fresh()
    change(place)
    ran = place.build()
    return [] if ran == expected else [f"{what}: {sorted(ran)} instead of {sorted(expected)}"]


def test_a_stage_that_is_built_anew_to_the_same_content_hits(plain_user: Person, registry: Registry, busybox: str,
                                                             server: tuple[Server, str]) -> None:
    """Its layers are others: a clock is in one of its files, and in the times of all."""
    plain_user.mirror(registry)
    place = Place(plain_user, server[0], TEXT.replace("@URL@", f"{server[1]}/file"))
    place.fresh()
    place.build()
    place.options = ["--no-cache-filter", "made"]
    assert place.build() == {"make-it"}
    place.options = []
    assert place.build() == set()
    place.edit("echo make-it", "echo make-it2")
    assert place.build() == {"make-it", "run-mount", "from-made", "from-running", "from-environment", "from-taken",
                             "from-copied", "from-linked"}


def test_the_same_commit_cloned_by_two_users_hits(plain_user: Person, subuid_user: Person, registry: Registry,
                                                  busybox: str, shared: Path) -> None:
    """Other owners, other times, other umasks: and nothing is run by the second, who has the cache of the first."""
    origin, work = shared / "origin.bundle", shared / "origin"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.directory=*"]
    (work / "src").mkdir(parents=True)
    (work / "iEchorfile").write_text("FROM busybox\nCOPY . /src/\nCOPY run /usr/bin/\nRUN --mount=source=src,target=/s "
                                     "cat /s/f && run\n")
    (work / "run").write_text("#!/bin/sh\necho ran\n")
    (work / "run").chmod(0o755)
    (work / "src" / "f").write_text("f")
    (work / ".iechorignore").write_text(".git\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["bundle", "create", "-q", origin, "--all"]):
        subprocess.run([*git, *words], cwd=work, check=True)
    keys = []
    for person, mask, options in ((subuid_user, "022", ["--cache-to", f"type=local,dest={shared}/keys"]),
                                  (plain_user, "077", ["--cache-from", f"type=local,src={shared}/keys"])):
        (shared / "keys").mkdir(exist_ok=True)
        (shared / "keys").chmod(0o777)
        person.mirror(registry)
        done = person.run("sh", "-c", f"umask {mask} && git clone -q {origin} clone && cd clone && "
                                       "git checkout -q $(git rev-list --all)")
        assert done.returncode == 0, done.stderr
        shown = person.iechor("build", "--progress=plain", "-t", "x", *options, person.home / "clone").stderr
        keys.append(shown.count(" CACHED"))
    assert (plain_user.home / "clone" / "src" / "f").stat().st_mode & 0o777 == 0o600
    assert keys == [0, 3]
