"""Tars that mean harm in ways of their own, each through every door that takes a tar from a stranger: as a layer (load,
pull), as what ADD unpacks, as the build context on standard input. All doors judge alike, and nothing is touched.
"""

import gzip
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless_builder.errors import IechorError, UnsafeArchive
from rootless_builder.layer.reader import read_layer
from rootless_builder.oci.reference import Reference
from rootless_builder.registry.transfer import pull
from rootless_builder.store.store import Store
from tests import provision
from tests.conftest import Person, _person
from tests.hostile.hostile_server import LAYER, MANIFEST, config_of, described, manifest_of, serve
from tests.hostile.test_images import loaded, write_layout
from tests.hostile.test_registries import client_of
from tests.registry_server import Registry
from tests.tarbytes import END, base256, file, folder, gnu_long, hard_link, header, padded, pax, raw_pax, symlink

UNSAFE = UnsafeArchive.exit_code
VICTIM = b"/var/tmp/iechor-test-victim"  # nobody makes it: it must not be there afterwards
DEEP = b"/".join([b"d" * 100] * 40)  # just below PATH_MAX

TAKEN = {  # the members in the end; None: not looked at
    "another archive behind the end": (file(b"a") + END + file(b"b"), {"a"}),
    "an end, and nothing before it": (END + file(b"a"), set()),
    "a global header with a path": (pax((b"path", b"../../x"), kind=b"g") + file(b"a"), {"a"}),
    "a global header with sizes": (pax((b"size", b"99999"), (b"uid", b"-1"), kind=b"g") + file(b"a"), {"a"}),
    "records for a header of records": (pax((b"path", b"../x")) + pax((b"path", b"a")) + file(), {"a"}),
    "a long name, and another": (gnu_long(b"../x") + gnu_long(b"a") + file(), {"a"}),
    "a folder in the place of a symlink": (symlink(b"s", VICTIM) + folder(b"s") + file(b"s/x"), {"s", "s/x"}),
    "a link to what is replaced by a symlink": (
        file(b"a", b"1") + hard_link(b"l", b"a") + symlink(b"a", VICTIM), {"a", "l"}),
    "a link to itself": (file(b"a", b"1") + hard_link(b"a", b"a"), {"a"}),
    "a link through dots that stay": (file(b"d/a", b"1") + hard_link(b"l", b"./d//./a"), {"d/a", "l"}),
    "a symlink of the longest": (pax((b"linkpath", b"t" * 4095)) + symlink(b"s", b"t"), {"s"}),
    "three dots": (file(b".../a") + file(b"..a/.b"), {".../a", "..a/.b"}),
    "backslashes and drives": (file(b"..\\..\\a") + file(b"c:\\a"), {"..\\..\\a", "c:\\a"}),
    "names that are options": (file(b"-rf") + file(b"--to-command=sh") + file(b"@a") + file(b"#a"),
                               {"-rf", "--to-command=sh", "@a", "#a"}),
    "names that draw": (file(b"\x1b[2J\x1b]0;x\x07") + file(b"a\nb") + file(b"\r") + file(b"\xff\xfe"), None),
    "names that are formats": (file(b"%s%n%x") + file(b"{0.__class__}") + file(b"$(id)") + file(b"`id`"),
                               {"%s%n%x", "{0.__class__}", "$(id)", "`id`"}),
    "all bits of a mode": (file(b"a", mode=0o7777777), {"a"}),
    "times beyond all calendars": (file(b"a", mtime=base256(1 << 62, 12)) + file(b"b", mtime=base256(-(1 << 62), 12)) +
                                   pax((b"mtime", b"-0.000000001")) + file(b"c"), {"a", "b", "c"}),
    "a path of the longest": (pax((b"path", DEEP)) + file(), None),
    "a folder of old with content": (header(b"d/", b"0", size=600) + padded(b"x" * 600) + file(b"a"), {"d", "a"}),
    "contiguous files": (header(b"a", b"7", size=3) + padded(b"abc"), {"a"}),
    "folders that nobody may enter": (header(b"d", b"5", mode=0) + file(b"d/a", mode=0),
                                      {"d", "d/a"}),
    "a thousand times the same": (b"".join(file(b"a", b"%d" % number) for number in range(1000)), {"a"}),
    "a pipe": (header(b"p", b"6"), {"p"}),
    "a size in records alone": (pax((b"size", b"3")) + header(b"a", size=0) + padded(b"abc") + file(b"b"), {"a", "b"}),
    "places that a container mounts over": (
        symlink(b"proc", VICTIM) + symlink(b"dev", VICTIM) + file(b"sys", b"x") + file(b"etc/passwd", b"\0" * 100),
        {"proc", "dev", "sys", "etc/passwd"}),
    "records under a long name": (gnu_long(b"a") + pax((b"path", b"../x")) + file(), {"a"}),  # as Go has it
    "a volume's label": (header(b"x", b"V") + file(b"a"), {"a"}),
}
REFUSED = {
    "records that take the size away": (pax((b"size", b"0")) + file(b"a", b"x" * 600) + file(b"b"), "no header"),
    "a size of 2^63": (header(b"a", size=base256(1 << 63, 12)), "size|larger|cut off"),
    "a long name that climbs, over a good one": (gnu_long(b"../x") + file(b"a"), "leads out"),
    "a long target that climbs": (gnu_long(b"../../x", b"K") + hard_link(b"a", b"b"), "leads out"),
    "a prefix that climbs": (file(b"x", prefix=b"../.."), "leads out"),
    "a symlink in the place of a folder": (file(b"d/a") + symlink(b"d", VICTIM) + file(b"d/x"), "below 'd'"),
    "below a link to a symlink to a folder": (
        folder(b"f") + symlink(b"s", b"f") + hard_link(b"l", b"s") + folder(b"l/x"), "below 'l'"),
    "below a pipe": (header(b"p", b"6") + file(b"p/x"), "below 'p'"),
    "a file that began elsewhere": (header(b"a", b"M", size=5) + padded(b"12345"), "unknown type"),
    "a directory's dump": (header(b"d", b"D", size=3) + padded(b"Ya\0"), "unknown type"),
    "records of Solaris": (header(b"x", b"X", size=9) + padded(b"9 path=x\n") + file(b"a"), "unknown type"),
    "a socket of cpio's": (header(b"s", b"s"), "unknown type"),
    "a record in a record": (raw_pax(b"20 path=a\n9 path=b\n"), "pax record|describes nothing"),
    "a sparse file with a name that climbs": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"../x"),
            (b"GNU.sparse.realsize", b"1")) + header(size=512) + padded(b"0\n"), "leads out"),
    "a device's name that climbs": (header(b"dev/../../sda", b"4", major=8), "leads out"),
}


