"""The manners of the house, where a machine can see them: if a reviewer would say it twice, it is a test here."""

import ast
import datetime
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless_builder import __version__, errors
from rootless_builder.language import keywords
from tests.soak import PARTS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "rootless_builder"
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in MODULES]
LONGEST_MODULE, LONGEST_FUNCTION = 400, 50

# What only one place may import: module → the files (or folders) below rootless_builder.
ONLY_IN = {
    "ctypes": ("sandbox/linux.py",),
    "prctl": ("sandbox/privileges.py",),
    "psutil": ("sandbox/supervise.py",),
    "subprocess": ("sandbox/", "containers/", "registry/auth.py", "sources/git.py", "sources/cpp.py"),
    "argparse": ("cli/", "debug.py"),
    "rich": ("cli/render_tty.py",),
    "tomllib": ("config.py",),
}
ENVIRONMENT = ("cli/", "layercore.py")  # layercore says why


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in MODULES:
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_modules_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_no_module_is_a_drawer_for_everything() -> None:
    for path in MODULES:
        assert path.stem not in ("utils", "util", "helpers", "misc", "common")


def test_what_has_one_place_stays_there() -> None:
    for name, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found = [(node.module or "").split(".")[0]]
            else:
                continue
            for module in found:
                places = ONLY_IN.get(module, ("",))
                assert name.startswith(places), f"{name}:{node.lineno} imports {module}, which lives in {places}"


def test_the_environment_stops_at_the_command_line() -> None:
    for name, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                continue
            used = f"{node.value.id}.{node.attr}"
            if used in ("os.environ", "os.getenv", "os.environb", "os.getcwd", "Path.cwd", "sys.argv"):
                assert name.startswith((*ENVIRONMENT, "debug.py", "sandbox/child.py", "containers/monitor.py")), \
                    f"{name}:{node.lineno} reads {used}"


def test_no_global_statement_and_no_mutable_module_value() -> None:
    for name, tree in trees():
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)], name
        for node in tree.body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            assert not isinstance(value, ast.ListComp | ast.SetComp), f"{name}:{node.lineno}"
            if isinstance(value, ast.List | ast.Set):
                assert ast.unparse(node).startswith("__all__"), f"{name}:{node.lineno}: a tuple or frozenset, please"


def test_every_module_and_public_class_says_what_it_is() -> None:
    for name, tree in trees():
        if name.endswith("__init__.py"):
            continue
        assert ast.get_docstring(tree), f"{name} has no docstring"


