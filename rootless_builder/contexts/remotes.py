"""What ADD and a build context name by URL, fetched once for each build.

    HttpSource ──▶ GET, with the ETag of the last time ──▶ digest of its bytes, Last-Modified ──▶ one file, 0600
    GitSource  ──▶ ls-remote ──▶ commit                    the commit is checked out when its files are asked for

Asking for a digest fetches no more than that needs: a file that has its --checksum is not asked for at all.
"""

import base64
import hashlib
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from ..config import Settings
from ..errors import RegistryError, SourceError
from ..events import Emit
from ..oci.digest import Digest
from ..paths import ImagePath, image_path
from ..plan.cachekey import digest_of
from ..plan.remotes import GitSource, HttpSource
from ..sources.directory import DirectorySource
from ..sources.git import Commit, Git, is_commit, shown
from ..sources.pruned import Ignore
from ..store.atomic import write_all
from ..store.buildcache import StepRecord
from ..store.store import Store
from ..tree.node import Directory, File, Meta
from ..tree.tree import IMPLIED, SymlinkLoop, Tree
from ..urls import apart
from ..values import dataclass
from .fetchauth import FetchAuth

NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class TempFile:
    """A file without a name, open until the build ends. Content of a tree's File."""

    fd: int

    def open(self) -> tuple[int, int]:
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC), 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """digest: "sha256:…" of the body; modified: the Last-Modified header; file: None when it was not sent again."""

    digest: str
    etag: str = ""
    modified: str = ""
    file: File | None = None


class Remotes:
    """A context manager; one for each build, for several threads. environ: the user's, for git. auth: what opens
    servers."""

    def __init__(self, settings: Settings, store: Store, *, tmp: Path, environ: Mapping[str, str],
                 emit: Emit, auth: FetchAuth | None = None) -> None:
        self._settings = settings
        self._store = store
        self._tmp = tmp
        self._auth = auth or FetchAuth()
        self._git = Git(environ=environ, authorization=self._auth.git)
        self._emit = emit
        self._stack = ExitStack()
        self._answers: dict[str, _Answer] = {}
        self._commits: dict[tuple[str, str], Commit] = {}
        self._checkouts: dict[tuple[object, ...], Path] = {}
        self._folders: dict[Path, DirectorySource] = {}
        self._locks: dict[str, threading.RLock] = {}  # for each URL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def digest(self, source: "GitSource | HttpSource") -> str:
        """Of what is there now. Errors: SourceError."""
        if isinstance(source, GitSource):
            with self._alone(source.remote):
                return self._commit(source).commit
        if source.checksum:
            return source.checksum
        with self._alone(source.url):
            answer = self._ask(source, again=False)
        return f"{answer.digest} {answer.modified}"

    def tree(self, source: "GitSource | HttpSource") -> tuple[Tree, ImagePath]:
        """A tree, and where in it the source is. Errors: SourceError."""
        if isinstance(source, GitSource):
            with self._alone(source.remote):
                place = self._checked_out(source)
                if place not in self._folders:
                    self._folders[place] = self._stack.enter_context(DirectorySource(place))
                tree = self._folders[place].tree()
            _inside(tree, source)
            return tree, image_path(source.subdir)
        with self._alone(source.url):
            answer = self._ask(source, again=True)
        assert answer.file is not None
        return Tree(Directory(IMPLIED, {source.name: answer.file})), image_path(source.name)

    def folder(self, source: GitSource, ignore: Ignore | None = None) -> DirectorySource:
        """The folder of a repository that is a build context. Errors: SourceError."""
        tree, _ = self.tree(source)
        below = _inside(tree, source)  # no symlink is left in it: a repository cannot lead out of its checkout
        return DirectorySource(self._checked_out(source) / below, ignore)

    def _alone(self, place: str) -> threading.RLock:
        return self._locks.setdefault(place, threading.RLock())

    def _commit(self, source: GitSource) -> Commit:
        key = (source.remote, source.ref)
        if source.fetch_by_commit and is_commit(source.checksum):
            return Commit(commit=source.checksum, ref=source.checksum)
        if key not in self._commits:
            self._store.layout.seen.elsewhere()
            self._commits[key] = self._git.resolve(source.remote, source.ref)
        found = self._commits[key]
        if source.checksum and not any(one.startswith(source.checksum) for one in (found.commit, found.tag) if one):
            raise SourceError(f"expected checksum to match {source.checksum}, got {found.commit}",
                              hint=f"{shown(source.remote)} has another commit there: look at it before you trust it")
        return found

    def _checked_out(self, source: GitSource) -> Path:
        """Of each commit once, however many sources are parts of it."""
        commit = self._commit(source)
        keep = bool(source.keep_git_dir)
        key = (source.remote, commit.commit, keep, source.submodules, source.mtime)
        if key not in self._checkouts:
            import shutil
            import tempfile

            place = Path(tempfile.mkdtemp(prefix="iechor-git-", dir=self._tmp))
            self._stack.callback(shutil.rmtree, place, ignore_errors=True)
            self._git.check_out(source.remote, commit, place / "tree", keep=keep, submodules=source.submodules,
                                dated=source.mtime == "commit")
            self._checkouts[key] = place / "tree"
        return self._checkouts[key]

    def _ask(self, source: HttpSource, *, again: bool) -> _Answer:
        """again: the body is needed, whether we have seen it before or not."""
        known = self._answers.get(source.url)
        if known is None or (again and known.file is None):
            record = None if again else self._store.cache.get(_url_key(source.url))
            try:
                known = self._get(source, record)
            except RegistryError as error:
                raise SourceError(f"cannot fetch {apart(source.url)[0]}: {error.message}", hint=error.hint) from error
            self._answers[source.url] = known
        if known.file is not None and source.checksum:
            self._verify(source, known)
        return known

    def _get(self, source: HttpSource, record: StepRecord | None) -> _Answer:
        from ..registry.http import Transport  # urllib3 and TLS: only for those who fetch

        self._store.layout.seen.elsewhere()
        headers, url = _authorized(source.url)
        secret = self._auth.http(url)
        if secret is not None:
            headers["Authorization"] = secret  # the transport takes it away where a redirect leads elsewhere
        if record is not None and record.facts.get("etag"):
            headers["If-None-Match"] = record.facts["etag"]
        transport = Transport(self._settings, self._emit)
        self._stack.callback(transport.close)
        response = transport.send("GET", url, headers=headers)
        if response.status == NOT_MODIFIED and record is not None:
            response.discard()
            return _Answer(digest=record.facts["digest"], etag=record.facts["etag"],
                           modified=record.facts.get("modified", ""))
        if response.status != 200:
            response.close()
            raise RegistryError(f"the server answers {response.status}", hint=_remedy(response.status, url))
        import tempfile

        fd, name = tempfile.mkstemp(prefix="iechor-url-", dir=self._tmp)
        self._stack.callback(os.close, fd)
        os.unlink(name)
        digest, size = hashlib.sha256(), 0
        for chunk in response.chunks():
            digest.update(chunk)
            write_all(fd, chunk)
            size += len(chunk)
        modified = response.headers.get("Last-Modified", "")
        answer = _Answer(digest=f"sha256:{digest.hexdigest()}", etag=response.headers.get("ETag", ""),
                         modified=modified, file=File(Meta(0o600, mtime=_time(modified)), TempFile(fd), size))
        facts = {"etag": answer.etag, "digest": answer.digest, "modified": modified}
        self._store.cache.put(_url_key(source.url), StepRecord(created_by="GET", facts=facts))
        return answer

    def _verify(self, source: HttpSource, answer: _Answer) -> None:
        wanted = Digest.parse(source.checksum)
        found = answer.digest
        if wanted.algorithm != "sha256":
            assert answer.file is not None
            with open(answer.file.content.open()[0], "rb") as stream:
                found = f"{wanted.algorithm}:{hashlib.file_digest(stream, wanted.algorithm).hexdigest()}"
        if found != source.checksum:
            raise SourceError(f"digest mismatch of {apart(source.url)[0]}: {found}, and expected {source.checksum}",
                              hint="the file is not what --checksum was made for: look at it before you trust it")


