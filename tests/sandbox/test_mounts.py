"""What the container sees of files, and that no mount leads out of its root."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from rootless_builder.sandbox.mounts import Bind, FileBind, KernelOverlay, Proc, Tmpfs, standard
from rootless_builder.sandbox.spec import Network
from tests.sandbox.conftest import Box, box_of


def host_folder(box: Box, name: str) -> Path:
    folder = box.person.home / name
    folder.mkdir()
    (folder / "file").write_text("host\n")
    box.own(folder)
    return folder


def overlay(box: Box, name: str, lowers: tuple[Path, ...] = (), *, volatile: bool = False) -> KernelOverlay:
    """Over the box's root, with new folders for what changes; NAME-merged is where it goes."""
    for part in ("upper", "work", "merged"):
        (box.person.home / f"{name}-{part}").mkdir()
        os.chown(box.person.home / f"{name}-{part}", box.person.uid, box.person.gid)
    return KernelOverlay(lowers=tuple(map(str, (*lowers, box.root))), upper=str(box.person.home / f"{name}-upper"),
                         work=str(box.person.home / f"{name}-work"), userxattr=box.person.userns != "host",
                         volatile=volatile)


def test_proc_is_the_containers_own_and_masked(box: Box) -> None:
    result = box.sh("echo /proc/[0-9]*; wc -c < /proc/keys; cat /proc/1/comm; true")
    assert result.out == "/proc/1\n0\nsh\n"
    assert result.notices == []
    assert "Read-only file system" in box.run("sh", "-c", "echo 0 > /proc/sys/kernel/panic").err


@pytest.mark.parametrize("who", ["plain", "subuid"])
def test_an_outer_proc_that_is_masked_is_bound_and_said(who: str) -> None:
    """As inside a container of Docker's: the kernel refuses a fresh procfs where the outer one has covered parts.
    (Real root may always mount one.)
    """
    code = "print(json.dumps(finished(launch(read_spec(open('inner.json').read(), ids)))))"
    masking = ("mount --bind /dev/null /proc/keys && mount -t tmpfs none /proc/bus && "
               'exec setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"')
    with box_of(who) as box:
        inner = box.spec("sh", "-c", "echo $$; cat /proc/self/comm; echo > /proc/self/comm")
        box.person.write("inner.json", inner.to_json())
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-ec", masking, "bash",
                               str(box.person.uid), *box.script_command(code)], env=box.person.environment(),
                              cwd=box.person.home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["out"] == "1\ncat\n"
    assert "Read-only file system" in told["err"]
    assert "the container sees the outer /proc, read-only" in told["notices"][0]


def test_dev_is_minimal_and_works(box: Box) -> None:
    assert box.sh("ls /dev").out.split() == ["core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
                                             "stderr", "stdin", "stdout", "tty", "urandom", "zero"]
    assert box.sh("head -c 3 /dev/zero | wc -c; echo y > /dev/shm/a; cat /dev/shm/a").out == "3\ny\n"
    assert "No space left" in box.run("sh", "-c", "echo x > /dev/full").err


def test_the_hosts_devices_are_not_the_containers_to_change(box: Box) -> None:
    """Real root inside is the owner of the host's nodes: it must not meet them."""
    before = {name: os.stat(f"/dev/{name}") for name in ("null", "zero", "tty")}
    box.run("sh", "-c", "chmod 0600 /dev/null /dev/zero /dev/tty /proc/keys; chown 5:5 /dev/null /dev/zero /proc/keys")
    for name, kept in before.items():
        now = os.stat(f"/dev/{name}")
        assert (now.st_mode, now.st_uid, now.st_gid) == (kept.st_mode, kept.st_uid, kept.st_gid)
    assert box.sh("stat -c %a /dev/null; echo x > /dev/null; wc -c < /proc/keys").out == "666\n0\n"


def test_sys_is_read_only_and_shows_the_network_it_is_in(box: Box) -> None:
    assert "Read-only file system" in box.run("touch", "/sys/kernel/x").err
    assert box.sh("ls /sys/class/net", network=Network.NONE).out == "lo\n"
    assert len(box.sh("ls /sys/class/net").out.split()) == len(os.listdir("/sys/class/net"))
    assert box.sh("ls /sys/firmware").out == ""


