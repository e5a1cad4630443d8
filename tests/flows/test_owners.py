"""An image that somebody else made keeps its owners, devices, file capabilities and set-id bits on every way through.

As the user with one uid: FROM, COPY --from, COPY --chown, RUN, `iechor run`, save, push. The base and what comes out
are made and read with Python's tarfile: no code of ours vouches for itself.
"""

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests import images
from tests.conftest import Person
from tests.registry_server import Registry, skopeo

OWNERS = (0, 42, 65534, 445605, 4204350)
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep, as security.capability has it
CAP_KEY = "SCHILY.xattr.security.capability"
FILE = """FROM owned:1 AS base
FROM owned:1
COPY --from=owned:1 /o /copied
COPY --from=base /o/f42 /o/dev /o/caps /picked/
COPY --chown=445605:4204350 given /given
RUN for n in 0 42 65534 445605 4204350; do stat -c '%u:%g %a %F' /o/f$n /o/d$n; stat -c '%u:%g' /o/l$n; done; \\
    stat -c '%t:%T %u:%g %a %F' /o/dev; stat -c '%u:%g %a' /o/suid /o/sgid /copied/suid; stat -c '%u:%g' /given
RUN echo more >> /o/f42 && mv /o/f65534 /o/moved && chmod 6711 /o/f445605 && ln /o/f4204350 /o/second \\
    && cp -a /o/suid /o/c
"""


