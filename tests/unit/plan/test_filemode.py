"""--chmod: chmod(1)'s symbols as BuildKit's mode library reads them."""

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.plan.filemode import FileMode


@pytest.mark.parametrize(("text", "mode", "folder", "expected"), [
    ("755", 0o600, False, 0o755), ("4755", 0, True, 0o4755), ("0", 0o777, False, 0),
    ("u=rwX,go=rX", 0o600, False, 0o644), ("u=rwX,go=rX", 0o700, False, 0o755), ("u=rwX,go=rX", 0o600, True, 0o755),
    ("go-w", 0o666, False, 0o644), ("+x", 0o644, False, 0o755), ("a-X", 0o755, False, 0o644),
    ("go=", 0o777, False, 0o700), ("=", 0o7777, False, 0o1000), ("u=rwx,go=u-w", 0o600, False, 0o755),
    ("go=u", 0o640, False, 0o666), ("u+s", 0o755, False, 0o4755), ("g+s,o+s", 0o755, False, 0o2755),
    ("+t", 0o755, True, 0o1755), ("o+t", 0o755, True, 0o755), ("u+x+w", 0o400, False, 0o700),
    ("=rw,+X", 0o711, False, 0o777), ("=rw,+X", 0o600, False, 0o666), ("g-u", 0o670, False, 0o610),
])
def test_modes(text: str, mode: int, folder: bool, expected: int) -> None:
    assert FileMode.parse(text).apply(mode, folder=folder) == expected


@pytest.mark.parametrize("text", ["888", "77777", "0o755", "u", "u=rwz", "rwx", "u=r,", "+755", "u+x,g"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(IechorfileError, match="invalid chmod parameter"):
        FileMode.parse(text)
