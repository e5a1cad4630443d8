"""Fifty builds, pulls and prunes at once on one store, from one host and from two: what comes out is the same as one
after the other, and nobody's work is taken away.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests import provision
from tests.conftest import Person
from tests.registry_server import Registry, tiny_layout
from tests.reliability.network import elsewhere, seen_by_two, seen_by_two_over_ssh
from tests.reliability.operations import Record

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
KINDS = 5
Mounted = Callable[[Person, str, int], AbstractContextManager[tuple[Path, Path]]]
CROWD = {"build": 30, "pull": 12, "prune": 8}
SOAK = 5  # of each crowd


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str, shared: Path) -> Person:
    plain_user.mirror(registry)
    if not (shared / "crowd").exists():
        for kind in range(KINDS):
            registry.fill(tiny_layout(shared / f"crowd{kind}", [{"hello": "h" * 1000 * kind, "a": "same"}]),
                          f"library/pulled{kind}:1")
        (shared / "crowd").touch()
    for kind in range(KINDS):
        plain_user.write(f"c{kind}/iEchorfile", f"FROM busybox\nCOPY one /\nRUN echo same > /same\nCOPY two /\n"
                                                f"RUN echo {kind} > /kind && chown {kind}:44 /kind\n")
        plain_user.write(f"c{kind}/one", "one")
        plain_user.write(f"c{kind}/two", f"two {kind}" * 1000)
    return plain_user


def command(number: int) -> tuple[str, ...]:
    """Of the whole crowd, mixed."""
    words = [("build", "-t", f"built{at % KINDS}:{at}", f"c{at % KINDS}") for at in range(CROWD["build"])]
    words += [("pull", f"pulled{at % KINDS}:1") for at in range(CROWD["pull"])]
    words += [("prune",) for _ in range(CROWD["prune"])]
    return words[number * 7 % len(words)]


def names(user: Person, env: Mapping[str, str]) -> dict[str, str]:
    """Name → image id."""
    listed = user.iechor("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Id}}", env=env).stdout
    return dict(line.split() for line in listed.splitlines() if "<none>" not in line)  # type: ignore[misc]


def alone(user: Person) -> dict[str, str]:
    """The ids, each made by itself in a store of its own."""
    env = {**EPOCH, "IECHOR_HOME": str(user.home / "alone"), "IECHOR_SCRATCH": str(user.home / "alone-scratch")}
    for kind in range(KINDS):
        user.iechor("build", "-t", f"built{kind}", f"c{kind}", env=env)
        user.iechor("pull", f"pulled{kind}:1", env=env)
    return {name.partition(":")[0]: found for name, found in names(user, env).items()}


def all_at_once(user: Person, hosts: list[tuple[dict[str, str], tuple[str, ...]]]) -> None:
    """hosts: environment, and the words before each command; the commands go round them."""
    running = []
    for number in range(sum(CROWD.values())):
        env, before = hosts[number % len(hosts)]
        words = [*before, *user.command(*command(number))]
        account = {} if before else {"user": user.uid, "group": user.gid, "extra_groups": []}
        running.append((words, subprocess.Popen(
            words, env=user.environment({**EPOCH, **env}), cwd=user.home, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, umask=0o022, start_new_session=True, **account)))
    failed = []
    for words, process in running:
        said, _ = process.communicate(timeout=300)
        if process.returncode:
            failed.append(f"{process.returncode} {words[-4:]}\n{said}")
    assert not failed, "\n".join(failed)


def same_as_alone(user: Person, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    wanted = {f"built{at % KINDS}:{at}": expected[f"built{at % KINDS}"] for at in range(CROWD["build"])}
    wanted |= {f"pulled{kind}:1": expected[f"pulled{kind}"] for kind in range(KINDS)}
    assert {name: found.get(name) for name in wanted} == wanted


def test_fifty_at_once_on_one_host(user: Person) -> None:
    expected = alone(user)
    all_at_once(user, [({}, ())])
    same_as_alone(user, names(user, {}), expected)
    assert json.loads(user.iechor("check", "--format", "json").stdout)["Sound"]
    for left in ("tmp", "leases", "claims", "trash"):
        assert os.listdir(user.store / left) == [], left


def crowd_on_two_hosts(user: Person, seconds: int, mounted: Mounted = seen_by_two) -> None:
    """seconds: for which each host believes what it saw."""
    expected = alone(user)
    with mounted(user, "network", seconds) as (first, second):
        hosts: list[tuple[dict[str, str], tuple[str, ...]]] = [
            ({"IECHOR_HOME": str(first / "store"), "IECHOR_SCRATCH": str(user.home / "scratch1")}, ()),
            ({"IECHOR_HOME": str(second / "store"), "IECHOR_SCRATCH": str(user.home / "scratch2")}, elsewhere(user))]
        all_at_once(user, hosts)
    with mounted(user, "network", seconds) as points:  # who mounts it now remembers nothing
        for point in points:
            env = {"IECHOR_HOME": str(point / "store"), "IECHOR_SCRATCH": str(user.home / "scratch3")}
            same_as_alone(user, names(user, env), expected)
            assert json.loads(user.iechor("check", "--format", "json", env=env).stdout)["Sound"]
        for name in ("built0:0", "built4:4"):
            assert user.iechor("run", "--rm", name, "cat", "/kind", env=env).stdout.strip() == name[5]


def test_fifty_at_once_on_two_hosts(user: Person) -> None:
    crowd_on_two_hosts(user, 1)


def test_fifty_at_once_on_two_hosts_that_believe_what_they_saw_for_a_minute(user: Person) -> None:
    crowd_on_two_hosts(user, 60)


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("hosts", ["one", "two", "two that remember", "two over ssh"])
@pytest.mark.parametrize("round", range(SOAK))
def test_a_crowd_again_and_again(user: Person, hosts: str, round: int, record_property: Record) -> None:
    if hosts == "one":
        test_fifty_at_once_on_one_host(user)
    elif hosts == "two over ssh":
        provision.main(["sshfs"])
        crowd_on_two_hosts(user, 20, seen_by_two_over_ssh)
    else:
        crowd_on_two_hosts(user, 60 if hosts == "two that remember" else 1)
    record_property("crowded", sum(CROWD.values()))


def test_the_same_step_is_made_once(user: Person) -> None:
    """Six builds that begin together: one does the work, the others wait for what it makes."""
    user.write("slow/iEchorfile", "FROM busybox\nRUN sleep 2; head -c 8 /dev/urandom | od -An -tx1 > /once\n")
    user.iechor("pull", "busybox")
    running = [user.start(*user.command("build", "--progress=plain", "-q", "-t", f"slow:{number}", "slow"),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(6)]
    ids = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0] * 6
    assert len(ids) == 1


def test_prune_leaves_what_a_running_build_and_container_use(user: Person) -> None:
    user.write("slow/iEchorfile", "FROM busybox\nRUN echo first > /first\nRUN echo started; sleep 3\nRUN cat /first\n")
    user.iechor("build", "-t", "app", "c0")
    container = user.iechor("run", "-d", "app", "sh", "-c", "sleep 60").stdout.strip()
    build = user.start(*user.command("build", "--progress=plain", "--no-cache", "-t", "slow", "slow"),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert build.stderr is not None
    for line in build.stderr:
        if line.rstrip().endswith(" started"):
            break
    for _ in range(3):
        user.iechor("prune", "--all", "--cache")
    said = build.stderr.read()
    assert build.wait(60) == 0, said
    assert user.iechor("exec", container, "cat", "/kind").stdout == "0\n"
    user.iechor("rm", "-f", container)
    assert user.iechor("run", "--rm", "slow", "cat", "/first").stdout == "first\n"
    assert json.loads(user.iechor("check", "--format", "json").stdout)["Sound"]