def entry(name: str, kind: bytes, owner: int, mode: int, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = kind, mode, owner, owner
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def base(folder: Path) -> Path:
    """Busybox (made without us) with one more layer's worth of odd owners put into its tar."""
    plain = images.busybox(folder / "plain")
    manifest = json.loads((plain / "index.json").read_text())["manifests"][0]["digest"].partition(":")[2]
    [layer] = json.loads((plain / "blobs/sha256" / manifest).read_text())["layers"]
    tar = io.BytesIO(gzip.decompress((plain / "blobs/sha256" / layer["digest"].partition(":")[2]).read_bytes()))
    out = io.BytesIO()
    with tarfile.open(fileobj=tar) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as new:
        for info in old:
            new.addfile(info, old.extractfile(info) if info.isreg() else None)
        new.addfile(entry("o", tarfile.DIRTYPE, 0, 0o755))
        for number in OWNERS:
            new.addfile(entry(f"o/f{number}", tarfile.REGTYPE, number, 0o640, size=2), io.BytesIO(b"x\n"))
            new.addfile(entry(f"o/d{number}", tarfile.DIRTYPE, number, 0o2751))
            new.addfile(entry(f"o/l{number}", tarfile.SYMTYPE, number, 0o777, linkname="nowhere"))
        new.addfile(entry("o/dev", tarfile.CHRTYPE, 42, 0o620, devmajor=5, devminor=1))
        new.addfile(entry("o/block", tarfile.BLKTYPE, 0, 0o660, devmajor=4095, devminor=70000))
        new.addfile(entry("o/suid", tarfile.REGTYPE, 42, 0o4755))
        new.addfile(entry("o/sgid", tarfile.REGTYPE, 65534, 0o2755))
        caps = CAPABILITY.decode("utf-8", "surrogateescape")
        new.addfile(entry("o/caps", tarfile.REGTYPE, 0, 0o755, pax_headers={CAP_KEY: caps}))
    return images.layout(folder / "owned", out.getvalue(), {"Env": [images.PATH], "Cmd": ["sh"]})


@pytest.fixture(scope="module")
def owned(registry: Registry, shared: Path) -> None:
    (shared / "owned").mkdir()
    registry.fill(base(shared / "owned"), "library/owned:1")


def members(archive: Path) -> dict[str, tuple[object, ...]]:
    """Path → what it is, of a docker-archive, upper layers over lower ones."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(archive) as outer:
        [image] = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]
        for name in image["Layers"]:
            data = outer.extractfile(name).read()  # type: ignore[union-attr]
            with tarfile.open(fileobj=io.BytesIO(data)) as layer:
                found.update({info.name.rstrip("/"): seen(info) for info in layer})
    return found


def seen(info: tarfile.TarInfo) -> tuple[object, ...]:
    device = (info.devmajor, info.devminor) if info.isdev() and not info.isfifo() else None
    return (info.type, info.uid, info.gid, info.mode, device, info.pax_headers.get(CAP_KEY))


def expected(caps: str) -> Mapping[str, tuple[object, ...]]:
    """Paths of the built image that nothing gave another owner, and those that a step made."""
    regular, folder, link = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE
    device, block = (tarfile.CHRTYPE, 42, 42, 0o620, (5, 1), None), (tarfile.BLKTYPE, 0, 0, 0o660, (4095, 70000), None)
    found: dict[str, tuple[object, ...]] = {
        "given": (regular, 445605, 4204350, 0o644, None, None), "o/dev": device, "copied/dev": device,
        "picked/dev": device, "o/block": block, "copied/block": block,
        "o/moved": (regular, 65534, 65534, 0o640, None, None), "o/c": (regular, 42, 42, 0o4755, None, None)}
    for top in ("o", "copied"):
        found |= {f"{top}/suid": (regular, 42, 42, 0o4755, None, None),
                  f"{top}/sgid": (regular, 65534, 65534, 0o2755, None, None),
                  f"{top}/caps": (regular, 0, 0, 0o755, None, caps)}
        for number in OWNERS:
            found[f"{top}/f{number}"] = (regular, number, number, 0o640, None, None)
            found[f"{top}/d{number}"] = (folder, number, number, 0o2751, None, None)
            found[f"{top}/l{number}"] = (link, number, number, 0o777, None, None)
    del found["o/f65534"]
    return found | {"o/f445605": (regular, 445605, 445605, 0o6711, None, None), "picked/f42": found["copied/f42"],
                    "picked/caps": found["copied/caps"]}


def test_owners_stay_on_every_way_through(plain_user: Person, registry: Registry, owned: None) -> None:
    person = plain_user
    person.mirror(registry)
    person.write("c/given", "given\n")
    person.write("c/iEchorfile", FILE)
    shown = person.iechor("build", "--progress=plain", "-t", "x", "c").stderr
    for number in OWNERS:  # RUN sees them
        assert f"{number}:{number} 640 regular file" in shown and f"{number}:{number} 2751 directory" in shown
    assert "5:1 42:42 620 character special file" in shown
    assert "42:42 4755" in shown and "65534:65534 2755" in shown and "445605:4204350" in shown

    told = person.iechor("run", "--rm", "x", "stat", "-c", "%u:%g %a", "/o/f42", "/o/f4204350", "/copied/d445605",
                         "/o/c", "/picked/f42", "/o/second").stdout.split("\n")  # `iechor run` sees them
    assert told[:6] == ["42:42 640", "4204350:4204350 640", "445605:445605 2751", "42:42 4755", "42:42 640",
                        "4204350:4204350 640"]

    person.iechor("save", "-o", person.home / "x.tar", "x")
    caps = CAPABILITY.decode("utf-8", "surrogateescape")
    saved = members(person.home / "x.tar")
    wanted = expected(caps)
    assert {path: saved.get(path) for path in wanted} == dict(wanted)

    person.iechor("push", "-q", "x", f"{registry.host}/mine/x:1")
    skopeo("copy", "--src-tls-verify=false", f"docker://{registry.host}/mine/x:1",
           f"docker-archive:{person.home}/pushed.tar:x:1")
    assert members(person.home / "pushed.tar") == saved
    assert not list_of_others(person)


def list_of_others(person: Person) -> list[str]:
    """What in their store and scratch is somebody else's, or could not be removed with rm -rf."""
    found = subprocess.run(["find", person.store, person.scratch, "(", "!", "-user", str(person.uid), "-o", "-type",
                            "d", "!", "-perm", "-700", ")"], capture_output=True, text=True, check=True)
    return found.stdout.splitlines()
