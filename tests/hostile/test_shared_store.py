"""Two users of one group with one store: they share what they pull and build, and neither can fool the other."""

import dataclasses
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import images
from tests.conftest import TMP, Person, _person
from tests.provision import PLAIN_USER, SUBUID_USER

GROUP = 64777  # of no name and nobody else


class Member(Person):
    """A person who is in the group, too."""

    def start(self, *argv: str | Path, env: Any = None, cwd: Path | None = None, **popen: Any) -> Any:
        return subprocess.Popen([str(word) for word in argv], user=self.uid, group=self.gid, umask=0o077,
                                extra_groups=[GROUP], env=self.environment(env), cwd=cwd or self.home, text=True,
                                start_new_session=True, **popen)


@contextmanager
def member(name: str) -> Iterator[Member]:
    with contextmanager(_person)(name, "fakeroot") as person:
        yield Member(**dataclasses.asdict(person))


@pytest.fixture
def alice() -> Iterator[Member]:
    with member(SUBUID_USER) as found:
        yield found


@pytest.fixture
def bob() -> Iterator[Member]:
    with member(PLAIN_USER) as found:
        yield found


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = TMP / f"iechor-test-group-{os.urandom(4).hex()}"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2770)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = TMP / f"iechor-test-layout-{os.urandom(4).hex()}"
    yield images.busybox(folder)  # type: ignore[misc]
    shutil.rmtree(folder)