TARS = {**{name: data + END for name, (data, _) in TAKEN.items()},
        **{name: data + END for name, (data, _) in REFUSED.items()}}
SEVERAL = """
import contextlib, io, json, os, sys
from rootless_builder.cli.main import main
done = []
for given, words in json.loads(sys.argv[1]):
    fd = os.open(given or os.devnull, os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words)
    done.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(done))
"""


@pytest.fixture
def person() -> Iterator[Person]:
    for person in _person(provision.PLAIN_USER, "fakeroot"):
        yield person
        assert not os.path.lexists(VICTIM)


def several(person: Person, *commands: tuple[str | Path, ...], given: list[Path] | None = None) -> dict[str, str]:
    """For each of TARS one command in one process → what was said where it was refused, "" where not."""
    inputs = [str(path) for path in given] if given else [""] * len(commands)
    asked = json.dumps([(path, [str(word) for word in words]) for path, words in zip(inputs, commands, strict=True)])
    done = person.run(person.command()[0], "-c", SEVERAL, asked, timeout=280)
    assert done.returncode == 0, done.stderr
    said = {}
    for name, (code, _, errors) in zip(TARS, json.loads(done.stdout), strict=True):
        assert code in (0, UNSAFE) and "Traceback" not in errors and "this is a bug" not in errors, (name, errors)
        assert "\x1b" not in errors, name
        said[name] = errors if code else ""
    return said


