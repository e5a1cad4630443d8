"""Remote sources of ADD and remote contexts, as values: which texts are one, and what they ask for.

    https://HOST/PATH                                   a file
    https://HOST/PATH.git[?QUERY][#REF[:SUBDIR]]        a git repository; so are git://…, ssh://…, USER@HOST:PATH
        QUERY: ref= tag= branch= subdir= checksum= (commit=) keep-git-dir= submodules= mtime= fetch-by-commit=

By BuildKit's dfgitutil and gitutil.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import IechorfileError
from ..language.numbers import boolean
from ..values import dataclass, field, replace

_SCP = re.compile(r"(?P<user>[a-zA-Z0-9-_]+)@(?P<host>[a-zA-Z0-9-.]+):(?P<path>[^?#]*)"
                  r"(\?(?P<query>[^#]*))?(#(?P<fragment>.*))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_COMMIT = re.compile(r"[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSource:
    """name: of the file. checksum: "algorithm:hex" or "". The URL is no part of a key: its answer is."""

    url: str = field(compare=False)
    name: str
    checksum: str = ""
    unpack: bool = False

    def checked(self, checksum: str, *, unpack: bool) -> "HttpSource":
        """With what the flags of ADD say. Errors: IechorfileError."""
        if checksum and not _DIGEST.fullmatch(checksum):
            raise IechorfileError(f"invalid checksum digest format: {checksum}",
                                  hint="write --checksum=sha256: and 64 hex digits")
        return replace(self, checksum=checksum, unpack=unpack)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """ref: a commit, tag or branch, "" for the remote's HEAD; checksum: the beginning of the commit it must be;
    subdir: a path inside; mtime: "commit" for files of the commit's time, "" for that of the checkout;
    fetch_by_commit: the ref is not asked for, the checksum is the commit. The remote and ref are no part of a key:
    the commit is.
    """

    remote: str = field(compare=False)
    ref: str = field(default="", compare=False)
    subdir: str = ""
    checksum: str = field(default="", compare=False)
    keep_git_dir: bool | None = None
    submodules: bool = True
    mtime: str = ""
    fetch_by_commit: bool = field(default=False, compare=False)

    def checked(self, checksum: str, keep_git_dir: bool | None) -> "GitSource":
        """With what the flags of ADD say. Errors: IechorfileError where they and the URL differ."""
        if keep_git_dir is not None and self.keep_git_dir not in (None, keep_git_dir):
            raise IechorfileError("inconsistent keep-git-dir configuration", hint="say it once, in the flag or the URL")
        if checksum and self.checksum and checksum != self.checksum:
            raise IechorfileError(f'checksum mismatch "{checksum}" != "{self.checksum}"',
                                  hint="say it once, in the flag or the URL")
        kept = self.keep_git_dir if self.keep_git_dir is not None else bool(keep_git_dir)
        asked = self.checksum or checksum
        if asked and not _COMMIT.fullmatch(asked):
            raise IechorfileError(f"invalid checksum {asked}: a commit is hexadecimal",
                                  hint="give the commit, or its first digits")
        return replace(self, checksum=asked.lower(), keep_git_dir=kept)


def http_source(text: str) -> HttpSource | None:
    """None when `text` is no URL of a file. Errors: IechorfileError."""
    if not text.lower().startswith(("http://", "https://")):
        return None
    try:
        path = urlsplit(text).path
    except ValueError as error:
        raise IechorfileError(f"cannot read the URL {text}: {error}") from None
    base = unquote(path).rstrip("/").rpartition("/")[2]
    return HttpSource(url=text, name=base if base not in ("", ".", "..") else "__unnamed__")


def git_source(text: str) -> GitSource | None:
    """None when `text` is no git repository. Errors: IechorfileError for one whose query makes no sense."""
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in ("http", "https", "git", "ssh"):
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        if scheme in ("http", "https") and not parts.path.endswith(".git"):
            return None
        remote, query, fragment = parts._replace(query="", fragment="").geturl(), parts.query, parts.fragment
    else:
        match = None if scheme else _SCP.fullmatch(text)
        if match is None:
            return None
        remote = f"{match['user']}@{match['host']}:{match['path']}"
        query, fragment = match["query"] or "", match["fragment"] or ""
    ref, _, subdir = unquote(fragment).partition(":")
    return _asked(GitSource(remote=remote, ref=ref, subdir=_clean(subdir)), query)


def _asked(source: GitSource, query: str) -> GitSource:
    """With what its query says."""
    pairs = parse_qsl(query, keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs):
        raise IechorfileError(f"a query of {source.remote} has multiple values", hint="say each of them once")
    for key, value in given.items():
        if not value and key not in ("submodules", "keep-git-dir", "fetch-by-commit"):
            raise IechorfileError(f'query "{key}" has no value')
        source = _QUERY[key](source, value) if key in _QUERY else _unexpected(key)
    return source


def _unexpected(key: str) -> GitSource:
    raise IechorfileError(f'unexpected query "{key}"', hint=f"one of {', '.join(_QUERY)}")


def _ref(source: GitSource, value: str, prefix: str = "") -> GitSource:
    ref = value if value.startswith(prefix) else prefix + value
    if source.ref and source.ref != ref:
        raise IechorfileError(f'ref conflicts: "{source.ref}" vs "{ref}"', hint="name one of them")
    return replace(source, ref=ref)


def _subdir(source: GitSource, value: str) -> GitSource:
    if source.subdir and source.subdir != _clean(value):
        raise IechorfileError(f'subdir conflicts: "{source.subdir}" vs "{value}"', hint="name one of them")
    return replace(source, subdir=_clean(value))


def _mtime(source: GitSource, value: str) -> GitSource:
    if value not in ("checkout", "commit"):
        raise IechorfileError(f'invalid mtime value: "{value}" (must be "checkout" or "commit")')
    return replace(source, mtime=value if value == "commit" else "")


def _switch(key: str, value: str) -> bool:
    try:
        return boolean(value) if value else True
    except ValueError:
        raise IechorfileError(f'invalid {key} value: "{value}"', hint="true or false") from None


def _clean(path: str) -> str:
    """Inside the repository, whatever ".." it has."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


_QUERY: Mapping[str, Callable[[GitSource, str], GitSource]] = MappingProxyType({
    "ref": _ref, "tag": lambda source, value: _ref(source, value, "refs/tags/"),
    "branch": lambda source, value: _ref(source, value, "refs/heads/"), "subdir": _subdir,
    "checksum": lambda source, value: replace(source, checksum=value),
    "commit": lambda source, value: replace(source, checksum=value),
    "keep-git-dir": lambda source, value: replace(source, keep_git_dir=_switch("keep-git-dir", value)),
    "submodules": lambda source, value: replace(source, submodules=_switch("submodules", value)),
    "mtime": _mtime,
    "fetch-by-commit": lambda source, value: replace(source, fetch_by_commit=_switch("fetch-by-commit", value)),
})
