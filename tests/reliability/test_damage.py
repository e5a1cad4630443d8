"""A store that is damaged in every way that disks, copies and people know: `iechor check` finds each, `--repair` mends
it, says what was lost, and takes nothing that was good.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.operations import CHECK, NAMED, NAMES, Bench

REPAIR = (*CHECK, "--repair")
IDS = ("images", "-q")
BUILD = ("build", "-t", "app:1", "app")


class Damaged:
    """The store of operations.py, and where things are in it."""

    def __init__(self, bench: Bench) -> None:
        self.store = bench.person.store
        self.scratch = bench.person.scratch
        self.owner = bench.person.uid, bench.person.gid

    def manifest(self, name: str) -> Path:
        return self.blob(self.json(self.name(name))["manifest"]["digest"])

    def config(self, name: str) -> Path:
        return self.blob(self.json(self.manifest(name))["config"]["digest"])

    def layer(self, name: str) -> Path:
        """The topmost, which no other image has."""
        return self.blob(self.json(self.manifest(name))["layers"][-1]["digest"])

    def name(self, name: str) -> Path:
        return next(path for path in (self.store / "refs").iterdir() if name.replace(":", "%3A") in path.name)

    def record(self, name: str) -> Path:
        return self.store / "images" / self.manifest(name).name

    def unnamed(self) -> Path:
        """The record of an image without a name."""
        named = {self.record(name).name for name in NAMES}
        return next(path for path in sorted((self.store / "images").iterdir()) if path.name not in named)

    def cached(self) -> Path:
        return next(path for path in sorted((self.store / "cache").glob("??/*")) if path.is_file())

    def trees(self) -> list[Path]:
        return sorted(path for path in (self.store / "trees").glob("??/*"))

    def unpacked(self) -> Path:
        """A file of an unpacked layer."""
        return next(path for path in sorted(self.scratch.glob("*.1/layers/*/root/app")))

    def blob(self, digest: str) -> Path:
        return self.store / "blobs" / digest.replace(":", "/")

    @staticmethod
    def json(path: Path) -> dict:  # type: ignore[type-arg]
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def folder_in_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_in_place(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def rename_in_json(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """how: what is done to the store. lost: names that only a new pull or build brings back."""

    name: str
    how: Callable[[Damaged], object]
    lost: tuple[str, ...] = ()


OLD = ("old:1",)
WAYS = (
    Way(name="a bit of a layer", how=lambda at: flip(at.layer("old:1")), lost=OLD),
    Way(name="a layer cut off", how=lambda at: cut(at.layer("old:1")), lost=OLD),
    Way(name="an empty layer", how=lambda at: at.layer("old:1").write_bytes(b""), lost=OLD),
    Way(name="a longer layer", how=lambda at: at.layer("old:1").open("ab").write(b"more"), lost=OLD),
    Way(name="no layer", how=lambda at: at.layer("old:1").unlink(), lost=OLD),
    Way(name="two layers swapped", how=lambda at: swap(at.layer("old:1"), at.layer("app:1")), lost=("old:1", "app:1")),
    Way(name="a folder for a layer", how=lambda at: folder_in_place(at.layer("old:1")), lost=OLD),
    Way(name="a symlink for a layer", how=lambda at: link_in_place(at.layer("old:1")), lost=OLD),
    Way(name="a bit of a config", how=lambda at: flip(at.config("old:1")), lost=OLD),
    Way(name="a bit of a manifest", how=lambda at: flip(at.manifest("old:1")), lost=OLD),
    Way(name="no manifest", how=lambda at: at.manifest("old:1").unlink(), lost=OLD),
    Way(name="a layer that cannot be read", how=lambda at: at.layer("old:1").chmod(0)),
    Way(name="a manifest that cannot be read", how=lambda at: at.manifest("old:1").chmod(0)),
    Way(name="a folder that cannot be read", how=lambda at: (at.store / "images").chmod(0)),
    Way(name="a name that is no JSON", how=lambda at: at.name("old:1").write_text("{")),
    Way(name="an empty name", how=lambda at: at.name("old:1").write_text("")),
    Way(name="a name that cannot be read", how=lambda at: at.name("old:1").chmod(0)),
    Way(name="a name of nothing", how=lambda at: rename_in_json(at.name("old:1"), at.manifest("old:1").name, "0" * 64)),
    Way(name="a record that is no JSON", how=lambda at: at.record("old:1").write_text("nonsense")),
    Way(name="a record of an image without a name", how=lambda at: cut(at.unnamed())),
    Way(name="no record", how=lambda at: at.record("old:1").unlink()),
    Way(name="half of index.json", how=lambda at: cut(at.store / "index.json")),
    Way(name="no index.json", how=lambda at: (at.store / "index.json").unlink()),
    Way(name="no oci-layout", how=lambda at: (at.store / "oci-layout").unlink()),
    Way(name="a cached step that is no JSON", how=lambda at: cut(at.cached())),
    Way(name="a cached step of another kind", how=lambda at: at.cached().write_text('{"key": 3}')),
    Way(name="a layer's index cut off", how=lambda at: cut(at.trees()[0])),
    Way(name="the indexes of two layers swapped", how=lambda at: swap(*at.trees()[:2])),
    Way(name="a pair of a compressed layer", how=lambda at: cut(next((at.store / "compressed").iterdir()))),
    Way(name="a bit of an unpacked file", how=lambda at: flip(at.unpacked())),
    Way(name="an unpacked file cut off", how=lambda at: cut(at.unpacked())),
    Way(name="an unpacked file less", how=lambda at: at.unpacked().unlink()),
    Way(name="an unpacked layer without its facts",
        how=lambda at: (at.unpacked().parents[1] / "layer.json").write_text("[")),
)


def commands(bench: Bench, *several: tuple[str, ...]) -> list[tuple[int, str, str]]:
    found = bench.commands(*several)
    said = "\n".join(err for _, _, err in found)
    assert "Traceback" not in said and "this is a bug" not in said, said
    return found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_damage_is_found_and_mended_and_costs_no_more_than_it_has_to(bench: Bench, way: Way) -> None:
    bench.reset()
    way.how(Damaged(bench))
    (code, told, said), (mended, after, _), *then = commands(bench, CHECK, REPAIR, CHECK, NAMED, IDS, BUILD)
    assert code == 14, f"not found: {told}{said}"
    assert json.loads(told)["Damages"], told
    assert mended == (14 if way.lost else 0), after
    assert sorted(json.loads(after)["Lost"]) == sorted(f"docker.io/library/{name}" for name in way.lost)
    (code, told, _), (_, listed, _), (_, ids, _), (built, _, said) = then
    assert (code, json.loads(told)["Damages"]) == (0, []), told
    assert set(listed.split()) >= set(NAMES) - set(way.lost), listed
    assert len(set(ids.split())) == 5 - len(way.lost), "an image without a name is gone"
    assert built == 0, said
    if "unpacked" in way.name:
        bench.person.iechor("run", "--rm", "app:1", "grep", "-qx", "app", "/app")


def test_strangers_files_are_no_damage_and_stay(bench: Bench) -> None:
    """What other programs leave in an OCI image layout, and what editors and file systems leave anywhere."""
    bench.reset()
    store = bench.person.store
    strangers = [store / "blobs/sha256/.nfs0000000000000001", store / "blobs/sha256/notes.txt", store / "refs/.#lock",
                 store / "notes"]
    for path in strangers:
        path.write_text("a stranger's")
        shutil.chown(path, bench.person.uid, bench.person.gid)
    (code, told, _), _, (_, again, _) = commands(bench, CHECK, ("prune",), CHECK)
    assert (code, json.loads(told)["Damages"], json.loads(again)["Damages"]) == (0, [], [])
    assert all(path.exists() for path in strangers)
