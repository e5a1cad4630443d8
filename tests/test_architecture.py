"""Who may import whom, checked on the import graph; an import inside a function counts like any other.

    cli
    flows         build · run · catalog · bootstrap · doctor · …: every module beside the rooms that is not ground
    a build       building ▸ steps ▸ bases · effects ▸ contexts · caching
    in and out    outputs ▸ registry · sources · containers
    on a disk     scratch ▸ store · sandbox
    the model     plan · layer ▸ language · oci · tree · cdi
    ground        errors, span, events, paths, once, threads, schedule, removing, processes, signals, urls, config,
                  values, layercore

A room knows only what stands below it or to its right, and of that only what the table says.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rootless_builder"
GROUND = {"__init__", "errors", "span", "events", "paths", "once", "threads", "schedule", "removing", "values",
          "layercore", "processes", "signals", "urls"}
# A room may import itself, the ground, and what stands here: a room, or a module of one.
ROOMS: dict[str, set[str]] = {
    "cli": {"flows", "config", "language.numbers", "oci.reference", "oci.platform", "oci.digest",
            "containers", "store.store", "store.images", "store.verify", "store.repair", "scratch.scratch",
            "sandbox.idmap", "sandbox.launcher", "sandbox.serving", "sandbox.mounts", "sandbox.spec",
            "sandbox.discarded", "bases.pulling", "building.epochs", "building.request", "caching.carried",
            "caching.exports", "caching.imports",
            "contexts.fetchauth", "contexts.preprocessing", "contexts.remotes", "contexts.secrets",
            "outputs.annotating", "outputs.exporting", "outputs.specs", "steps.everyrun", "steps.ownerloss",
            "steps.runsettings", "steps.world", "answers.answer", "answers.check", "answers.context", "answers.keep",
            "contexts.buildfile", "contexts.memory"},
    "answers": {"sources.survey", "sources.umask", "store.atomic", "language.ignore"},
    "building": {"steps", "bases", "contexts", "caching", "store", "plan", "tree", "oci", "language"},
    "steps": {"bases", "effects", "contexts", "caching", "sources", "scratch", "store", "sandbox", "plan", "layer",
              "tree", "oci", "cdi", "language.ignore", "language.instructions", "language.mounts",
              "language.numbers", "language.suggest"},
    "bases": {"contexts", "caching", "registry", "sources", "store", "plan", "tree", "oci", "config",
              "language.suggest"},
    "effects": {"contexts", "store", "plan", "layer", "tree", "language.checks"},
    "contexts": {"registry", "sources", "store", "plan", "layer", "tree", "oci", "config", "language.ignore",
                 "language.keywords"},
    "caching": {"outputs", "registry", "store", "layer", "tree", "oci", "config", "language.numbers"},
    "outputs": {"registry", "store", "layer", "tree", "oci", "config", "language.csvline", "language.suggest"},
    "registry": {"store", "layer", "oci", "config"},
    "sources": {"layer", "tree"},
    "containers": {"sandbox", "oci"},
    "scratch": {"store", "sandbox", "layer", "tree", "oci"},
    "store": {"layer", "tree", "oci"},
    "sandbox": {"errors", "_fakeroot"},
    "plan": {"language", "oci"},
    "layer": {"tree", "oci"},
    "language": set(), "oci": set(), "tree": set(), "cdi": set(),
    "config": {"errors", "span"},
    "errors": {"span"}, "schedule": {"errors", "events", "threads"}, "threads": set(),
    "span": set(), "paths": set(), "events": set(), "once": set(), "removing": set(), "values": set(),
    "processes": set(), "signals": set(), "urls": set(),
    "layercore": {"_layercore", "_layercore_py"},
    "_layercore_py": {"_survey_py", "_opening_py", "_newfiles_py"},
    "_survey_py": {"_opening_py", "layer.header", "tree.node"},  # headers: C has its own, and tests hold them together
    "_opening_py": set(),
    "_newfiles_py": set(),
}
ONLY_ITS_OWN = {"sandbox", "errors", "span", "paths", "events", "once", "threads", "schedule", "removing",
                "processes", "signals", "urls",
                "_layercore_py", "layercore"}  # no free ground
PURE = ("language", "oci", "tree", "plan", "layer")
IMPURE = {"subprocess", "ctypes", "prctl", "psutil", "socket", "multiprocessing", "threading", "urllib3"}
FORKS = {"fork", "forkpty", "posix_spawn", "posix_spawnp", "execv", "execve", "execvp", "execvpe"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), ast.parse(path.read_text())


def imported(name: str, tree: ast.Module) -> Iterator[str]:
    """Modules of ours, as "room.module", that the module `name` imports."""
    package = name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rootless_builder"):
            base = (node.module or "").split(".")[1:]
        else:
            continue
        for alias in node.names:
            inner = [*base, alias.name]
            found = inner if _exists(inner) else base
            yield ".".join(found) if found else "__init__"


def _exists(parts: list[str]) -> bool:
    path = PACKAGE.joinpath(*parts)
    return path.with_suffix(".py").exists() or path.is_dir() or path.with_suffix(".pyi").exists() or \
        parts in (["_fakeroot"], ["_layercore"])


def room(name: str) -> str:
    head = name.split(".")[0]
    if head in ROOMS or head in GROUND or head.startswith("_"):
        return head
    return "flows"


GRAPH = {name: sorted(set(imported(name, tree))) for name, tree in modules()}


@pytest.mark.parametrize("name", GRAPH)
def test_imports_go_downward(name: str) -> None:
    mine = room(name)
    if mine == "flows" or name.startswith("__"):
        above = [other for other in GRAPH[name] if room(other) == "cli"]
        assert not above or name == "__main__"
        return
    allowed = ROOMS[mine] | {mine, "values"} | (set() if mine in ONLY_ITS_OWN else GROUND)
    for other in GRAPH[name]:
        parts = other.split(".")
        names = {room(other), other, ".".join(parts[:2])}
        assert names & allowed, f"{name} imports {other}: {mine} may import {sorted(allowed)}"


def test_the_table_allows_nothing_that_nobody_does() -> None:
    for mine, allowed in ROOMS.items():
        used = {name for other, found in GRAPH.items() if room(other) == mine for one in found
                for name in (room(one), one, ".".join(one.split(".")[:2]))}
        assert allowed <= used, f"{mine} may import {sorted(allowed - used)} and does not"


def test_every_room_is_on_the_map() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    for folder in sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")):
        assert f"| `{folder}/` |" in page, f"docs/architecture.md does not say what {folder}/ holds"
        assert folder in ROOMS, f"{folder} has no row above"
    for module in GROUND - {"__init__"}:
        assert f"`{module}`" in page, f"docs/architecture.md does not name {module} among the ground"


def test_build_and_run_do_not_know_each_other() -> None:
    assert "run" not in GRAPH.get("build", [])
    assert "build" not in GRAPH.get("run", [])


def test_there_is_no_ring() -> None:
    """Along real imports, those for type checkers alone left out: they would make rings that never close."""
    graph = {name: sorted(set(imported(name, _without_typing(tree)))) for name, tree in modules()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name):], name])
        if name not in done and name in graph:
            for other in graph[name]:
                if other != name:
                    visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _without_typing(tree: ast.Module) -> ast.Module:
    kept = [node for node in tree.body
            if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")]
    return ast.Module(body=kept, type_ignores=[])


@pytest.mark.parametrize("name", [name for name in GRAPH if name.split(".")[0] in PURE])
def test_the_pure_rooms_start_nothing(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name.replace('.', '/')}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = {(node.module or "").split(".")[0]}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            found = {node.attr} & FORKS
            assert not found, f"{name}:{node.lineno} forks"
            continue
        else:
            continue
        allowed = {"threading", "multiprocessing"} if name in ("layer.compress", "layer.readahead") else set()
        assert not found & (IMPURE - allowed), f"{name}:{node.lineno} imports {found & IMPURE}"
