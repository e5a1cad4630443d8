"""What of a mode counts in a key (docs/decisions/0031)."""

import os
from pathlib import Path

import pytest

from rootless_builder.sources.umask import counted, umask_of

PLAIN = {0o022: (0o644, 0o755), 0o002: (0o664, 0o775), 0o077: (0o600, 0o700), 0o027: (0o640, 0o750), 0: (0o666, 0o777)}


@pytest.mark.parametrize("umask", PLAIN)
def test_what_a_umask_leaves_is_one_mode_whatever_the_umask(umask: int) -> None:
    file, program = PLAIN[umask]
    assert counted(file, umask) == 0o666 and counted(program, umask) == 0o777


@pytest.mark.parametrize("umask", PLAIN)
def test_under_one_umask_no_two_modes_are_one(umask: int) -> None:
    assert len({counted(mode, umask) for mode in range(0o10000)}) == 0o10000


def opened(folder: Path, root: int, **folders: int) -> int:
    for name, mode in folders.items():
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    (folder / "file").write_text("")
    (folder / "file").chmod(0o666)
    folder.chmod(root)
    found = os.open(folder, os.O_RDONLY)
    try:
        return umask_of(found)
    finally:
        os.close(found)


@pytest.mark.parametrize(("root", "folders", "umask"), [
    (0o755, {}, 0o022), (0o755, {"a": 0o755}, 0o022), (0o777, {"a": 0o777}, 0), (0o700, {"a": 0o700}, 0o077),
    (0o700, {"a": 0o755, "b": 0o755}, 0o022), (0o700, {"a": 0o755, "b": 0o700}, 0o077), (0o700, {}, 0o077),
    (0o755, {"a": 0o700}, 0o022), (0o2775, {"a": 0o2775}, 0o002)])
def test_folders_tell_the_umask_and_files_do_not(tmp_path: Path, root: int, folders: dict[str, int],
                                                 umask: int) -> None:
    assert opened(tmp_path, root, **folders) == umask