def judged_rightly(said: dict[str, str]) -> None:
    assert {name for name, errors in said.items() if errors} == set(REFUSED)
    for name, (_, cause) in REFUSED.items():
        assert any(word in said[name] for word in cause.split("|")), (name, said[name])


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("whiteouts", [True, False], ids=["layer", "archive"])
def test_what_of_it_is_taken(name: str, whiteouts: bool) -> None:
    data, wanted = TAKEN[name]
    paths = {change.path for change in read_layer(io.BytesIO(data + END), whiteouts=whiteouts)}
    assert paths == wanted or wanted is None
    assert not [path for path in paths if path.startswith("/") or ".." in path.split("/")]


def image_of(tar: bytes, folder: Path) -> Path:
    blob, config = gzip.compress(tar, 1, mtime=0), config_of(tar)
    manifest = manifest_of(config, (blob, LAYER))
    return write_layout(folder, described(manifest, MANIFEST), manifest, config, blob)


def test_as_a_layer_that_is_loaded(person: Person) -> None:
    layouts = [image_of(tar, person.home / f"layout{number}") for number, tar in enumerate(TARS.values())]
    judged_rightly(several(person, *(("load", "-i", layout) for layout in layouts)))


def test_as_a_layer_that_is_pulled(tmp_path: Path) -> None:
    said = {}
    for name, tar in TARS.items():
        with serve(tar=tar, layer=(gzip.compress(tar, 1), LAYER)) as server, Store.open(tmp_path / "store") as store:
            try:
                pull(Reference.parse(f"{server.host}/a:1"), store, client=client_of(tmp_path, 0))
                said[name] = ""
            except IechorError as error:
                assert error.exit_code == UNSAFE, (name, error)
                said[name] = error.message
    judged_rightly(said)


def test_as_what_add_unpacks(person: Person) -> None:
    """And what is taken goes out again, as a tar: names and numbers are written as they were read."""
    for number, tar in enumerate(TARS.values()):
        person.write(f"c{number}/a.tar", tar)
        person.write(f"c{number}/iEchorfile", "FROM scratch\nADD a.tar /\n")
    judged_rightly(several(person, *(
        ("build", "-q", "-o", f"type=tar,dest={person.home}/out{number}.tar", f"{person.home}/c{number}")
        for number in range(len(TARS)))))
    for path in person.home.glob("out*.tar"):
        listed = subprocess.run(["bsdtar", "-tf", path], capture_output=True)
        assert listed.returncode == 0, listed.stderr


def test_as_a_context_on_standard_input(person: Person) -> None:
    start = file(b"iEchorfile", b"FROM scratch\nCOPY . /\n")
    given = [person.write(f"context{number}.tar", start + tar) for number, tar in enumerate(TARS.values())]
    judged_rightly(several(person, *(("build", "-q", "-") for _ in TARS), given=given))


def test_as_layers_that_are_unpacked_for_a_run(person: Person, registry: Registry, busybox: str) -> None:
    """All that is taken, one over the other: on disk, seen by a command, and removed again by its user."""
    person.mirror(registry)
    name = loaded(person, *(TARS[name] for name in TAKEN if "mounts over" not in name))
    person.write("c/iEchorfile", f"FROM {busybox}\nCOPY --from={name} / /x/\n"
                                 "RUN find /x | grep -c /x/d && rm -rf /x/d\n")
    person.iechor("build", "--progress=plain", person.home / "c")
    person.iechor("prune", "--all")
    assert not [path for path in person.scratch.rglob("*") if path.name == "iEchorfile"]
