"""The sandbox's values, without a sandbox."""

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless_builder.errors import NamespaceError, SandboxError
from rootless_builder.sandbox import failures, idmap, passwd
from rootless_builder.sandbox.failures import ExecFailed, UserNotFound
from rootless_builder.sandbox.handle import exit_status
from rootless_builder.sandbox.idmap import Extent, IdMap, IdMode, SubordinateRange
from rootless_builder.sandbox.mounts import Bind, Dev, FileBind, KernelOverlay, Proc, Sysfs, Tmpfs, standard
from rootless_builder.sandbox.outbound import resolv_conf
from rootless_builder.sandbox.passwd import Identity
from rootless_builder.sandbox.rootdir import open_in_root
from rootless_builder.sandbox.spec import FakerootSpec, Given, Limit, Network, Port, SandboxSpec

FULL = SandboxSpec(
    root="/r\udc80", argv=("a", "b c"), env=("A=1",), cwd="/x", make_cwd=True, user="u:g", hostname="h", init=True,
    tty=True,
    network=Network.PRIVATE, ports=(Port(host_ip="::1", host_port=1, container_port=2),),
    limits=(Limit(name="nofile", soft=1, hard=-1),), capabilities=(), no_new_privileges=True, read_only=True,
    confined=False, scoped=True, proot="/p", size=(24, 80),
    fakeroot=FakerootSpec(table="/t", dev=3, fsync=True), given=(Given(path="/g", uid=1, gid=2),),
    ids=IdMap(mode=IdMode.SUBUID, uids=(Extent(inside=0, outside=1, count=2),), gids=()),
    mounts=(KernelOverlay(lowers=("a", "b"), upper="u", work="w", volatile=True), Bind(source="s", target="t"),
            FileBind(content="c\udcff\0", target="t", uid=1), Tmpfs(target="t", size=9), Proc(), Dev(), Sysfs()))


def test_a_spec_goes_through_json() -> None:
    assert SandboxSpec.from_json(FULL.to_json()) == FULL
    least = SandboxSpec(root="/", argv=())
    assert SandboxSpec.from_json(least.to_json()) == least
    for field in dataclasses.fields(SandboxSpec):
        assert getattr(FULL, field.name) != getattr(least, field.name), f"the test leaves {field.name} at its default"


@given(st.text(alphabet=st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)))
def test_any_text_goes_through_json(text: str) -> None:
    spec = dataclasses.replace(FULL, argv=(text,), root=text, mounts=(FileBind(content=text, target=text),))
    assert SandboxSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"root": "/"}', '{"root": "/", "argv": [], "bogus": 1}',
                                  '{"root": "/", "argv": [], "mounts": [{"kind": "Evil"}]}'])
def test_another_json_is_refused(text: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        SandboxSpec.from_json(text)


def test_mounts_say_what_they_do() -> None:
    assert [mount.describe() for mount in standard(hosts="x")] == [
        "mount proc on /proc", "mount a minimal /dev on /dev", "mount sysfs on /sys",
        "mount a generated file on /etc/hosts"]


def test_errors_go_through_json() -> None:
    for error in (ExecFailed("m", status=126, hint="h"), UserNotFound("u"), SandboxError("s", hint="x"),
                  NamespaceError("n")):
        back = failures.decode(failures.encode(error))
        assert (type(back), vars(back)) == (type(error), vars(error))


def test_an_exit_status_is_the_shells() -> None:
    assert (exit_status(0, None).code, exit_status(3 << 8, None).code) == (0, 3)
    killed = exit_status(9, (1.0, 2.0, 3))
    assert (killed.code, killed.signal) == (137, 9)
    assert killed.usage is not None and killed.usage.peak_memory == 3072


# ---- users ------------------------------------------------------------------------------------------------------

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/srv/app:/bin/sh\n# no\n+nis\nshort:x:7\nbad:x:abc:0::/:\n"
GROUP = "root:x:0:\nadm:x:4:root,app\nwww:x:33:\n1234:x:99:\n"


@pytest.mark.parametrize("text, expected", [
    ("", Identity(uid=0, gid=0, groups=(0, 4), home="/root")),
    ("app", Identity(uid=1000, gid=1001, groups=(1001, 4), home="/srv/app")),
    ("1000", Identity(uid=1000, gid=1001, groups=(1001, 4), home="/srv/app")),
    ("app:www", Identity(uid=1000, gid=33, groups=(33,), home="/srv/app")),
    ("app:", Identity(uid=1000, gid=1001, groups=(1001, 4), home="/srv/app")),
    ("5:6", Identity(uid=5, gid=6, groups=(6,))),
    ("5", Identity(uid=5, gid=0, groups=(0,))),
    ("5:1234", Identity(uid=5, gid=99, groups=(99,))),  # a group may be named by digits
    ("2147483647", Identity(uid=2147483647, gid=0, groups=(0,))),
])
def test_users_resolve_as_runc_does_it(text: str, expected: Identity) -> None:
    assert passwd.resolve(text, PASSWD, GROUP) == expected


@pytest.mark.parametrize("text, words", [
    ("nobody", "no user nobody in the image's /etc/passwd"), ("app:none", "no group none in the image's /etc/group"),
    ("-1", "no user -1"), ("2147483648", "not between 0 and 2147483647"), ("bad", "not between 0 and 2147483647"),
    ("short", "not between"), ("app:4294967296", "not between"), ("١", "no user ١"),
])
def test_users_that_are_not_there(text: str, words: str) -> None:
    with pytest.raises(UserNotFound, match=words):
        passwd.resolve(text, PASSWD, GROUP)


@given(st.text(), st.text(), st.text())
def test_any_passwd_gives_an_identity_or_the_typed_error(text: str, users: str, groups: str) -> None:
    try:
        identity = passwd.resolve(text, users, groups)
    except UserNotFound:
        return
    assert 0 <= identity.uid < 1 << 31 and 0 <= identity.gid < 1 << 31


def test_a_passwd_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "none", Path("/dev/zero")):
        assert passwd.read_database(str(path)) == ""


