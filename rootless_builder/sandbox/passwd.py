"""Who "USER x" is, by the image's own /etc/passwd and /etc/group, as runc and BuildKit resolve it. No host file."""

import os
import stat
from collections.abc import Iterator

from ..values import dataclass
from .failures import UserNotFound

LARGEST_ID = (1 << 31) - 1
LARGEST_FILE = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """groups: the supplementary ones, the group itself among them, as other runtimes have it. home: for HOME where
    the environment lacks it.
    """

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(text: str, passwd: str, group: str) -> Identity:
    """`text`: "", user, user:group; a user or group is a name or a number, a number needs no entry.

    No group named: the entry's, or 0 without an entry, and the groups that list the user. UserNotFound otherwise.
    """
    user, _, named_group = text.partition(":")
    entry = _find_user(passwd, user or "0")
    number = _number(user or "0")
    if entry is None and number is None:
        raise UserNotFound(f"cannot run as {text}: no user {user} in the image's /etc/passwd",
                           hint=f"add it with `RUN useradd {user}` first, or use a numeric id")
    uid = _id(entry[2] if entry else user or "0")
    gid = _id(entry[3] if entry else "0")
    if uid is None or gid is None:
        raise UserNotFound(f"cannot run as {text}: the id is not between 0 and {LARGEST_ID}")
    home = entry[5] if entry else ""
    if named_group:
        own = _group_id(text, named_group, group)
        return Identity(uid=uid, gid=own, groups=(own,), home=home or "/")
    name = entry[0] if entry else None
    groups = (found for fields in _lines(group, 4) if name and name in fields[3].split(",")
              and (found := _id(fields[2])) is not None)
    return Identity(uid=uid, gid=gid, groups=tuple(dict.fromkeys((gid, *groups))), home=home or "/")


def _find_user(passwd: str, user: str) -> list[str] | None:
    number = _number(user)
    for fields in _lines(passwd, 7):
        if fields[0] == user or (number is not None and _id(fields[2]) == number):
            return fields
    return None


def _group_id(text: str, name: str, group: str) -> int:
    number = _number(name)
    for fields in _lines(group, 4):
        found = _id(fields[2])
        if found is not None and (fields[0] == name or found == number):
            return found
    if number is None:
        raise UserNotFound(f"cannot run as {text}: no group {name} in the image's /etc/group",
                           hint=f"add it with `RUN groupadd {name}` first, or use a numeric id")
    if number > LARGEST_ID:
        raise UserNotFound(f"cannot run as {text}: the id is not between 0 and {LARGEST_ID}")
    return number


def _lines(text: str, fields: int) -> Iterator[list[str]]:
    """passwd(5), group(5): colon-separated; short lines are filled up, comments and NIS lines match nothing."""
    for line in text.splitlines():
        line = line.strip()
        if line and line[0] not in "#+-":
            parts = line.split(":")
            yield parts + [""] * (fields - len(parts))


def _id(text: str) -> int | None:
    """A number of passwd(5), None where the line lies."""
    return int(text) if text.isascii() and text.isdecimal() and int(text) <= LARGEST_ID else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def read_database(path: str) -> str:
    """The text of /etc/passwd inside the root; "" where it is missing or no plain file. Never blocks, never leaves
    the root: the caller has already changed it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return ""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return ""
    with open(fd, "rb") as stream:
        return os.fsdecode(stream.read(LARGEST_FILE))