def _inside(tree: Tree, source: GitSource) -> ImagePath:
    """The path of the source's folder, symlinks followed. Errors: SourceError."""
    try:
        found = tree.resolve(image_path(source.subdir))
    except SymlinkLoop:
        raise SourceError(f"cannot read {source.subdir} of {shown(source.remote)}: its symlinks have no end") from None
    if not isinstance(tree.lookup(found), Directory):
        raise SourceError(f"cannot copy from {shown(source.remote)}: it has no folder {source.subdir}",
                          hint="a folder of the repository comes after the colon: #REF:FOLDER")
    return found


def _url_key(url: str) -> str:
    """Without the password: no key lets one be guessed, and whoever gives another is asked for it by the server."""
    return digest_of({"url": apart(url)[0]})


def _authorized(url: str) -> tuple[dict[str, str], str]:
    """USER:PASSWORD of the URL as a header, and the URL without it."""
    plain, user, password = apart(url)
    headers: dict[str, str] = {}
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()
    return headers, urlsplit(plain)._replace(fragment="").geturl()


def _remedy(status: int, url: str) -> str:
    if status not in (401, 403):
        return "is the URL right?"
    return f"it wants to know who asks: --secret id=HTTP_AUTH_TOKEN_{urlsplit(url).hostname},env=NAME gives a token"


def _time(modified: str) -> int:
    """Nanoseconds since the epoch; 0 where the server does not say."""
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(modified).timestamp()) * 10**9
    except (ValueError, TypeError, OverflowError):
        return 0
