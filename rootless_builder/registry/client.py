"""The distribution API (OCI distribution spec): manifests and blobs, in and out, over mirrors and the origin.

    pull    GET /v2/NAME/manifests/REFERENCE     mirrors in order, then the origin
            GET /v2/NAME/blobs/DIGEST            Range: from where an earlier attempt ended
    push    HEAD blob ─▶ POST ?mount=&from= ─▶ POST, PUT ?digest=      (413: POST, PATCH…, PUT)
            PUT manifest
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import BinaryIO, Self, cast
from urllib.parse import quote, urlencode, urljoin, urlsplit, urlunsplit

from ..config import Settings
from ..errors import AuthError, IechorError, ImageNotFound, RegistryError, UnsafeArchive
from ..events import Emit, Notice, quiet
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest, InvalidDigest
from ..oci.manifest import INDEX_TYPES, MANIFEST_LIMIT, MANIFEST_TYPES
from ..oci.reference import Reference
from ..values import dataclass
from .auth import Credential, Credentials, host_name
from .http import CHUNK, WAIT_LIMIT, Response, Transport, Unreachable, retry_after
from .session import Endpoint, Session, endpoints, failed, origin

_ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES, "application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1"))
_UPLOAD_CHUNK = 32 << 20  # bytes of one PATCH
_FAILURES = (RegistryError, AuthError, ImageNotFound, UnsafeArchive)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest or index, byte for byte; `sources` have its blobs, the one that answered first."""

    data: bytes
    descriptor: Descriptor
    sources: tuple[Session, ...]


Pread = Callable[[int, int], bytes]  # (size, offset): at most so many bytes of a blob, none at its end


class UploadReader:
    """A stretch of a blob, read by place so that threads and repetitions do not disturb each other. size: None where
    only its end tells."""

    def __init__(self, pread: Pread, offset: int, size: int | None, progress: Callable[[int], object]) -> None:
        self._pread = pread
        self._position = offset
        self._end = None if size is None else offset + size
        self._progress = progress

    def read(self, length: int = -1) -> bytes:
        """Errors: RegistryError."""
        left = CHUNK if self._end is None else self._end - self._position
        data = self._pread(left if length < 0 else min(length, left), self._position)
        if not data and left and self._end is not None:
            raise RegistryError("the blob is shorter than it was")
        self._position += len(data)
        self._progress(self._position)
        return data


