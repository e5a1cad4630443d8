"""Layer digests may never change silently: a change here means that every cache is cold and every image is new.

digests.json: name → SHA-256 of the layer. If a change is meant, say why in CHANGELOG.md and write the new digest in.
"""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless_builder import _layercore, _layercore_py, layercore
from rootless_builder.layer.writer import write_layer
from rootless_builder.paths import ImagePath
from rootless_builder.tree.changes import Change, ChangeSet, Opaque, Remove
from rootless_builder.tree.node import Device, Directory, File, HostFile, Symlink
from tests.layersample import LONG, full_changes, meta, put, text

DIGESTS = json.loads((Path(__file__).parent / "digests.json").read_text())


@pytest.fixture(params=[_layercore, _layercore_py], ids=["c", "python"])
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """A descriptor of tmp_path; the writer uses the core of this parameter."""
    monkeypatch.setattr(layercore, "TarSink", request.param.TarSink)
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def big(root: int, folder: Path) -> File:
    with open(folder / "big", "wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"data" * 20_000)
    return File(meta(0o644), HostFile(root, b"big"), 3 << 20)


def cases(root: int, folder: Path) -> dict[str, list[Change]]:
    linked = text(b"linked")
    return {
        "empty": [],
        "file": [put("hello", text(b"hello\n"))],
        "folder": [put("a", Directory(meta(0o755))), put("a/b", text(b""))],
        "root": [put("", Directory(meta(0o711, 1, 2)))],
        "symlink": [put("s", Symlink(meta(0o777), "target")), put("t", Symlink(meta(0o777), "t" * 101))],
        "hard links": [put("b", linked), put("a", linked), put("c/d", linked)],
        "devices": [put("null", Device(meta(0o666), stat.S_IFCHR, 1, 3)),
                    put("sda", Device(meta(0o660), stat.S_IFBLK, 8)), put("pipe", Device(meta(0o600), stat.S_IFIFO))],
        "long names": [put(LONG, text(b"1")), put(LONG + "ä" * 80, text(b"2"))],
        "not utf-8": [put(b"\xff", text(b"1")), put(b"\xff" * 200, text(b"2"))],
        "sub-second": [put("f", text(b"", mtime=1_500_000_000_120_000_000)), put("g", text(b"", mtime=-1))],
        "large owners": [put("f", text(b"", uid=0o7777777, gid=0o10000000))],
        "xattrs": [put("f", text(b"", user_b=b"\0\n", user_a=b"", security_capability=b"\1"))],
        "sparse": [put("f", big(root, folder))],
        "whiteouts": [Remove(ImagePath("a/b")), Opaque(ImagePath("c")), put("c", Directory(meta(0o755))),
                      Remove(ImagePath("d")), put("d", Directory(meta(0o755))), Remove(ImagePath("e")),
                      put("e", text(b""))],
        "everything": list(full_changes(root, folder)),
    }


@pytest.mark.parametrize("name", DIGESTS)
def test_a_layer_keeps_its_digest(name: str, root: int, tmp_path: Path) -> None:
    assert write_layer(ChangeSet.of(cases(root, tmp_path)[name]), -1).diff_id.hex == DIGESTS[name]


def test_every_case_has_its_digest(root: int, tmp_path: Path) -> None:
    assert cases(root, tmp_path).keys() == DIGESTS.keys()
