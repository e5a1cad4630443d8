"""Programs and processors that are not x86-64's own: 32-bit ones of glibc, and what runs of the C code on aarch64."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.sandbox.fakeroot_lab import Lab
from tests.sandbox.test_view import LENT, add_programs, build_dynamic_programs, with_glibc

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"
LIBC32 = Path("/usr/lib32")  # of Debian's libc6-i386
AARCH64 = "aarch64-linux-gnu-gcc"
EMULATED = {AARCH64: ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"], "gcc": []}


@pytest.fixture(scope="module")
def programs(shared: Path) -> Iterator[Path]:
    yield build_dynamic_programs(shared / "32-bit-programs")


@pytest.fixture
def lab(plain_user: Person, programs: Path) -> Lab:
    return with_glibc(plain_user, programs)


@pytest.mark.parametrize("view", [True, False], ids=["lent", "asks"])
def test_a_dynamic_32_bit_program_starts_without_a_word_and_sees_the_owners(lab: Lab, tmp_path: Path,
                                                                            view: bool) -> None:
    """From a 64-bit shell that was lent the view, which no 32-bit loader can load; and back to a 64-bit program."""
    program = tmp_path / "dynamic32"
    subprocess.run(["gcc", "-m32", "-O1", "-fno-builtin", "-nostdlib", "-fno-pie", "-no-pie", "-fno-stack-protector",
                    "-Wl,-dynamic-linker,/lib/ld-linux.so.2", "-o", program, HERE / "dynamic_i386.c",
                    LIBC32 / "libc.so.6"], check=True)
    add_programs(lab, [program])
    for name in ("lib/ld-linux.so.2", "lib32/libc.so.6"):
        lab.person.write(f"lower/{name}", (LIBC32 / Path(name).name).read_bytes(), mode=0o755)
    lab.give("etc/group", 42, 43)
    ran = lab.run("bash", "-c", f"{LENT}; dynamic32", view=view)
    assert ran.err == ""
    assert ran.out.splitlines() == ["lent" if view else "asks", "f 644 445605:4204350", "l 777 3:4", "group 644 42:43",
                                    "preloads: no", "/tmp/f 644 445605:4204350", "/etc/group 644 42:43"]
    image = lab.image(ran)
    assert image["tmp/f"][1:3] == (445605, 4204350) and image["tmp/l"][1:3] == (3, 4)


def view_of(compiler: str, folder: Path) -> Path:
    """The view as setup.py has it built."""
    view = folder / "view.so"
    line = ("import setup, shlex; view = setup.view(); print(shlex.join([*view.extra_compile_args, *view.sources, "
            "*(f'-I{name}' for name in view.include_dirs), *view.extra_link_args]))")
    words = subprocess.run([sys.executable, "-c", f"import setuptools; setuptools.setup = lambda **_: None; {line}"],
                           cwd=NATIVE.parent, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run([compiler, "-shared", "-fPIC", *words, "-o", view], cwd=NATIVE.parent, check=True)
    return view


@pytest.mark.parametrize("compiler", EMULATED)
def test_the_view_is_loaded_and_sees_what_the_table_says(compiler: str, tmp_path: Path) -> None:
    """On aarch64, by emulation, too: no supervisor is needed for that."""
    names = (NATIVE / "fakeroot.sources").read_text().split()
    sources = [NATIVE / name for name in names if not name.startswith("py_")]
    common = [compiler, "-std=gnu11", "-O1", f"-I{NATIVE}", NATIVE / "tests/test_shim.c"]
    subprocess.run([*common, "-static", *sources, "-o", tmp_path / "make"], check=True)
    subprocess.run([*common, "-DLOOK_ONLY", "-o", tmp_path / "look"], check=True)
    (tmp_path / "files").mkdir()
    lent = tmp_path / "lent.so"
    run = EMULATED[compiler]
    preload = ["-E", f"LD_PRELOAD={lent}"] if run else []
    told = []
    for words, env in (([*run, tmp_path / "make", "make", view_of(compiler, tmp_path), lent, tmp_path / "files"], {}),
                       ([*run, *preload, tmp_path / "look", "look", tmp_path / "files"],
                        {} if run else {"LD_PRELOAD": str(lent)})):
        done = subprocess.run(words, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **env}, timeout=120)
        assert done.returncode == 0 and "not ok" not in done.stdout, done.stdout + done.stderr
        told.append(done.stdout)
    assert "1..1\n" in told[0] and "1..21\n" in told[1]


def test_the_view_asks_nothing_of_a_library_but_what_may_be_missing(tmp_path: Path) -> None:
    """A name that its program's libraries do not have would end every program that is lent it."""
    for compiler, reader in ((AARCH64, "aarch64-linux-gnu-nm"), ("gcc", "nm")):
        listed = subprocess.run([reader, "-D", "--undefined-only", view_of(compiler, tmp_path)], capture_output=True,
                                text=True, check=True).stdout.split()
        assert {*listed[::2]} == {"w"} and {*listed[1::2]} == {
            "__errno_location", "__open64", "_r_debug", "free", "getgrnam_r", "getpwnam_r", "realloc"}
