"""A small folder for the leak scripts: a, b/c, link."""

import os
import tempfile
from pathlib import Path


def folder() -> tuple[Path, int]:
    top = Path(tempfile.mkdtemp(dir=os.environ["LEAKS_TMP"]))
    (top / "a").write_bytes(b"a" * 1000)
    (top / "b").mkdir()
    (top / "b" / "c").write_bytes(b"c" * 300_000)
    (top / "link").symlink_to("a")
    return top, os.open(top, os.O_RDONLY | os.O_DIRECTORY)
