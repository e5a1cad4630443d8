"""What a build imports whose steps are all in the cache: nothing that only other commands, or RUN, use; and what one
that has nothing to do imports: nothing of a build."""

import pytest

from tests.conftest import Person
from tests.flows.test_build import context
from tests.registry_server import Registry

NEVER = {
    "argparse_manpage", "ast", "asyncio", "bz2", "concurrent.futures", "csv", "ctypes", "dataclasses", "deflate",
    "difflib", "dis", "email", "getpass", "html", "http", "inspect", "isal", "jsonschema",
    "logging", "lzma", "multiprocessing",
    "prctl", "psutil", "random", "rich", "selectors", "shutil", "socket", "ssl", "subprocess", "tarfile", "tempfile",
    "tokenize", "traceback", "unittest", "urllib.request", "urllib3", "xml", "zstandard",
    "rootless_builder._fakeroot", "rootless_builder.catalog", "rootless_builder.cli.do_check",
    "rootless_builder.cli.do_images", "rootless_builder.cli.do_run", "rootless_builder.cli.parse_images",
    "rootless_builder.cli.parse_run", "rootless_builder.cli.render_tty", "rootless_builder.containers",
    "rootless_builder.doctor", "rootless_builder.effects.rules", "rootless_builder.layer.readahead",
    "rootless_builder.layer.writer",
    "rootless_builder.outputs.registry", "rootless_builder.registry", "rootless_builder.run",
    "rootless_builder.steps.runmounts", "rootless_builder.steps.runstep", "rootless_builder.sandbox.launcher",
    "rootless_builder.sandbox.spec", "rootless_builder.scratch", "rootless_builder.store.gc",
    "rootless_builder.store.importing",
}
MOST = 300  # modules in all: every one costs a file to read and code to run

FILE = """\
FROM busybox
ARG VERSION=1
ENV A=b
WORKDIR /app
COPY a /app/
RUN echo $VERSION > /app/b
COPY . /app/
LABEL x=y
USER app
CMD ["sh"]
"""

SCRIPT = """\
import sys
sys.argv[0] = "iechor"
from rootless_builder.cli.main import main
code = main()
print(code, *sorted(sys.modules))
"""


@pytest.mark.parametrize("progress", ["plain", "rawjson"])
def test_a_cached_build_imports_what_it_uses(plain_user: Person, registry: Registry, busybox: str,
                                             progress: str) -> None:
    plain_user.mirror(registry)
    folder = context(plain_user, FILE, a="a")
    words = ["build", f"--progress={progress}", "-t", "x", folder]
    plain_user.iechor(*words)
    python = plain_user.command()[0]
    done = plain_user.run(python, "-c", SCRIPT, *words)
    code, *found = done.stdout.split()
    assert code == "0" and done.stderr.count("CACHED" if progress == "plain" else "StepCached") == 4
    loaded = {".".join(parts[:n]) for parts in (name.split(".") for name in found) for n in range(1, len(parts) + 1)}
    assert loaded & NEVER == set()
    assert len(found) < MOST


UNUSED_AGAIN = {"argparse", "datetime", "enum", "hashlib", "ipaddress", "json", "pathlib", "re", "signal", "threading",
                "typing", "urllib.parse"}
MOST_AGAIN = 24  # modules of ours


@pytest.mark.parametrize("progress", ["plain", "quiet"])
def test_a_build_that_has_nothing_to_do_imports_next_to_nothing(plain_user: Person, registry: Registry, busybox: str,
                                                                progress: str) -> None:
    plain_user.mirror(registry)
    words = ["build", f"--progress={progress}", "-t", "x", context(plain_user, FILE, a="a")]
    plain_user.iechor(*words)
    plain_user.iechor(*words)
    python = plain_user.command()[0]
    bare = set(plain_user.run(python, "-c", "import sys; print(*sys.modules)").stdout.split())
    done = plain_user.run(python, "-c", SCRIPT, *words)
    found = set(done.stdout.split()) - bare
    assert "0" in found and done.stderr.count("CACHED") == (4 if progress == "plain" else 0)
    assert found & UNUSED_AGAIN == set()
    assert sum(name.startswith("rootless_builder") for name in found) < MOST_AGAIN
    assert "rootless_builder.build" not in found
