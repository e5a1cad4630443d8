"""SOURCE_DATE_EPOCH and its relatives: the same build by other people, elsewhere and later, gives the same bytes."""

import datetime
import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry, skopeo
from tests.servers import serve_git

EPOCH = 1_600_000_000
FILE = """\
FROM busybox
ARG SOURCE_DATE_EPOCH
WORKDIR /srv/made
COPY old new /srv/
RUN echo ${SOURCE_DATE_EPOCH:-unset} > /srv/seen && mkdir /srv/d && ln -s seen /srv/link
LABEL of=test
"""
THEN = "2020-09-13T12:26:40Z"


def prepare(person: Person, registry: Registry, context: int = EPOCH + 1000) -> str:
    """A checkout at some time after the epoch, with one file from long before."""
    person.mirror(registry)
    person.write("ctx/iEchorfile", FILE)
    for name, time in (("new", context), ("old", 1_500_000_000)):
        os.utime(person.write(f"ctx/{name}", name), (time, time))
    return "ctx"


def config(archive: Path) -> dict:
    return json.loads(skopeo("inspect", "--config", f"oci-archive:{archive}"))


def layer_times(person: Person, archive: Path) -> dict[str, float]:
    """Of every file in the layers that the build added."""
    copied = person.home / "layers"
    skopeo("copy", "-q", f"oci-archive:{archive}", f"dir:{copied}")
    found = {}
    for layer in json.loads((copied / "manifest.json").read_text())["layers"][1:]:
        with tarfile.open(copied / layer["digest"].partition(":")[2]) as tar:
            found |= {member.name: member.mtime for member in tar}
    return found


def test_two_people_on_two_days_get_one_digest_and_one_archive(
        plain_user: Person, root_user: Person, registry: Registry, busybox: str) -> None:
    digests, archives, trees = set(), set(), set()
    for person, time in ((plain_user, EPOCH + 1000), (root_user, EPOCH + 90_000)):
        context = prepare(person, registry, time)
        person.iechor("build", "-o", "type=oci,dest=x.tar,name=x", "-o", "type=tar,dest=files.tar",
                      "-o", "type=docker,dest=y.tar,name=x", "--metadata-file", "m", context,
                      env={"SOURCE_DATE_EPOCH": str(EPOCH)})
        digests.add(json.loads((person.home / "m").read_text())["containerimage.digest"])
        archives.add(hashlib.sha256((person.home / "x.tar").read_bytes()).hexdigest())
        trees.add(hashlib.sha256((person.home / "files.tar").read_bytes()).hexdigest())
    assert (len(digests), len(archives), len(trees)) == (1, 1, 1)
    told = config(plain_user.home / "x.tar")
    assert told["created"] == THEN and {entry["created"] for entry in told["history"][-4:]} == {THEN}
    plain_user.iechor("build", "-o", "type=oci,dest=again.tar,name=x", "ctx", env={"SOURCE_DATE_EPOCH": str(EPOCH)})
    assert (plain_user.home / "again.tar").read_bytes() == (plain_user.home / "x.tar").read_bytes()


@pytest.mark.parametrize("options,environ,created,old,new,seen", [
    (("--source-date-epoch", str(EPOCH)), {"SOURCE_DATE_EPOCH": "1"}, THEN, 1_500_000_000, EPOCH, str(EPOCH)),
    (("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"), {"SOURCE_DATE_EPOCH": "1"}, THEN, 1_500_000_000, EPOCH, str(EPOCH)),
    (("--source-date-epoch", str(EPOCH), "--rewrite-timestamp=false"), {}, THEN, 1_500_000_000, EPOCH + 1000,
     str(EPOCH)),
    (("--timestamp", str(EPOCH)), {}, THEN, EPOCH, EPOCH, "unset"),
    (("--timestamp", str(EPOCH), "--squash"), {}, THEN, EPOCH, EPOCH, "unset"),
    ((), {}, None, 1_500_000_000, EPOCH + 1000, "unset"),
])
def test_what_each_option_does_to_the_image_and_to_files(
        plain_user: Person, registry: Registry, busybox: str, options: tuple[str, ...], environ: Mapping[str, str],
        created: str | None, old: int, new: int, seen: str) -> None:
    context = prepare(plain_user, registry)
    plain_user.iechor("build", *options, "-o", "type=oci,dest=x.tar", "-o", "out", context, env=environ)
    archive = plain_user.home / "x.tar"
    told, times = config(archive)["created"], layer_times(plain_user, archive)
    assert told == created if created else told > datetime.datetime.now(datetime.UTC).isoformat()[:10]
    assert (times["srv/old"], times["srv/new"]) == (old, new)
    if "--rewrite-timestamp=false" in options or created is None:
        assert times["srv/seen"] > EPOCH + 1000
    elif "--timestamp" in options:
        assert set(times.values()) == {EPOCH}
    else:
        assert max(times.values()) == EPOCH == times["srv/seen"] == times["srv/made"] == times["srv/link"]
    assert (plain_user.home / "out/srv/seen").read_text() == f"{seen}\n"
    assert (plain_user.home / "out/srv/new").stat().st_mtime == new


def test_the_file_may_say_the_time(plain_user: Person, registry: Registry, busybox: str) -> None:
    context = prepare(plain_user, registry)
    plain_user.write("ctx/iEchorfile", f"ARG SOURCE_DATE_EPOCH={EPOCH}\nFROM scratch\nCOPY old new /\n")
    plain_user.iechor("build", "-o", "type=oci,dest=x.tar", context)
    assert config(plain_user.home / "x.tar")["created"] == THEN
    plain_user.iechor("build", "-o", "type=oci,dest=y.tar", context, env={"SOURCE_DATE_EPOCH": "0"})
    assert config(plain_user.home / "y.tar")["created"] == "1970-01-01T00:00:00Z"


def test_a_git_context_has_the_time_of_its_commit(plain_user: Person, tmp_path: Path) -> None:
    date = {"GIT_COMMITTER_DATE": f"{EPOCH} +0000", "GIT_AUTHOR_DATE": f"{EPOCH} +0000"}
    repository = tmp_path / "one"
    repository.mkdir()
    (repository / "iEchorfile").write_text("FROM scratch\nCOPY iEchorfile /a\n")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", str(repository), *words], check=True, env={**os.environ, **date})
    with serve_git(tmp_path) as url:
        plain_user.iechor("build", "--build-arg", "SOURCE_DATE_EPOCH=context", "-o", "type=oci,dest=x.tar",
                          "-o", "out", f"{url}/one")
    assert config(plain_user.home / "x.tar")["created"] == THEN
    assert (plain_user.home / "out/a").stat().st_mtime == EPOCH


@pytest.mark.parametrize("words,environ", [
    (("--timestamp", "now"), {}), (("--source-date-epoch", "-1"), {}), (("--timestamp", "9" * 15), {}),
    (("--timestamp", "1", "--source-date-epoch", "1"), {}), ((), {"SOURCE_DATE_EPOCH": "1.5"}),
    (("--build-arg", "SOURCE_DATE_EPOCH=x"), {}),
])
def test_a_time_that_is_none_is_refused(plain_user: Person, words: tuple[str, ...], environ: Mapping[str, str]) -> None:
    plain_user.write("ctx/iEchorfile", "FROM scratch\n")
    assert "cannot use" in plain_user.iechor("build", *words, "ctx", env=environ, code=2).stderr
    plain_user.write("ctx/iEchorfile", "ARG SOURCE_DATE_EPOCH=x\nFROM scratch\n")
    assert "not a number of seconds" in plain_user.iechor("build", "ctx", code=3).stderr
