"""Folders of containers: names are exclusive, a half-made one is never seen, a dead monitor's container has exited."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rootless_builder.containers.folders import Containers
from rootless_builder.containers.marks import ProcessMark
from rootless_builder.containers.names import check_name, new_id, new_name
from rootless_builder.containers.options import PublishedPort
from rootless_builder.containers.state import LOST, Container, ContainerConfig, ContainerState, Status
from rootless_builder.errors import ContainerError, UsageError
from rootless_builder.removing import remove_tree


def made(containers: Containers, name: str, container_id: str | None = None, created: float = 1.0) -> Container:
    config = ContainerConfig(
        id=container_id or new_id(), name=name, image="docker.io/library/x:latest", image_id="sha256:0",
        created=created, command=("sh", "-c", "true"), env=("A=b",), labels={"a": "b"},
        ports=(PublishedPort(host_ip="", host_port=1, container_port=2),))
    containers.reserve(config.id, name)
    return containers.publish(config)


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(tmp_path / "containers")


def test_a_container_is_found_by_name_id_and_prefix(containers: Containers) -> None:
    one = made(containers, "one", "a" * 64)
    made(containers, "two", "ab" * 32, created=2.0)
    assert containers.get("one") == containers.get("a" * 64) == containers.get("aaa") == one
    assert [container.name for container in containers.newest_first()] == ["two", "one"]
    with pytest.raises(ContainerError, match="2 ids begin so"):
        containers.get("a")
    for name in ("three", "../one", "c", "", "*"):
        with pytest.raises(ContainerError, match="no container with name or ID"):
            containers.get(name)


def test_a_taken_name_is_refused_and_leaves_nothing(containers: Containers) -> None:
    first = made(containers, "web")
    with pytest.raises(ContainerError) as caught:
        containers.reserve(new_id(), "web")
    assert first.id[:12] in str(caught.value) and "iechor rm web" in str(caught.value.hint)
    assert containers.newest_first() == [first]
    assert len(os.listdir(containers.root)) == 2  # it, and the names


def test_a_removed_container_frees_its_name(containers: Containers) -> None:
    first = made(containers, "web")
    containers.discard(first.id, first.name)
    assert containers.newest_first() == []
    with pytest.raises(ContainerError):
        first.state()
    assert made(containers, "web").name == "web"


def test_a_container_is_not_seen_before_it_is_published(containers: Containers) -> None:
    containers.reserve(new_id(), "web")
    assert containers.newest_first() == []
    with pytest.raises(ContainerError):
        containers.get("web")


def test_what_a_killed_maker_left_is_swept_and_its_name_is_free(containers: Containers) -> None:
    program = ("import os, sys; from pathlib import Path; from rootless_builder.containers.folders import Containers;"
               "Containers(Path(sys.argv[1])).reserve('b' * 64, 'web'); os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", program, containers.root], check=False)
    assert (containers.root / ("b" * 64)).is_dir()
    assert made(containers, "web").name == "web"
    assert not (containers.root / ("b" * 64)).exists()


def test_a_dead_monitor_means_exited(containers: Containers) -> None:
    container = made(containers, "web")
    child = subprocess.Popen(["sleep", "60"])
    mark = ProcessMark.of(child.pid)
    container.write_state(ContainerState(status=Status.RUNNING, monitor=mark, init=mark, started=5.0))
    assert container.state().status is Status.RUNNING
    child.kill()
    child.wait()
    assert (container.state().status, container.state().exit_code) == (Status.EXITED, LOST)


def test_a_pid_of_another_process_or_boot_is_not_ours() -> None:
    mark = ProcessMark.of(os.getpid())
    assert mark.alive
    assert not replace(mark, started=mark.started + 1).alive
    assert not replace(mark, boot="another").alive


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError):
        ProcessMark.of(child.pid)
    child.wait()


def test_removal_gets_through_folders_nobody_may_enter(tmp_path: Path) -> None:
    folder = tmp_path / "doomed"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    (folder / "link").symlink_to(tmp_path)
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0)
    remove_tree(folder)
    assert not folder.exists() and tmp_path.exists()
    remove_tree(folder)


def test_removal_gets_to_the_bottom_of_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / "doomed"
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 100, dir_fd=at)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    remove_tree(folder)
    assert not folder.exists()


def test_names() -> None:
    assert all(check_name(new_name()) for _ in range(50))
    assert all(len(value) == 64 and not value[:12].isdecimal() for value in (new_id() for _ in range(50)))
    for name in ("", "-a", "a b", "a/b", "é", "x" * 201):
        with pytest.raises(UsageError):
            check_name(name)