def raising(node: ast.AST, told: str) -> Iterator[tuple[ast.FunctionDef, set[str], str]]:
    """Each public function or method, the errors of ours that it raises itself, and what its docstring, its class's and
    its module's say."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.ClassDef) or child.name.startswith("_"):
            continue
        said = f"{told} {ast.get_docstring(child)}"
        if isinstance(child, ast.ClassDef):
            yield from raising(child, said)
            continue
        made = [one.exc.func for one in ast.walk(child) if isinstance(one, ast.Raise) and isinstance(one.exc, ast.Call)]
        yield child, {call.id for call in made if isinstance(call, ast.Name)} & vars(errors).keys(), said


def test_who_raises_an_error_of_ours_says_so() -> None:
    for path, tree in trees():
        for function, raised, said in raising(tree, ast.get_docstring(tree) or ""):
            silent = {name for name in raised if name not in said and "IechorError" not in said}
            assert not silent or path.startswith("cli/"), f"{path}:{function.lineno} raises {silent}"


def hints(tree: ast.Module) -> Iterator[ast.expr]:
    """What stands behind `hint=`, both sides of a condition."""
    pending = [keyword.value for node in ast.walk(tree) if isinstance(node, ast.Call)
               for keyword in node.keywords if keyword.arg == "hint"]
    while pending:
        hint = pending.pop()
        if isinstance(hint, ast.IfExp):
            pending += [hint.body, hint.orelse]
        elif isinstance(hint, ast.Constant | ast.JoinedStr):
            yield hint


def test_a_hint_is_no_sentence() -> None:
    """It stands behind "hint: ": in lower case, without a full stop unless there are two sentences."""
    for path, tree in trees():
        for hint in hints(tree):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in
                           (hint.values if isinstance(hint, ast.JoinedStr) else [hint]))
            assert not re.match("[A-Z][a-z]* [a-z]", text), f"{path}:{hint.lineno}: {text}"
            assert not text.endswith(".") or ". " in text, f"{path}:{hint.lineno}: {text}"


def test_no_module_uses_what_another_keeps_to_itself() -> None:
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                private = [one.name for one in node.names if re.match("_[a-z]", one.name)]
                assert not private or path.startswith(("_", "layercore.py", "sandbox/fakeroot.py")), \
                    f"{path}:{node.lineno} imports {private}"


def test_ruff_is_content() -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_mypy_is_content() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# ---- pages and documents ---------------------------------------------------------------------------------------

def release_date() -> datetime.datetime:
    """Of the newest version in CHANGELOG.md: `## 0.1.0 (2026-11-24)`."""
    found = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert found, "CHANGELOG.md has no dated version"
    assert found[1] == __version__, "CHANGELOG.md begins with another version than the package's"
    return datetime.datetime.fromisoformat(found[2]).replace(tzinfo=datetime.UTC)


def test_the_man_pages_are_fresh(tmp_path: Path) -> None:
    """`make man` changes nothing: the pages are those of the parsers, with the release's date."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("rootless_builder", "native", "man"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("setup.py", "setup.cfg", "README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    for page in (copy / "man").glob("*.1"):
        page.unlink()
    subprocess.run(["make", "-s", "man", f"PYTHON={sys.executable}"], cwd=copy, check=True, capture_output=True,
                   env={**os.environ, "PYTHONPATH": str(copy)})
    made = {page.name: page.read_text() for page in (copy / "man").glob("*.1")}
    kept = {page.name: page.read_text() for page in (ROOT / "man").glob("*.1")}
    assert made.keys() == kept.keys()
    for name, text in made.items():
        assert text == kept[name], f"man/{name} is stale: run `make man`"
    assert f"{release_date():%Y\\-%m\\-%d}" in made["iechor.1"]


def test_every_command_has_a_page() -> None:
    from rootless_builder.cli.manpages import commands

    assert {f"iechor-{name}.1" for name in commands()} | {"iechor.1"} == {page.name for page in ROOT.glob("man/*.1")}


@pytest.mark.parametrize("page", sorted(ROOT.glob("man/*.[15]")), ids=lambda page: page.name)
def test_man_can_show_the_page(page: Path) -> None:
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)], capture_output=True,
                          text=True, env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""})
    assert done.returncode == 0
    assert done.stderr == ""


def test_every_keyword_has_a_section_in_its_page() -> None:
    page = (ROOT / "man" / "iEchorfile.5").read_text()
    for spelling in keywords.INSTRUCTIONS:
        section = rf'^\.S[HS] "?{spelling.upper()}\b'
        assert re.search(section, page, re.MULTILINE), f"iEchorfile.5 has no section {spelling.upper()}"


def exit_codes() -> dict[str, int]:
    """Class → code, as errors.py has it; subclasses that add nothing are left out."""
    found = {cls.__name__: cls.exit_code for cls in vars(errors).values()
             if isinstance(cls, type) and issubclass(cls, errors.IechorError)}
    del found["Interrupted"]
    return found


def test_the_exit_codes_are_documented() -> None:
    document = (ROOT / "docs" / "exit-codes.md").read_text()
    rows = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", document, re.MULTILINE)}
    assert rows == exit_codes()
    page = (ROOT / "man" / "iechor.1").read_text()
    section = page.split(".SH EXIT STATUS")[1].split("\n.SH ")[0]
    listed = {int(code) for code in re.findall(r"^\.B (\d+)", section, re.MULTILINE)}
    assert listed == {0, 125, 126, 127, 130, 143, *exit_codes().values()}