# ---- ids --------------------------------------------------------------------------------------------------------

def test_subordinate_ranges_are_found_by_name_and_by_number(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("me:100000:65536\n1000:300000:10\nother:1:2\nme:x:1\n\nme:1\n")
    assert idmap.subordinate_ranges(file, "me", 1000) == (SubordinateRange(first=100000, count=65536),
                                                          SubordinateRange(first=300000, count=10))
    assert idmap.subordinate_ranges(tmp_path / "none", "me", 1000) == ()


def test_the_map_begins_with_the_user_and_goes_on_with_its_ranges(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("me:100000:65536\n1000:300000:10\n")
    (tmp_path / "subgid").write_text("me:200000:5\n")
    ids, helpers = idmap.subuid_map("me", 1000, 1001, etc=tmp_path)
    assert idmap.map_text(ids.uids) == "0 1000 1\n1 100000 65536\n65537 300000 10\n"
    assert idmap.map_text(ids.gids) == "0 1001 1\n1 200000 5\n"
    assert helpers.newuidmap.endswith("/newuidmap")


def test_a_missing_range_names_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("me:100000:65536\n")
    with pytest.raises(NamespaceError) as caught:
        idmap.subuid_map("me", 1000, 1000, etc=tmp_path)
    assert caught.value.message.endswith("subgid has no range for me")
    assert caught.value.hint == "run `sudo usermod --add-subgids 100000-165535 me`, or use --userns=fakeroot"


def test_real_root_has_every_id() -> None:
    assert idmap.has_many_ids()
    assert idmap.in_initial_namespace()


# ---- paths inside a root ----------------------------------------------------------------------------------------

@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").touch()
    inner = tmp_path / "root"
    (inner / "dir").mkdir(parents=True)
    (inner / "file").touch()
    for name, target in {"up": "../outside", "abs": str(tmp_path / "outside"), "loop": "loop", "ok": "dir",
                         "dangling": "new/deep", "slash": "/", "dots": "dir/../../../dir"}.items():
        (inner / name).symlink_to(target)
    return inner


@pytest.mark.parametrize("path, expected", [
    ("dir", "dir"), ("/dir/", "dir"), ("//dir/.", "dir"), ("ok", "dir"), ("dots", "dir"), ("..", "."), ("", "."),
    ("slash/dir", "dir"), ("../../dir", "dir"), ("slash", "."),
])
def test_paths_inside_a_root(root: Path, path: str, expected: str) -> None:
    fd = open_in_root(os.open(root, os.O_PATH), path, directory=True)
    assert os.path.samestat(os.fstat(fd), os.stat(root / expected))


def test_nothing_is_made_outside(root: Path) -> None:
    top = os.open(root, os.O_PATH)
    made: list[str] = []
    for path in ("up/a", "abs/b", "dangling", "up/../../outside/c"):
        open_in_root(top, path, directory=True, made=made)
    open_in_root(top, "up/secret", directory=False, made=made)
    assert sorted(os.listdir(root.parent / "outside")) == ["secret"]
    assert all(os.path.lexists(root / path) for path in made)
    assert {"outside", "outside/a", "new", "new/deep", "outside/secret"} <= set(made)


@pytest.mark.parametrize("path, directory, error", [
    ("loop/x", True, OSError), ("file/x", True, NotADirectoryError), ("file", True, NotADirectoryError),
    ("dir", False, IsADirectoryError), ("none", True, FileNotFoundError), ("up/secret", False, FileNotFoundError),
])
def test_paths_that_are_errors(root: Path, path: str, directory: bool, error: type[OSError]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    top = os.open(root, os.O_PATH)
    with pytest.raises(error):
        open_in_root(top, path, directory=directory)
    os.close(top)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_resolver_of_a_private_network_is_the_hosts_unless_slirp_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "search a\nnameserver 127.0.0.53\n"
    assert resolv_conf(False, text) == text
    monkeypatch.setattr("rootless_builder.sandbox.outbound.outbound_program", lambda: None)
    assert resolv_conf(True, text) == text
    monkeypatch.setattr("rootless_builder.sandbox.outbound.outbound_program", lambda: "/x")
    assert resolv_conf(True, text) == "nameserver 10.0.2.3\nsearch a\n"
