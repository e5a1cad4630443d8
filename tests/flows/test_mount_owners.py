"""Owners of what RUN mounts: those of a stage or an image are seen, those in a cache stay; for one uid as for root."""

import dataclasses
import json
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Person, _person
from tests.flows.test_build import build, context, members
from tests.flows.test_matrix_bad import nothing_left, supervisor_of
from tests.registry_server import Registry
from tests.same import Layer, differing, layers

MADE = """\
FROM busybox AS made
RUN mkdir -p /o/d && echo f > /o/f && ln -s nowhere /o/l && chown 42:43 /o/f && chmod 6755 /o/f && chown -h 3:4 /o/l \\
    && chown 5:6 /o/d && chmod 2750 /o/d && ln /o/f /o/hard && echo a > /o/d/in && chown app /o/d/in
"""
BIND = MADE + """\
FROM busybox
RUN --mount=from=made,target=/m stat -c '%n %u:%g %a' /m /m/o/* /m/o/d/in && cp -a /m/o /whole && ! chown 1 /m/o/f
RUN --mount=from=made,source=/o/f,target=/file stat -c '%n %u:%g %a' /file && cp -a /file /one
RUN --mount=from=made,source=/o,target=/m,rw chown 7 /m/d && stat -c '%n %u:%g %a' /m/d /m/f /m/l && mv /m/d /m/e \\
    && rm /m/f && echo new > /m/f && chown 8 /m/f && cp -a /m/e /m/f /
RUN --mount=from=made,target=/m stat -c '%n %u:%g %a' /m/o/f /m/o/d && cp -a /m/o /again
USER app
RUN --mount=from=made,source=/o,target=/m,rw ! touch /m/d/new 2>/dev/null && ! chmod 777 /m/f 2>/dev/null
USER root
COPY --from=made /o /copied
"""
CACHE = MADE + """\
FROM busybox
ARG N
RUN --mount=type=cache,target=/c [ ! -e /c/f ] && mkdir -p /c/d/sub && echo > /c/f && chown 42:43 /c/f \\
    && chmod 4750 /c/f && ln /c/f /c/h && ln -s no /c/l && chown -h 3:4 /c/l && chown 5:6 /c/d && chmod 2770 /c/d \\
    && chown app /c/d/sub
RUN --mount=type=cache,target=/c cp -a /c /first && touch /c/d/new && rm /c/h && chown :9 /c/f && mv /c/l /c/moved
RUN --mount=type=cache,target=/c --mount=type=cache,target=/c2,id=/c,ro --mount=type=cache,target=/c3 \\
    cp -a /c2 /second && rm -r /c/d && mkdir /c/d && echo x > /c/x && echo $N
RUN --mount=type=cache,target=/c cp -a /c /third && chown 77 /c
RUN --mount=type=cache,target=/c,id=from,from=made,source=/o cp -a /c /fourth && chown -h 1 /c/l && ln -s x /c/new
RUN --mount=type=cache,target=/c,id=from,from=made,source=/o cp -a /c /fifth
USER app
RUN --mount=type=cache,target=/home/app/c,uid=1000,mode=0700 \\
    for i in $(seq 300); do mkdir -p ~/c/$i; echo > ~/c/$i/f; done
RUN --mount=type=cache,target=/home/app/c,uid=1000,mode=0700 [ -z "$(find ~/c ! -user app)" ] && rm -r ~/c/1*
USER root
RUN --mount=type=cache,target=/home/app/c,uid=1000,mode=0700 stat -c '%n %u:%g %a' /home/app/c && touch /home/app/c/root
USER app
RUN --mount=type=cache,target=/home/app/c,uid=1000,mode=0700 echo > ~/c/2/f && ! echo > ~/c/root 2>/dev/null
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """shown: what stat wrote in the steps."""

    layers: list[Layer]
    shown: list[str]


def built(person: Person, text: str) -> Built:
    said = build(person, text, "--source-date-epoch=1000000000")
    return Built(layers=layers(person, "x"), shown=re.findall(r"^#\d+ [0-9.]+ (/\S+ \d+:\d+ \d+)$", said, re.MULTILINE))


@pytest.fixture(scope="module")
def oracle(registry: Registry, busybox: str) -> Iterator[dict[str, Built]]:
    """What real root makes of both."""
    for person in _person("root", "host"):
        person.mirror(registry)
        yield {text: built(person, text) for text in (BIND, CACHE)}


def copy_trees(person: Person) -> None:
    """As where no overlay can be mounted: then all mounts are on one file system."""
    build(person, "FROM busybox\nRUN true\n")
    note = person.scratch / "fakeroot.1/overlay.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"errno": 22}))


@pytest.mark.parametrize("way", ["overlay", "check-out"])
@pytest.mark.parametrize("text", [BIND, CACHE], ids=["bind", "cache"])
def test_the_same_as_real_root(user: Person, oracle: dict[str, Built], text: str, way: str) -> None:
    if way == "check-out":
        copy_trees(user)
    ours = built(user, text)
    assert ours.shown == oracle[text].shown and ours.shown
    for mine, theirs in zip(ours.layers, oracle[text].layers, strict=True):
        assert not differing(mine, theirs)
    if text == BIND:
        found = members(user)
        assert (found["whole/f"].uid, found["whole/f"].gid, found["whole/f"].mode) == (42, 43, 0o6755)


def test_from_build_to_build_and_through_a_failure(user: Person) -> None:
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c %s; echo $N\n"
    build(user, text % "touch /c/f && chown 5:6 /c/f && mknod /c/dev c 1 3 && chown 7 /c/dev", "--build-arg=N=1")
    shown = build(user, text % "stat -c '%n %u:%g %F' /c/*; chown 8 /c/f; exit 1", "--build-arg=N=2", code=6)
    assert "/c/f 5:6 regular empty file" in shown and "/c/dev 7:0 character special file" in shown
    assert "/c/f 8:6" in build(user, text % "stat -c '%n %u:%g' /c/f", "--build-arg=N=3")
    build(user, text % "chown 9 /c/f; nothing", "--build-arg=N=4")
    assert "/c/f 9:6" in build(user, text % "stat -c '%n %u:%g' /c/f", "--build-arg=N=5")
    user.iechor("prune", "--cache")
    assert "/c/f" not in build(user, text % "ls /c", "--build-arg=N=6").replace("RUN --mount", "")


@pytest.mark.parametrize("who", ["the user", "an out-of-memory killer"])
def test_a_step_that_is_ended_from_outside(user: Person, who: str) -> None:
    """Interrupted: what it did until then stays. The supervisor killed: nobody knows, and the cache begins anew."""
    mount = "RUN --mount=type=cache,target=/c"
    build(user, f"FROM busybox\n{mount} touch /c/old && chown 3 /c/old\n")
    place = context(user, f"FROM busybox\n{mount} touch /c/f && chown 5:6 /c/f && echo begun && sleep 6161\n")
    process = user.start(*user.command("build", "--progress=plain", str(place)), stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any("begun" in line and "RUN" not in line for line in process.stderr)
    if who == "the user":
        process.send_signal(signal.SIGINT)
    else:
        supervisor_of(process).kill()
    process.communicate(timeout=20)
    nothing_left(user)
    shown = build(user, f"FROM busybox\n{mount} stat -c '%n %u:%g' /c/* || true\n")
    if who == "the user":
        assert "/c/f 5:6" in shown and "/c/old 3:0" in shown and "begins anew" not in shown
    else:
        assert "the cache /c begins anew" in shown and "/c/f" not in shown and "/c/old" not in shown


def test_apt_fetches_as_a_user_of_its_own(user: Person, ubuntu: str) -> None:
    """The folder is _apt's in the next build, too, and what was fetched need not be fetched again."""
    mounts = "--mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt/lists"
    text = f"FROM {ubuntu}\nRUN {mounts} rm -f /etc/apt/apt.conf.d/docker-clean; %s\n"
    fetch = "apt-get -qq update && apt-get -qq -y -d install hello && cd /var/cache/apt/archives && " \
            "chown _apt partial && stat -c '%n %U %a' partial *.deb"
    first = build(user, text % fetch)
    assert "partial _apt 700" in first and re.search(r"hello_\S+\.deb root 644", first), first
    later = "stat -c '%n %U %a' /var/cache/apt/archives/partial && apt-get -y --no-download install hello && hello"
    shown = build(user, text % later)
    assert "/var/cache/apt/archives/partial _apt 700" in shown and "Hello, world!" in shown


def test_more_mounts_than_have_tables(user: Person) -> None:
    mounts = " ".join(f"--mount=type=cache,target=/c{number}" for number in range(65))
    shown = build(user, f"FROM busybox\nRUN {mounts} true\n", code=11)
    assert "cannot mount more than 64 trees and caches in one step" in shown
