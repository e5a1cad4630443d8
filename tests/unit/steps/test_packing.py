"""A COPY taken whole gives the layer, the index, the key and the findings of a COPY taken file by file."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rootless_builder.contexts.memory import SLACK, ContextMemory
from rootless_builder.effects.effects import Effects
from rootless_builder.errors import SourceError
from rootless_builder.language.ignore import IgnorePatterns
from rootless_builder.layer import index
from rootless_builder.layer.writer import write_layer
from rootless_builder.oci.config import ImageConfig
from rootless_builder.paths import image_path
from rootless_builder.plan.steps import CopyStep
from rootless_builder.sources.directory import DirectorySource
from rootless_builder.steps.copystep import copy, copy_inputs
from rootless_builder.steps.packing import packing, written
from rootless_builder.store import Store
from rootless_builder.tree.changes import ChangeSet, Put
from rootless_builder.tree.node import Directory, File, Inline, Meta, Symlink
from rootless_builder.tree.overlay import Overlay
from rootless_builder.tree.tree import Tree

NOW = time.time_ns() + 1_000_000_000_000  # some time after all files of these tests
KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "A" * 64


@dataclass
class Whole:
    """A context on disk, and what a step makes of it on a lower tree, both ways."""

    context: Path
    store: Store
    memory: ContextMemory | None
    ignore: IgnorePatterns | None = None
    below: Tree = field(default_factory=Tree.empty)
    clamp: int | None = None

    @contextlib.contextmanager
    def world(self) -> Iterator[Any]:
        with DirectorySource(self.context, self.ignore, self.memory) as source:
            yield SimpleNamespace(store=self.store, now=NOW, latest=self.clamp, forced=False, emit=print,
                                  effects=Effects({}, {}),
                                  contexts=SimpleNamespace(main=lambda: source), tree=lambda _: self.below)

    def by_tree(self, step: CopyStep) -> tuple[Any, ...]:
        """(key's inputs, diff id, index, findings) as copystep.py has them, with no survey at all."""
        with self.world() as world:
            world.contexts.main().survey = lambda path: None
            inputs = copy_inputs(step, world)
            overlay = Overlay(self.below)
            copy(step, overlay, world)
            layer = write_layer(overlay.changes(), -1, clamp=self.clamp)
            facts = world.effects.facts(step, overlay.changes(), lambda: self.below)
            return inputs, layer.diff_id, index.dump(layer.entries), facts

    def whole(self, step: CopyStep, *, cold: bool = False) -> tuple[Any, ...]:
        """The same by packing.py; cold: packed first, and the key after."""
        with self.world() as world:
            inputs = None if cold else copy_inputs(step, world)
            found = written(step, (), world)
            assert found is not None
            with found:
                facts = world.effects.facts(step, found.suspects, lambda: self.below)
                inputs = inputs or copy_inputs(step, world)
                diff_id, _ = found.commit(self.store)
            return inputs, diff_id, self.store.trees._layout.tree(diff_id).read_bytes(), facts


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Whole]:
    top = tmp_path / "context"
    for name, text in (("src/a", "a"), ("src/b/c", KEY), ("src/b/d", "d" * 3000), ("src/b-", ""), ("one", "1"),
                       ("two", "22"), ("src/.npmrc", "_authToken=x"), ("src/root/.cache/pip/x", "p" * 70_000)):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / "src" / "link").symlink_to("b/c")
    (top / "to-src").symlink_to("src")
    (top / "src" / "program").write_text("#!")
    (top / "src" / "program").chmod(0o4755)
    (top / "src" / "b" / "d").chmod(0o600)
    (top / "src" / "b" / "closed").mkdir(mode=0o700)
    os.utime(top / "src" / "b" / "c", ns=(0, 1_234_567_890_123_456_789))
    with Store.open(tmp_path / "store") as store:
        yield Whole(top, store, ContextMemory(tmp_path / "contexts", NOW))


