"""Walking and removing what a container may have left: any depth, any name, folders without permissions."""

import os
import sys
from pathlib import Path

from rootless_builder.removing import remove_tree
from rootless_builder.scratch.removal import discard
from rootless_builder.scratch.walk import FOLDER, walk
from tests.conftest import Person

DEPTH = 1500  # beyond the limit of open files, of recursion, and with these names of PATH_MAX


def deep(root: Path) -> None:
    fd = os.open(root, FOLDER)
    for _ in range(DEPTH):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", FOLDER, dir_fd=fd)
        os.close(fd)
        fd = below
    os.symlink("/", "out", dir_fd=fd)
    os.close(fd)


def test_a_walk_of_any_depth_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    deep(tmp_path / "t")
    (tmp_path / "t/a").write_text("a")
    fd = os.open(tmp_path / "t", FOLDER)
    paths = [entry.path for entry in walk(fd)]
    assert paths[:3] == [b"a", b"deep", b"deep/deep"]
    assert len(paths) == DEPTH + 2
    assert paths[-1] == b"deep/" * DEPTH + b"out"
    assert [entry.path for entry in walk(fd, after=True)][-1] == b"deep"
    os.close(fd)
    remove_tree(tmp_path / "t")
    assert os.listdir(tmp_path) == []


def test_a_plain_user_can_remove_folders_without_permissions(plain_user: Person) -> None:
    script = plain_user.write("remove.py", """
import os, sys
from pathlib import Path
from rootless_builder.scratch.removal import discard
top = Path("tree")
(top / "work/work/inner").mkdir(parents=True)
(top / "work/work/inner/file").touch()
(top / b"\\xff".decode(errors="surrogateescape")).mkdir()
for path in (top / "work/work/inner", top / "work/work", top):
    path.chmod(0)
Path("gone").mkdir()
discard(top, Path("gone"))
print(sorted(os.listdir()), os.listdir("gone"))
""")
    done = plain_user.run(sys.executable, script)
    assert (done.stdout, done.stderr) == ("['gone', 'remove.py'] []\n", "")


def test_what_is_not_there_is_no_error_and_links_are_only_unlinked(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "nothing")
    discard(tmp_path / "nothing", tmp_path / "gone")
    assert os.listdir(tmp_path) == ["kept"]