def test_the_root_has_no_devices_but_those_of_dev(many_ids: Box) -> None:
    """Real root may make a node of the host's disk; it must not be able to open it."""
    if many_ids.person.userns == "host":
        many_ids.sh("mknod /tmp/disk b 254 0; mknod /tmp/null c 1 3")
        assert "Permission denied" in many_ids.run("sh", "-c", "head -c 1 /tmp/disk").err
        assert "Permission denied" in many_ids.run("sh", "-c", "echo x > /tmp/null").err
    else:
        assert "Operation not permitted" in many_ids.run("mknod", "/tmp/null", "c", "1", "3").err


def test_missing_mount_points_are_made_and_reported(fresh: Box) -> None:
    folder = host_folder(fresh, "volume")
    mounts = (*standard(hosts="127.0.0.1 localhost\n"), Bind(source=str(folder), target="/a/b"),
              FileBind(content="s3cret", target="/run/secrets/one", mode=0o400), Tmpfs(target="/tmp"))
    result = fresh.sh("cat /a/b/file /run/secrets/one /etc/hosts; stat -c %a /run/secrets/one", mounts=mounts)
    assert result.out == "host\ns3cret127.0.0.1 localhost\n400\n"
    assert result.created == ["proc", "dev", "sys", "etc/hosts", "a", "a/b", "run", "run/secrets", "run/secrets/one"]
    assert (fresh.root / "run/secrets/one").read_text() == ""  # the mount point, not the secret


def test_generated_files_can_be_written_and_leave_nothing(box: Box) -> None:
    assert box.sh("echo more >> /etc/hosts; cat /etc/hosts", mounts=standard(hosts="one\n")).out == "one\nmore\n"
    assert (box.root / "etc/hosts").read_text() == ""
    mounts = (*standard(), FileBind(content="x", target="/etc/hosts", read_only=True))
    assert "Read-only file system" in box.run("sh", "-c", "echo > /etc/hosts", mounts=mounts).err


def test_volumes_read_only_and_writable(fresh: Box) -> None:
    folder = host_folder(fresh, "volume")
    (folder / "tool").write_text("#!/bin/sh\necho ran\n")
    (folder / "tool").chmod(0o755)
    source = str(folder)
    fresh.sh("echo new > /v/new", mounts=(*standard(), Bind(source=source, target="/v")))
    assert (folder / "new").read_text() == "new\n"
    assert (folder / "new").stat().st_uid == fresh.person.uid
    only = (*standard(), Bind(source=source, target="/v", read_only=True, noexec=True))
    assert "Read-only file system" in fresh.run("touch", "/v/x", mounts=only).err
    error = fresh.run("/v/tool", mounts=only).error
    assert error is not None and error["status"] == 126
    one = (*standard(), Bind(source=f"{source}/file", target="/etc/one", read_only=True))
    assert fresh.sh("cat /etc/one", mounts=one).out == "host\n"


def test_a_volume_that_is_not_there(box: Box) -> None:
    error = box.run("true", mounts=(*standard(), Bind(source="/no/such", target="/v"))).error
    assert error is not None
    assert error["message"] == "cannot mount /no/such on /v: No such file or directory: /no/such"
    error = box.run("true", mounts=(*standard(), Bind(source="/etc/hostname", target="/tmp"))).error
    assert error is not None and "Is a directory" in error["message"]


def test_a_device_may_be_given(box: Box) -> None:
    mounts = (*standard(), Bind(source="/dev/zero", target="/dev/mine"))
    assert box.sh("head -c 4 /dev/mine | wc -c", mounts=mounts).out == "4\n"


@pytest.mark.parametrize("link", ["{outside}/new", "../../../../../../../../..{outside}/new",
                                  "/proc/self/cwd{outside}/new"])
def test_a_link_in_the_image_leads_no_mount_out(fresh: Box, link: str) -> None:
    """The image's /etc/resolv.conf may point anywhere; only its own root may change."""
    outside = host_folder(fresh, "outside")
    (fresh.root / "etc/resolv.conf").symlink_to(link.format(outside=outside))
    (fresh.root / "evil").symlink_to(str(outside))
    fresh.own(fresh.root)
    mounts = (*standard(resolv_conf="nameserver ::1\n"), Bind(source="/etc", target="/evil/etc"))
    result = fresh.run("cat", "/etc/resolv.conf", mounts=mounts)
    assert sorted(os.listdir(outside)) == ["file"]
    if result.error is None and not link.startswith("/proc"):
        assert result.out == "nameserver ::1\n"
        assert any(path.endswith("outside/new") for path in result.created)