def step(*sources: str, dest: str = "/x", **rest: Any) -> CopyStep:
    config = ImageConfig.from_json(b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
    shown = SimpleNamespace(span=None, text="", created_by="")
    return CopyStep(shown=shown, image=config, sources=sources, dest=dest, **rest)  # type: ignore[arg-type]


def tree(**nodes: Any) -> Tree:
    return Tree.empty().apply(ChangeSet.of(Put(image_path(path.replace("_", "/")), node)
                                           for path, node in nodes.items()))


STEPS = [step("src"), step("src", dest="/"), step("."), step(".", dest="/a/b/"), step("one"), step("one", dest="/d/"),
         step("one", "two", dest="/d/"), step("to-src"), step("src/b", "one", dest="/y/"), step("t*o", dest="/z/"),
         step("src", mode=0o750), step("src", mode="go=u,o-w,+X"), step("src", owner="7:8"), step("src/b/c"),
         step("/src/b/../b/"), step("src", dest="/" + "long/" * 40)]


@pytest.mark.parametrize("one", STEPS, ids=lambda one: f"{'+'.join(one.sources)}>{one.dest[:9]}")
@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
def test_whole_and_file_by_file_are_one(case: Whole, one: CopyStep, cold: bool) -> None:
    if one.sources == ("src/b", "one"):
        pytest.raises(AssertionError, case.whole, one)  # two sources in one folder
        return
    expected = case.by_tree(one)
    assert case.whole(one, cold=cold) == expected
    assert case.whole(one) == expected


@pytest.mark.parametrize("lines", ["one", "**/c", "src/b", "src/b/*\nsrc/a", "*\n!src", "src/link\n**/*.none"])
def test_what_the_ignore_file_leaves_out(case: Whole, lines: str) -> None:
    case.ignore = IgnorePatterns.read(lines)
    for one in (step("."), step("src")):
        with contextlib.suppress(AssertionError):
            assert case.whole(one, cold=True) == case.by_tree(one)


def test_an_exclusion_without_exceptions_is_taken_whole(case: Whole) -> None:
    case.ignore = IgnorePatterns.read("**/c\none")
    assert case.whole(step("."), cold=True) == case.by_tree(step("."))


def test_below_a_folder_that_hands_its_group_on(case: Whole) -> None:
    case.below = tree(x=Directory(Meta(0o2755, 1, 2)), x_b=Directory(Meta(0o2700, 3, 4)))
    for one in (step("src"), step("src", dest="/x/new/"), step("one", dest="/x/"), step(".", dest="/x", owner="5:6")):
        assert case.whole(one) == case.by_tree(one)


def test_on_a_tree_that_is_there(case: Whole) -> None:
    case.below = tree(x=Directory(Meta(0o711, 1, 2, 3)), x_a=Symlink(Meta(0o777), "elsewhere"),
                      x_b=Directory(Meta(0o700)), x_b_c=File(Meta(0o600), Inline(b"old"), 3),
                      l=Symlink(Meta(0o777), "x"), x_other=File(Meta(0o600), Inline(b"old"), 3))
    for one in (step("src"), step("src", dest="/l"), step("one", dest="/l/"), step("src", dest="/x/b")):
        assert case.whole(one) == case.by_tree(one)


@pytest.mark.parametrize("below", [{"x_a": Directory(Meta(0o755))}, {"x_b": File(Meta(0o644), Inline(b""), 0)},
                                   {"x": File(Meta(0o644), Inline(b""), 0)}])
def test_what_is_in_the_way_is_left_to_the_tree(case: Whole, below: dict[str, Any]) -> None:
    case.below = tree(**below)
    with case.world() as world:
        with contextlib.suppress(SourceError):
            assert packing(step("src"), (), world) is None
        with pytest.raises(SourceError):
            copy(step("src"), Overlay(case.below), world)


def test_a_clamped_time(case: Whole) -> None:
    case.clamp = 1_000_000_000
    assert case.whole(step("src"), cold=True) == case.by_tree(step("src"))


@pytest.mark.parametrize("odd", ["link", "fifo", "attribute", "folder's attribute", "whiteout"])
def test_what_is_odd_is_taken_file_by_file(case: Whole, odd: str) -> None:
    source = case.context / "src"
    if odd == "link":
        os.link(source / "a", source / "a2")
    elif odd == "fifo":
        os.mkfifo(source / "fifo")
    elif odd == "whiteout":
        (source / ".wh.a").write_text("")
    else:
        os.setxattr(source / ("a" if odd == "attribute" else "b"), "user.x", b"1")
    with case.world() as world:
        assert written(step("src"), (), world) is None
        inputs = copy_inputs(step("src"), world)
    with case.world() as world:
        world.contexts.main().survey = lambda path: None
        assert copy_inputs(step("src"), world) == inputs


def test_nothing_is_left_of_a_layer_that_is_not_wanted(case: Whole) -> None:
    with case.world() as world:
        found = written(step("src"), (), world)
        assert found is not None
        assert list((case.store.blobs._layout.tmp).iterdir())
        found.close()
    assert not [path for path in case.store.blobs._layout.tmp.iterdir() if path.name.startswith("blob.")]


def test_an_unreadable_file_is_named(case: Whole) -> None:
    (case.context / "src" / "b" / "d").unlink()
    shutil.copytree(case.context, case.context.parent / "copy")
    with case.world() as world:
        survey = world.contexts.main().survey(image_path("src"))
        (case.context / "src" / "b" / "c").unlink()
        with pytest.raises(SourceError, match="src/b/c: No such file"):
            survey.learn()


def test_the_memory_notices_what_size_and_time_do_not_tell(case: Whole) -> None:
    many = case.context / "many"
    many.mkdir()
    for number in range(100):
        (many / f"f{number}").write_text(f"{number:04}")
    digests = []
    for change in (None, None, "5000"):
        if change:
            path = many / "f7"
            before = path.stat()
            path.write_text(change)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with case.world() as world:
            digests.append(copy_inputs(step("many"), world))
    assert digests[0] == digests[1] != digests[2]
    assert case.by_tree(step("many"))[0] == digests[2]


def test_a_change_in_the_same_tick_is_noticed(case: Whole, tmp_path: Path) -> None:
    """As when a file's times have not moved on since it was read: they say the same of both contents."""
    many = case.context / "many"
    many.mkdir()
    for number in range(100):
        (many / f"f{number}").write_text(f"{number:04}")
    began = max(path.stat().st_ctime_ns for path in many.iterdir())
    for memory in (ContextMemory(tmp_path / "m", began), ContextMemory(tmp_path / "m", began + SLACK // 2)):
        case.memory = memory
        with case.world() as world:
            survey = world.contexts.main().survey(image_path("many"))
            assert not any(survey.contents[32:])  # nothing of what was read before is believed
            survey.learn()
    for later in (2 * SLACK, 4 * SLACK):
        case.memory = ContextMemory(tmp_path / "m", began + later)
        with case.world() as world:
            survey = world.contexts.main().survey(image_path("many"))
            survey.learn()
    case.memory = ContextMemory(tmp_path / "m", began + 6 * SLACK)
    with case.world() as world:
        assert all(world.contexts.main().survey(image_path("many")).contents[::32])


def test_a_damaged_memory_is_none(case: Whole, tmp_path: Path) -> None:
    for number in range(100):
        (case.context / "src" / f"f{number}").write_text(f"{number:04}")
    expected = case.whole(step("src"))
    [file] = (tmp_path / "contexts").iterdir()
    data = file.read_bytes()
    for damaged in (b"", data[:20], data[:-1], data[:200] + b"X" + data[201:], b"y" * len(data)):
        file.write_bytes(damaged)
        assert case.whole(step("src")) == expected
    file.write_bytes(data)
    file.chmod(0o666)
    assert ContextMemory(tmp_path / "contexts", NOW).recall(case.context / "src")[0] == b""


def test_a_file_system_whose_clock_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootless_builder.contexts.memory.file_system", lambda place: "nfs4")
    memory = ContextMemory(tmp_path / "m", NOW)
    assert memory.quiet(tmp_path) < 0