def test_the_dependencies_have_their_reasons() -> None:
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = {re.split(r"[<>=\[]", line)[0] for line in config["options"]["install_requires"].splitlines()
              if line and not line.startswith("#")}
    reasons = "\n".join(path.read_text() for path in (ROOT / "docs" / "decisions").glob("*.md"))
    for name in (*wanted, "python-prctl", "argparse-manpage", "pyfakefs", "pytest"):
        assert f"**{name}**" in reasons, f"docs/decisions/ does not say why {name} is used"


def test_the_documents_point_at_files_that_are_there() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} points at {target}"


def test_the_parts_of_the_soak_are_there() -> None:
    for part, words in PARTS.items():
        for word in words:
            name = word.removeprefix("--ignore=")
            assert not name.startswith("tests/") or (ROOT / name).exists(), f"{part}: {name}"


def test_the_modules_that_texts_name_are_there() -> None:
    there = {path.stem for path in files() if path.suffix == ".py"} | sys.stdlib_module_names
    for path in [*MODULES, *ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "HACKING.md",
                 *(ROOT / "native").glob("*.[ch]")]:
        gone = {name for name in re.findall(r"\b([a-z_]+)\.py\b", path.read_text()) if name not in there}
        assert not gone, f"{path.relative_to(ROOT)} names {gone}, which is gone"


# ---- tests, C, and what must not be in the tree -----------------------------------------------------------------

def files() -> list[Path]:
    """Everything that is or would be committed; a checkout without git is taken whole."""
    done = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others",
                           "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.split("\0") if done.returncode == 0 else \
        [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if ".git" not in path.parts]
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_test_skips() -> None:
    word = re.compile(r"pytest\.(skip|xfail|importorskip)|mark\.(skip|xfail)|unittest\.skip")
    for path in (ROOT / "tests").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not word.search(line) or path == Path(__file__), f"{path.name}:{number} skips"


def test_the_kernels_in_c_know_no_python() -> None:
    for path in (ROOT / "native").glob("*.[ch]"):
        binding = path.name.startswith("py_") or path.stem == "module"
        assert binding or "Python.h" not in path.read_text(), f"{path.name} includes Python.h"


def test_nothing_of_one_machine_is_in_the_tree() -> None:
    """No path of whoever wrote it, no host of a package registry: those are read from the machine's own files."""
    hosts = [f"{name}.{domain}" for name, domain in (("deb", "debian.org"), ("security", "debian.org"),
             ("snapshot", "debian.org"), ("files", "pythonhosted.org"), ("registry", "npmjs.org"), ("pypi", "org"))]
    word = re.compile("|".join([r"(?<![\w/])/work/", r"/root/\.pyenv", *map(re.escape, hosts)]))
    for path in files():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = word.search(text)
        assert not found, f"{path.relative_to(ROOT)} says {found[0] if found else ''}"


# Used by nobody in the package: name → why it is there.
KEPT = {
    "_check_value": "argparse calls it",
    "REASONS": "docs/security.md says why each call is refused, and a test compares",
}


def mentioned(tree: ast.Module) -> Iterator[str]:
    """Every name that a module uses, its own definitions left out; what stands in short strings too: the late imports
    of the command line ("do_run:ps") and quoted types are written so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 50:
            yield from re.findall(r"\w+", node.value)


def defined(body: list[ast.stmt]) -> Iterator[str]:
    """Functions, classes, methods and constants; not the fields of values, which others fill."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (inner.name for inner in node.body if isinstance(inner, ast.FunctionDef))
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_nothing_is_kept_that_nobody_uses() -> None:
    """By its name alone: what has the name of something that is used passes for used."""
    used = {name for _, tree in trees() for name in mentioned(tree)} | KEPT.keys()
    used |= set(re.findall(r":object=(\w+)", (ROOT / "setup.cfg").read_text()))
    for path, tree in trees():
        unused = [name for name in defined(tree.body) if name not in used and not name.startswith("__")]
        assert not unused, f"{path}: nobody uses {unused}"


def test_no_half_done_work_is_in_the_product() -> None:
    word = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    for path in [*MODULES, *(ROOT / "native").glob("*.[ch]")]:
        found = word.search(path.read_text())
        assert not found, f"{path.name} says {found[0] if found else ''}"