def call(who: Member, store: Path, *words: str | Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    return who.iechor("--shared-store", store, *words, code=code)


def load(who: Member, store: Path, layout: Path) -> str:
    """The image's id; its name is base."""
    image = call(who, store, "load", "-i", layout).stdout.split()[-1].removeprefix("sha256:")
    call(who, store, "tag", image, "base")
    return image


def blobs(store: Path) -> dict[str, Path]:
    return {path.name: path for path in (store / "blobs/sha256").iterdir()}


def layer_of(store: Path, image: str) -> Path:
    """The largest blob is the layer."""
    return max(blobs(store).values(), key=lambda path: path.stat().st_size)


def test_what_one_pulled_and_built_the_other_uses(alice: Member, bob: Member, store: Path, layout: Path) -> None:
    image = load(alice, store, layout)
    assert call(bob, store, "run", "--rm", image, "echo", "mine").stdout == "mine\n"
    context = bob.write("c/iEchorfile", "FROM base\nRUN echo built >/built\n").parent
    call(bob, store, "build", "-t", "made", context)
    assert call(alice, store, "run", "--rm", "made", "cat", "/built").stdout == "built\n"
    call(alice, store, "tag", "made", "again")
    assert call(alice, store, "check").returncode == 0
    call(alice, store, "rmi", "made", "again", "base")
    call(bob, store, "prune", "--all", "-f")
    assert not list((store / "tmp").iterdir()) and not list((store / "leases").iterdir())


def test_modes_are_the_groups_whatever_the_umask(alice: Member, store: Path, layout: Path) -> None:
    load(alice, store, layout)
    assert blobs(store)
    for path in store.rglob("*"):
        status = path.lstat()
        assert status.st_gid == GROUP, path
        assert stat.S_IMODE(status.st_mode) == (0o2770 if path.is_dir() else 0o640), path
    assert not {"cache", "trees", "compressed", "claims"} & {path.name for path in store.iterdir()}
    own = next(alice.home.glob("store.shared-*"))
    assert stat.S_IMODE(own.stat().st_mode) == 0o700 and (own / "trees").is_dir()


def swap(victim: Path, data: bytes, owner: Person) -> None:
    """As a member of the group can: the name is taken away, and another file put there."""
    victim.unlink()
    victim.write_bytes(data)
    victim.chmod(0o640)
    os.chown(victim, owner.uid, GROUP)


def test_a_layer_that_was_swapped_is_refused(alice: Member, bob: Member, store: Path, layout: Path) -> None:
    """Bob's own bytes under the name of another digest: before Alice ever used the layer, and after."""
    image = load(alice, store, layout)
    layer = layer_of(store, image)
    good = layer.read_bytes()
    evil = bytearray(good)
    evil[len(evil) // 2] ^= 1
    swap(layer, bytes(evil), bob)
    for words in (("run", "--rm", image, "true"), ("save", "-o", alice.home / "x.tar", image)):
        told = call(alice, store, *words, code=125 if words[0] == "run" else 14).stderr
        assert "do not have this digest" in told and f"uid {bob.uid}" in told
    context = alice.write("c/iEchorfile", "FROM base\nRUN true\n").parent
    assert "do not have this digest" in call(alice, store, "build", context, code=14).stderr
    swap(layer, good, bob)  # the right bytes, in a file that Bob may change while Alice reads it
    assert call(alice, store, "run", "--rm", image, "echo", "right").stdout == "right\n"


def test_a_record_that_leads_elsewhere_is_refused(alice: Member, bob: Member, store: Path, layout: Path) -> None:
    """The ID and the digest were asked for; the file that finds them is anybody's."""
    image = load(alice, store, layout)
    context = bob.write("c/iEchorfile", "FROM base\nRUN echo evil >/evil\n").parent
    call(bob, store, "build", "-t", "evil", context)
    records = {json.loads(path.read_bytes())["config"].removeprefix("sha256:"): path
               for path in (store / "images").iterdir()}
    evil = next(path for config, path in records.items() if config != image)
    asked = records[image]
    told = json.loads(evil.read_bytes()) | {"config": f"sha256:{image}"}
    swap(asked, json.dumps(told).encode(), bob)
    evil.unlink()
    done = call(alice, store, "run", "--rm", image, "cat", "/evil", code=125)
    assert "leads to" in done.stderr and "evil" not in done.stdout
    done = call(alice, store, "run", "--rm", "--pull=never", f"evil@sha256:{asked.name}", "cat", "/evil", code=125)
    assert "evil" not in done.stdout


def test_a_poisoned_cache_is_not_looked_at(alice: Member, bob: Member, store: Path, layout: Path) -> None:
    """What Bob writes where the cache of a store of one user would be."""
    load(alice, store, layout)
    context = alice.write("c/iEchorfile", "FROM base\nRUN cat /proc/sys/kernel/random/uuid >/when\n").parent
    call(alice, store, "build", "-t", "mine", context)
    own = next(alice.home.glob("store.shared-*"))
    for name in ("cache", "trees", "compressed"):
        shutil.copytree(own / name, store / name)
    for path in (store / "cache").rglob("*"):
        if path.is_file():
            path.write_text(path.read_text().replace('"size": ', '"size": 1'))
    before = call(alice, store, "run", "--rm", "mine", "cat", "/when").stdout
    call(alice, store, "build", "-t", "mine", context)
    assert call(alice, store, "run", "--rm", "mine", "cat", "/when").stdout == before  # from her own cache
    other = bob.write("c/iEchorfile", "FROM base\nRUN cat /proc/sys/kernel/random/uuid >/when\n").parent
    call(bob, store, "build", "-t", "his", other)
    assert call(bob, store, "run", "--rm", "his", "cat", "/when").stdout != before


def test_a_store_that_others_may_write_to_has_to_be_named_so(alice: Member, bob: Member, store: Path,
                                                             layout: Path) -> None:
    load(alice, store, layout)
    assert "--shared-store" in bob.iechor("--store", store, "images", code=14).stderr
    own = bob.home / "mine"
    bob.iechor("--store", own, "images")
    own.chmod(0o775)
    bob.iechor("--store", own, "images")
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert "made for one user" in bob.iechor("--shared-store", own, "images", code=14).stderr
    made = bob.home / "made"
    bob.iechor("--shared-store", made, "load", "-i", layout)
    assert stat.S_IMODE(made.stat().st_mode) == 0o2770
