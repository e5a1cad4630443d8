"""What a user with one id builds is what real root builds: the same layer, to the last byte, step by step.

Each workload is a step of matrix/iEchorfile, on Debian; --userns=host, where the kernel keeps the owners, is the
oracle. With package managers: test_matrix_packages.py. What goes wrong: test_matrix_bad.py.
"""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person, _person
from tests.provision import PLAIN_USER
from tests.registry_server import Registry
from tests.same import Layer, differing, layers

HERE = Path(__file__).with_name("matrix")
I386 = Path(__file__).parent.parent / "sandbox/fakeroot_i386.c"
OWNERS = (0, 42, 65534, 445605, 4204350)
WORKLOADS = re.findall(r"^## (.+)", (HERE / "iEchorfile").read_text(), re.MULTILINE)


def owners_tar() -> bytes:
    """Of each of OWNERS: a folder, a file with two names, a symlink, a device, a FIFO."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for owner in OWNERS:
            for name, kind, mode in (("d", tarfile.DIRTYPE, 0o2750), ("f", tarfile.REGTYPE, 0o4755),
                                     ("l", tarfile.SYMTYPE, 0o777), ("dev", tarfile.CHRTYPE, 0o620),
                                     ("p", tarfile.FIFOTYPE, 0o600), ("h", tarfile.LNKTYPE, 0o4755)):
                info = tarfile.TarInfo(f"{name}{owner}")
                info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, owner, owner, 900000000
                info.linkname = f"f{owner}" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
                info.devmajor, info.devminor = (1, 3) if kind == tarfile.CHRTYPE else (0, 0)
                archive.addfile(info)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def context(shared: Path) -> Path:
    """The folder of the build, its programs compiled: both static, the 32-bit one without any libc."""
    folder = shared / "matrix"
    folder.mkdir()
    for name in ("iEchorfile", "step"):
        (folder / name).write_bytes((HERE / name).read_bytes())
        (folder / name).chmod(0o755)
    (folder / "owners.tar").write_bytes(owners_tar())
    subprocess.run(["gcc", "-static", "-O1", "-pthread", "-o", folder / "program", HERE / "program.c"], check=True)
    subprocess.run(["gcc", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie",
                    "-no-pie", "-O1", "-o", folder / "i386", I386], check=True)
    return folder


def built(person: Person, registry: Registry, context: Path) -> dict[str, Layer]:
    """Workload → the layer it left; the base and the files for the steps come first."""
    person.mirror(registry)
    person.iechor("build", "--progress=plain", "-t", "x", "--source-date-epoch=1000000000", context, timeout=280)
    return dict(zip(("base", "files", *WORKLOADS), layers(person, "x"), strict=True))


@pytest.fixture(scope="module")
def ours(registry: Registry, ubuntu: str, context: Path) -> Iterator[dict[str, Layer]]:
    for person in _person(PLAIN_USER, "fakeroot"):
        yield built(person, registry, context)


@pytest.fixture(scope="module")
def theirs(registry: Registry, ubuntu: str, context: Path) -> Iterator[dict[str, Layer]]:
    for person in _person("root", "host"):
        yield built(person, registry, context)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_layer_as_real_root(theirs: dict[str, Layer], ours: dict[str, Layer], name: str) -> None:
    found = differing(ours[name], theirs[name])
    assert not found, "\n".join(found)
    assert ours[name].digest == theirs[name].digest


def test_the_steps_did_what_they_say(ours: dict[str, Layer]) -> None:
    """A few facts, so that two equally empty layers prove nothing."""
    added = ours["ADD"].members()
    assert {added[f"added/f{owner}"].owner for owner in OWNERS} == {(owner, owner) for owner in OWNERS}
    assert ours["COPY --chown"].members()["copied/program"].owner == (445605, 4204350)
    caps = ours["file capabilities"].members()
    assert caps["caps/a"].xattrs and caps["caps/kept"].xattrs and not caps["caps/c"].xattrs
    nodes = ours["mknod"].members()
    assert (nodes["n/bigger"].kind, nodes["n/bigger"].device) == ("character device", (4095, 1048575))
    renamed = ours["rename, removal and copy-up"].members()
    assert renamed["old/a"].owner == renamed["old/b"].owner == (0, 0)
    assert renamed["old/c"].owner == renamed["old/d"].owner == (42, 43) and renamed["old/e2"].owner == (47, 43)