class RegistryClient:
    """Threads may share it. `pause` sleeps (seconds)."""

    def __init__(self, settings: Settings, credentials: Credentials, emit: Emit = quiet, *,
                 pause: Callable[[float], object] = time.sleep) -> None:
        self._settings = settings
        self._credentials = credentials
        self._emit = emit
        self._pause = pause
        self._transport = Transport(settings, emit, pause=pause)
        self._sessions: dict[Endpoint, Session] = {}

    @classmethod
    def of(cls, settings: Settings, emit: Emit = quiet) -> "RegistryClient":
        """With the credentials that the settings know of. A context manager: connections are closed at its end."""
        credentials = Credentials(settings.auth_file, settings.foreign_auth_files, emit,
                                  given=settings.access.credential, hosts=settings.access.hosts)
        return cls(settings, credentials, emit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._transport.close()

    def manifest(self, reference: Reference, *, sources: tuple[Session, ...] = ()) -> Fetched:
        """What `reference` names: by digest if it has one, else by tag. sources: whom to ask, if not the usual.

        Errors: ImageNotFound, AuthError, RegistryError of the origin, with what the mirrors said as notes.
        """
        reference = reference.with_default_tag()
        asked = sources or tuple(self._session(endpoint) for endpoint in endpoints(self._settings, reference.domain))
        with doing(f"pull {reference.familiar()}"):
            for number, session, attempt in _in_turn(asked, self._transport):
                with attempt:
                    data, descriptor = self._get_manifest(session, reference)
                    if session.endpoint.mirror and not sources:
                        self._emit(Notice(text=f"{reference.familiar()} comes from the mirror {session.endpoint.name}"))
                    others = asked[:number] + asked[number + 1:]
                    return Fetched(data, descriptor, (session, *others))
        raise AssertionError("no endpoint")

    def blob(self, fetched: Fetched, path: str, digest: Digest, offset: int = 0) -> Response:
        """A blob from byte `offset` on. A registry that knows no ranges answers 200 instead of 206, from 0 on.

        Errors: RegistryError, AuthError.
        """
        for _, session, attempt in _in_turn(fetched.sources, self._transport):
            with attempt:
                repository = session.repository(path)
                headers = {"Range": f"bytes={offset}-"} if offset else {}
                response = session.call("GET", f"{quote(repository)}/blobs/{digest}", headers=headers,
                                        scopes=(f"repository:{repository}:pull",))
                if response.status not in (200, 206):
                    raise failed(response, session.endpoint.name)
                return response
        raise AssertionError("no endpoint")

    def has_blob(self, reference: Reference, digest: Digest) -> bool:
        """Whether a push may leave the blob out. A redirect says that it is there, and is not followed: it may be
        good for GET alone.
        """
        response = self._origin(reference).call("HEAD", f"{quote(reference.path)}/blobs/{digest}", follow=False,
                                                scopes=_push_scopes(reference))
        response.discard()
        if response.status not in (200, 307, 302, 404):
            raise failed(response, reference.domain)
        return response.status != 404

    def mount(self, reference: Reference, digest: Digest, source: str) -> bool:
        """Whether the registry took the blob over from its repository `source`. Never an error: it is a try."""
        query = urlencode({"mount": str(digest), "from": source})
        scopes = (*_push_scopes(reference), f"repository:{source}:pull")
        try:
            response = self._origin(reference).call("POST", f"{quote(reference.path)}/blobs/uploads/?{query}",
                                                    headers={"Content-Length": "0"}, scopes=scopes)
        except (RegistryError, AuthError):
            return False
        response.discard()
        return response.status == 201

    def upload(self, reference: Reference, blob: Descriptor, pread: Pread,
               progress: Callable[[int], object] = lambda done: None) -> None:
        """Sends the `blob.size` bytes that `pread` gives, in one request, or in pieces where one is too large.

        Errors: RegistryError, AuthError.
        """
        pieces = False
        for attempt in range(self.retries + 1):
            wait = self.delay(attempt + 1)
            try:
                send = self._send_pieces if pieces else self._send_whole
                response = send(self._origin(reference), reference, blob, pread, progress)
            except Unreachable:
                if attempt == self.retries:
                    raise
            else:
                if response.status == 201:
                    response.discard()
                    return
                again = response.status in (401, 404, 416, 429) or response.status >= 500
                if response.status == 413 and not pieces:
                    pieces = again = True
                if attempt == self.retries or not again:
                    raise failed(response, reference.domain)
                response.discard()
                wait = min(retry_after(response.headers) or wait, WAIT_LIMIT)
            self._pause(wait)

    def upload_unknown(self, reference: Reference, pread: Pread, digest: Callable[[], Digest]) -> None:
        """Sends a blob whose size and digest only its end tells, in one stretch. No second attempt: `upload` is for
        that. Errors: RegistryError, AuthError, and those of `pread`.
        """
        session, scopes = self._origin(reference), _push_scopes(reference)
        location = self._start(session, reference)
        try:
            response = session.call("PATCH", location, headers={"Content-Type": "application/octet-stream"}, retries=0,
                                    body=lambda: _reader(pread, 0, None, bool), scopes=scopes)
        except Exception:
            with contextlib.suppress(RegistryError, AuthError):  # what came is of no use to anybody
                session.call("DELETE", location, retries=0, scopes=scopes).discard()
            raise
        if response.status == 202:
            response.discard()
            response = session.call("PUT", _with_digest(_location(session, response), digest()), retries=0,
                                    headers={"Content-Length": "0"}, scopes=scopes)
        if response.status != 201:
            raise failed(response, reference.domain)
        response.discard()

    def put_manifest(self, reference: Reference, data: bytes, descriptor: Descriptor) -> None:
        """Errors: RegistryError, AuthError."""
        name = reference.tag or str(descriptor.digest)
        response = self._origin(reference).call(
            "PUT", f"{quote(reference.path)}/manifests/{name}", body=data, scopes=_push_scopes(reference),
            headers={"Content-Type": descriptor.media_type, "Content-Length": str(len(data))})
        if response.status not in (200, 201):
            raise failed(response, reference.domain)
        response.discard()
        stored = response.headers.get("Docker-Content-Digest", str(descriptor.digest))
        if stored != str(descriptor.digest):
            raise RegistryError(f"{reference.domain} stored the manifest under another digest ({stored[:80]})")

    def login(self, host: str, username: str, password: str) -> str:
        """Proves the password to the registry, then keeps it (or the identity token it is worth); says where.
        host: as in names, or as docker login takes it ("https://index.docker.io/v1/").

        Errors: AuthError when it is wrong, UsageError, RegistryError, ConfigFileError.
        """
        host = host_name(host)
        with doing(f"log in to {host}"):
            session = Session(origin(self._settings, host), self._transport, self._credentials)
            proven = session.login(Credential(username=username, password=password))
            return self._credentials.store(host, proven)

    def logout(self, host: str) -> bool:
        """Forgets what login kept; whether there was anything. Says so if docker or podman still know the host."""
        host = host_name(host)
        known = self._credentials.erase(host)
        left = self._credentials.get(host)
        if left is not None:
            self._emit(Notice(text=f"credentials for {host} remain in {left.source}, which iechor does not change"))
        return known

    def cancel(self) -> None:
        """Ends all transfers, from another thread."""
        self._transport.cancel()

    @property
    def retries(self) -> int:
        return self._transport.retries

    def delay(self, attempt: int) -> float:
        """Seconds before repetition number `attempt`."""
        return self._transport.delay(attempt)

    def pause(self, seconds: float) -> None:
        self._pause(seconds)

    @property
    def cancelled(self) -> bool:
        return self._transport.cancelled

    def _session(self, endpoint: Endpoint) -> Session:
        return self._sessions.setdefault(endpoint, Session(endpoint, self._transport, self._credentials))

    def _origin(self, reference: Reference) -> Session:
        return self._session(origin(self._settings, reference.domain))

    def _get_manifest(self, session: Session, reference: Reference) -> tuple[bytes, Descriptor]:
        name = session.endpoint.name
        repository = session.repository(reference.path)
        try:
            response = session.call("GET", f"{quote(repository)}/manifests/{reference.digest or reference.tag}",
                                    headers={"Accept": _ACCEPT}, scopes=(f"repository:{repository}:pull",))
            if response.status == 404:
                response.discard()
                raise ImageNotFound(f"{name} has no such image", hint="check the name and the tag")
            if response.status != 200:
                raise failed(response, name)
        except AuthError as error:  # many registries tell nobody but the owner what there is
            raise AuthError(f"{error.message}, or the image does not exist", hint=error.hint) from error
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        data = response.read(MANIFEST_LIMIT)
        wanted = reference.digest or _digest(response.headers.get("Docker-Content-Digest", ""))
        digest = Digest.of(data, wanted.algorithm if wanted else "sha256")
        if wanted is not None and digest != wanted:
            raise UnsafeArchive(f"{name} sent a manifest that does not have the digest {wanted}")
        return data, Descriptor(media_type=media_type or MANIFEST_TYPES[0], digest=digest, size=len(data))

    def _send_whole(self, session: Session, reference: Reference, blob: Descriptor, pread: Pread,
                    progress: Callable[[int], object]) -> Response:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        return session.call("PUT", _with_digest(self._start(session, reference), blob.digest), retries=0,
                            headers=headers, scopes=_push_scopes(reference),
                            body=lambda: _reader(pread, 0, blob.size, progress))

    def _send_pieces(self, session: Session, reference: Reference, blob: Descriptor, pread: Pread,
                     progress: Callable[[int], object]) -> Response:
        location = self._start(session, reference)
        for offset in range(0, blob.size, _UPLOAD_CHUNK):
            size = min(_UPLOAD_CHUNK, blob.size - offset)
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size),
                       "Content-Range": f"{offset}-{offset + size - 1}"}
            response = session.call(
                "PATCH", location, headers=headers, retries=0, scopes=_push_scopes(reference),
                body=lambda offset=offset, size=size: _reader(pread, offset, size, progress))
            if response.status != 202:
                return response
            response.discard()
            location = _location(session, response)
        return session.call("PUT", _with_digest(location, blob.digest), headers={"Content-Length": "0"}, retries=0,
                            scopes=_push_scopes(reference))

    def _start(self, session: Session, reference: Reference) -> str:
        response = session.call("POST", f"{quote(reference.path)}/blobs/uploads/", headers={"Content-Length": "0"},
                                scopes=_push_scopes(reference))
        if response.status != 202:
            raise failed(response, reference.domain)
        response.discard()
        return _location(session, response)


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Causes inside become "cannot `what`: cause"."""
    try:
        yield
    except _FAILURES as error:
        if error.message.startswith(f"cannot {what}"):
            raise
        raise type(error)(f"cannot {what}: {error.message}", hint=error.hint, notes=error.notes) from error


def _in_turn(sessions: tuple[Session, ...], transport: Transport) -> (
        "Iterator[tuple[int, Session, contextlib.AbstractContextManager[None]]]"):
    """Each session with a context that takes its failure; the last failure is raised, the others its notes."""
    failures: list[tuple[Session, IechorError]] = []

    @contextlib.contextmanager
    def attempt(session: Session) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            if transport.cancelled:
                raise
            failures.append((session, error))

    for number, session in enumerate(sessions):
        yield number, session, attempt(session)
    main = next((failure for failure in failures if not failure[0].endpoint.mirror), failures[-1])
    notes = [f"mirror {session.endpoint.name}: {error.message}" for session, error in failures
             if session.endpoint.mirror and error is not main[1]]
    main[1].notes = (*main[1].notes, *notes)
    raise main[1]


def _push_scopes(reference: Reference) -> tuple[str, ...]:
    return (f"repository:{reference.path}:pull,push",)


def _reader(pread: Pread, offset: int, size: int | None, progress: Callable[[int], object]) -> BinaryIO:
    return cast(BinaryIO, UploadReader(pread, offset, size, progress))


def _location(session: Session, response: Response) -> str:
    """Where the upload goes on. A registry behind a TLS proxy may call itself http: the scheme stays ours."""
    found = urljoin(response.url, response.headers.get("Location", ""))
    ours, parts = urlsplit(session.base()), urlsplit(found)
    if parts.scheme not in ("http", "https"):
        raise RegistryError(f"{session.endpoint.name} wants the upload at {found[:200]!r}")
    if parts.hostname == ours.hostname and parts.scheme == "http" and ours.scheme == "https":
        parts = parts._replace(scheme=ours.scheme, netloc=ours.netloc)
    return urlunsplit(parts)


def _with_digest(location: str, digest: Digest) -> str:
    return f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': str(digest)})}"


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except InvalidDigest:
        return None
