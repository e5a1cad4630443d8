"""What a RUN changed is the same layer, whoever keeps the owners and however the root file system is made.

workload.py is run by real root (host), by a user with a range of ids (subuid) and by one without (fakeroot).
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Person

pytestmark = pytest.mark.userns
WORKLOAD = Path(__file__).with_name("workload.py").read_text()
CHECKED_OUT_ONLY = ["File h2 644 5:6 11 {}"]  # overlayfs breaks hard links at copy-up, so only h1 changes there
EXPECTED = [
    "Directory again 755 0:0  {}",
    "File again/only 644 0:0 5 {}",
    "Remove again/sub",
    "Directory etc 755 0:0  {}",
    "File etc/link-me 640 9:9 7 {}",
    "File etc/linked-now 640 9:9 7 {}",
    "File etc/mode 604 0:0 4 {}",
    "File etc/moved 644 0:0 5 {}",
    "Remove etc/mtime",
    "File etc/owned 640 42:43 14 {'user.note': b'kept'}",
    "File etc/owner 644 7:8 5 {}",
    "Remove etc/remove",
    "Remove gone",
    "File h1 644 5:6 11 {}",
    "Directory home 3775 0:0  {}",
    "Symlink lib 777 12:13 usr/lib {}",
    "Directory new 755 0:0  {}",
    "Directory new/deep 755 0:0  {}",
    "Directory new/deep/er 755 0:0  {}",
    "File new/deep/er/file 644 0:0 3 {}",
    "Device new/fifo 644 0:0  {}",
    "File new/linked 644 0:0 3 {}",
    "Symlink new/symlink 777 0:0 /nowhere {}",
    "Directory tmp 1777 0:0  {}",
    "File tmp/copy 644 0:0 4 {}",
    "File tree 644 0:0 9 {}",
]


def work(person: Person, overlay: str) -> dict[str, Any]:
    script = person.write("workload.py", WORKLOAD)
    done = person.run(sys.executable, script, person.userns, person.home, overlay)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["code"] == 0, result["output"]
    return result


@pytest.mark.parametrize("overlay", ["ask", "1"], ids=["overlay", "check-out"])
def test_all_id_modes_make_the_same_layer(root_user: Person, subuid_user: Person, plain_user: Person,
                                          overlay: str) -> None:
    reference = work(root_user, overlay)
    assert reference["overlay"] is (overlay == "ask")
    assert reference["changes"] == sorted(EXPECTED + ([] if reference["overlay"] else CHECKED_OUT_ONLY),
                                          key=lambda line: line.split()[1].encode().split(b"/"))
    assert reference["created"] == []  # every mount point was there
    assert reference["adopted"] is reference["overlay"]
    assert reference["same"], "a layer adopted as it lay there differs from the same layer unpacked"
    assert reference["again"] == []
    assert work(subuid_user, overlay) == reference
    assert work(plain_user, overlay) == reference
    for person in (root_user, subuid_user, plain_user):
        foreign = [path for path in person.home.rglob("*") if path.lstat().st_uid != person.uid
                   and not (person.userns == "subuid" and "subuid.1" in path.parts)]
        assert foreign == []