def test_links_in_a_ring_are_an_error(fresh: Box) -> None:
    (fresh.root / "a").symlink_to("b")
    (fresh.root / "b").symlink_to("a")
    error = fresh.run("true", mounts=(*standard(), Tmpfs(target="/a/x"))).error
    assert error is not None and "Too many levels of symbolic links" in error["message"]
    error = fresh.run("true", mounts=(*standard(), Tmpfs(target="/etc/passwd/x"))).error
    assert error is not None and "Not a directory" in error["message"]


def test_the_hosts_files_are_out_of_sight(box: Box) -> None:
    secret = host_folder(box, f"secret-{os.urandom(4).hex()}")
    for path in (str(secret), f"/../../..{secret}", f"/proc/1/root{secret}", f"/proc/self/cwd/../../..{secret}"):
        assert "No such file" in box.run("ls", path).err
    assert str(secret) not in box.sh("cat /proc/self/mountinfo").out


def test_changes_go_to_the_upper_and_plain_rm_removes_all(fresh: Box) -> None:
    lower = host_folder(fresh, "lower")
    mounts = (overlay(fresh, "one", (lower,)), *standard())
    result = fresh.sh("cat /file; echo changed > /file; rm /etc/group; mkdir -p /new/folder", mounts=mounts,
                      root=str(fresh.person.home / "one-merged"))
    assert result.out == "host\n"
    assert (lower / "file").read_text() == "host\n"
    upper = fresh.person.home / "one-upper"
    assert (upper / "file").read_text() == "changed\n"
    assert os.stat(upper / "etc/group").st_rdev == 0 and not (upper / "etc/group").is_file()  # a whiteout
    if fresh.person.userns == "fakeroot":
        done = fresh.person.run("rm", "-r", "one-upper", "one-work", "root", "lower")
        assert (done.returncode, done.stderr) == (0, "")


def test_any_number_of_layers_fits(fresh: Box) -> None:
    lowers = []
    for number in range(200):
        lowers.append(fresh.person.home / f"a-long-name-for-a-layer,with:odd\\signs-{number}")
        lowers[-1].mkdir()
        (lowers[-1] / f"l{number}").touch()
    fresh.own(fresh.person.home)
    result = fresh.sh("ls / | grep -c ^l[0-9]", root=str(fresh.person.home / "many-merged"),
                      mounts=(overlay(fresh, "many", tuple(lowers), volatile=True), *standard()))
    assert result.out == "200\n"
    if fresh.person.userns == "fakeroot":
        done = fresh.person.run("rm", "-r", "many-upper", "many-work")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_mount_that_fails_is_an_error_that_names_it(box: Box) -> None:
    bad = KernelOverlay(lowers=("/no/such", str(box.root)))
    error = box.run("true", mounts=(bad, *standard())).error
    assert error is not None
    assert error["message"] == "cannot mount an overlay of 2 layers on /: No such file or directory: /no/such"
    error = box.run("true", mounts=(Proc(target="/etc/group"),)).error
    assert error is not None and error["message"].startswith("cannot mount proc on /etc/group: Not a directory")
    error = box.run("true", root="/no/such").error
    assert error is not None and error["message"].startswith("cannot open the root folder /no/such: No such file")


def test_mounts_of_the_container_do_not_reach_the_host(box: Box) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    box.sh("true", mounts=(*standard(), Tmpfs(target="/tmp/deep", size=1 << 20)))
    assert Path("/proc/self/mountinfo").read_text() == before


def test_abstract_sockets_of_the_host_stay_reachable_only_with_its_network(box: Box) -> None:
    """With --network=none not even an abstract unix socket of the host's (D-Bus, X11) can be reached."""
    with socket.socket(socket.AF_UNIX) as server:
        name = f"\0iechor-test-{os.getpid()}"
        server.bind(name)
        server.listen()
        assert name[1:] in box.sh("cat /proc/net/unix").out
        assert name[1:] not in box.sh("cat /proc/net/unix", network=Network.NONE).out
