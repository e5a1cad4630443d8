"""A store or a machine that fails otherwise than at one call: small disks, read-only ones, no store any more, a clock
set back, few descriptors, little memory. A clear error with its exit code, or it works; and nothing half-written.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry

FILE = "FROM busybox\nRUN echo made > /made && chown 1000:44 /made\nCOPY big /\n"


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    plain_user.write("c/iEchorfile", FILE)
    plain_user.write("c/big", os.urandom(3 << 20))
    return plain_user


@contextlib.contextmanager
def mounted(user: Person, folder: str, *words: str) -> Iterator[Path]:
    """By root, as an administrator would; unmounted at the end, whatever uses it."""
    target = user.home / folder
    target.mkdir(exist_ok=True)
    subprocess.run(["mount", *words, target], check=True)
    os.chown(target, user.uid, user.gid)
    target.chmod(0o700)
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", target], check=True)


def sound(user: Person, **kwargs: dict[str, str]) -> bool:
    return bool(json.loads(user.iechor("check", "--format", "json", **kwargs).stdout)["Sound"])


@pytest.mark.parametrize("command", ["build", "pull", "load"])
def test_a_small_disk(user: Person, registry: Registry, command: str) -> None:
    """The store is on a file system of 2 MiB: the base fits, what is added to it does not."""
    user.iechor("build", "-t", f"{registry.host}/big", "c")
    user.iechor("save", "-o", "big.tar", f"{registry.host}/big")
    user.iechor("push", f"{registry.host}/big")
    words = {"build": ("-t", "big", "c"), "pull": (f"{registry.host}/big",), "load": ("-i", "big.tar")}[command]
    with mounted(user, "small", "-t", "tmpfs", "-o", "size=2M", "tmpfs") as small:
        env = {"IECHOR_HOME": str(small / "store")}
        user.iechor("pull", "busybox", env=env)
        done = user.iechor(command, *words, env=env, code=13)
        assert "no space" in done.stderr.lower() and "hint:" in done.stderr
        assert "busybox" in user.iechor("images", env=env).stdout
        assert os.listdir(small / "store" / "tmp") == []
        assert sound(user, env=env)
        user.iechor("run", "--rm", "busybox", "true", env=env)


def test_a_read_only_store(user: Person) -> None:
    user.iechor("build", "-t", "app", "c")
    with mounted(user, "store", "--bind", str(user.store)):
        subprocess.run(["mount", "-o", "remount,bind,ro", user.store], check=True)
        assert "app" in user.iechor("images").stdout
        assert user.iechor("inspect", "app").returncode == 0
        assert user.iechor("run", "--rm", "app", "cat", "/made").stdout == "made\n"
        assert sound(user)
        for words in (("build", "--no-cache", "-t", "new", "c"), ("tag", "app", "other"), ("rmi", "app"), ("prune",)):
            refused = user.iechor(*words, code=14)
            assert "read-only" in refused.stderr and "hint:" in refused.stderr, words


def test_the_store_is_removed_while_it_is_in_use(user: Person) -> None:
    user.write("s/iEchorfile", "FROM busybox\nRUN echo started; sleep 3\nCOPY x /\n")
    user.write("s/x", "x")
    process = user.start(*user.command("build", "--progress=plain", "-t", "gone", "s"), stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(" started"):
            break
    shutil.rmtree(user.store)
    said = process.stderr.read()
    assert "Traceback" not in said and "this is a bug" not in said
    assert process.wait(60) in (0, 14), said
    if process.returncode:
        assert "hint:" in said
    user.iechor("build", "-t", "again", "c")
    assert sound(user)


def test_a_clock_that_was_set_back(user: Person) -> None:
    """All that is there was written the day after tomorrow."""
    user.iechor("build", "-t", "app", "c")
    later = time.time() + 2 * 24 * 3600
    for folder in (user.store, user.scratch, user.home / "c"):
        for path in folder.rglob("*"):
            os.utime(path, (later, later), follow_symlinks=False)
    again = user.iechor("build", "--progress=plain", "-t", "app", "c")
    assert again.stderr.count("CACHED") == 2
    user.write("c/big", b"changed")
    user.iechor("build", "-t", "other", "c")
    user.iechor("prune")
    assert {"app", "other"} <= set(user.iechor("images", "--format", "{{.Repository}}").stdout.split())
    assert user.iechor("run", "--rm", "other", "cat", "/big").stdout == "changed"
    assert sound(user)


def test_few_descriptors(user: Person) -> None:
    """Each layer below a RUN takes one: with 64, some forty layers are too many, and that is said."""
    limited = ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"]
    steps = [f"COPY big /copy{number}\nRUN echo {number} > /r\n" for number in range(40)]
    user.write("c/iEchorfile", FILE + "".join(steps[:10]))
    done = user.run(*limited, *user.command("build", "-t", "app", "c"))
    assert done.returncode == 0, done.stderr
    assert user.run(*limited, *user.command("run", "--rm", "app", "cat", "/r")).stdout == "9\n"
    for words in (("save", "-o", "app.tar", "app"), ("load", "-i", "app.tar"), ("pull", "busybox"), ("check",)):
        done = user.run(*limited, *user.command(*words))
        assert done.returncode == 0, done.stderr
    user.write("c/iEchorfile", FILE + "".join(steps))
    done = user.run(*limited, *user.command("build", "-t", "app", "c"))
    assert done.returncode in (1, 11), done.stderr  # iechor itself, or the sandbox
    assert "too many open files" in done.stderr.lower(), done.stderr
    user.iechor("build", "-t", "app", "c")
    assert user.iechor("run", "--rm", "app", "cat", "/r").stdout == "39\n"


@pytest.mark.lean
@pytest.mark.parametrize("kilobytes", [60_000, 90_000, 150_000, 300_000])
def test_little_memory(user: Person, kilobytes: int) -> None:
    """RLIMIT_AS: it works, or says that memory is short; nobody waits for a thread that had none to begin."""
    for words in (("build", "--no-cache", "-t", "app", "c"), ("pull", "busybox"), ("check",)):
        done = user.run("sh", "-c", f'ulimit -v {kilobytes} && exec "$@"', "sh", *user.command(*words))
        assert "this is a bug" not in done.stderr, done.stderr
        if done.returncode and "iechor:" in done.stderr:
            assert "memory" in done.stderr and "hint:" in done.stderr, done.stderr
    user.iechor("build", "-t", "app", "c")
    assert sound(user)
