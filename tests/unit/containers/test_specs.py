"""What the command line makes of a container's mounts and network files, and how ps words a state."""

from pathlib import Path

import pytest

from rootless_builder.containers.control import age, status_text
from rootless_builder.containers.options import HostEntry, Network, TmpfsMount, Volume
from rootless_builder.containers.specs import anonymous_targets, asked_mounts, base_mounts
from rootless_builder.containers.state import ContainerState, Status
from rootless_builder.errors import ContainerError
from rootless_builder.sandbox.mounts import Bind, FileBind


def content(network: Network, target: str, tmp_path: Path) -> str:
    (tmp_path / "hosts").write_text("10.0.0.1 of-the-host")
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.53\n")
    mounts = base_mounts("web", "name", network, [HostEntry.parse("db:10.1.2.3")], etc=tmp_path)
    return next(mount.content for mount in mounts if isinstance(mount, FileBind) and mount.target == target)


def test_hosts_of_each_network(tmp_path: Path) -> None:
    assert content(Network.HOST, "/etc/hosts", tmp_path) == "10.1.2.3\tdb\n10.0.0.1 of-the-host\n"
    for network in (Network.NONE, Network.PRIVATE):
        lines = content(network, "/etc/hosts", tmp_path).splitlines()
        assert lines[0] == "10.1.2.3\tdb" and "127.0.0.1\tlocalhost" in lines and lines[-1] == "127.0.0.1\tweb name"
        assert not any("of-the-host" in line for line in lines)
    assert content(Network.HOST, "/etc/hostname", tmp_path) == "web\n"


def test_resolvers_of_each_network(tmp_path: Path) -> None:
    assert content(Network.HOST, "/etc/resolv.conf", tmp_path) == "nameserver 10.0.0.53\n"
    assert content(Network.NONE, "/etc/resolv.conf", tmp_path) == ""


def test_outer_mount_points_come_before_inner_ones_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    mounts = asked_mounts([Volume.parse("./a:/x/y/z:ro"), Volume.parse("./a:/x/")], [TmpfsMount.parse("/x/y")],
                          [("/x", tmp_path / "anonymous")], tmp_path)
    assert [mount.target for mount in mounts] == ["/x/", "/x/y", "/x/y/z"]
    assert mounts[0] == Bind(source=str(tmp_path / "a"), target="/x/")
    assert mounts[2] == Bind(source=str(tmp_path / "a"), target="/x/y/z", read_only=True)


def test_a_missing_source_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ContainerError) as caught:
        asked_mounts([Volume.parse("./no:/x")], [], [], tmp_path)
    assert caught.value.hint == f"make it first: mkdir -p {tmp_path / 'no'}"


def test_volumes_of_the_image_that_the_command_line_does_not_take() -> None:
    volumes = [Volume.parse("/host:/data/"), Volume.parse("/own")]
    assert anonymous_targets(["/data", "cache", "/run"], volumes, [TmpfsMount.parse("/run")]) == ("/cache", "/own")


def test_a_state_in_words() -> None:
    assert status_text(ContainerState(status=Status.RUNNING, started=100.0), 103.5) == "Up 3 seconds"
    ended = ContainerState(status=Status.EXITED, finished=100.0, exit_code=3)
    assert status_text(ended, 100.0 + 7300) == "Exited (3) 2 hours ago"
    assert status_text(ContainerState(status=Status.CREATED), 0.0) == "Created"


@pytest.mark.parametrize(("seconds", "words"), [
    (-1, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (180, "3 minutes"),
    (3600, "About an hour"), (86_400, "24 hours"), (3 * 86_400, "3 days"), (21 * 86_400, "3 weeks")])
def test_ages(seconds: float, words: str) -> None:
    assert age(seconds) == words
