"""HTTP as registries need it: retried, redirected with care, streamed, never a body without a limit.

    Transport.send ──▶ pool of the host (urllib3) ──▶ Response
        again after a connection error, 408, 429, 5xx: exponential back-off with jitter, Retry-After obeyed
        redirects: Authorization stays with the host that it was meant for; from https to http only where allowed;
        never from elsewhere to this machine

Messages are causes ("no connection to HOST: …"); what was being done is put before them by client.py.

urllib3 is imported when the first request is made: a build from the cache never needs it.
"""

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from ..config import Settings, is_loopback
from ..errors import RegistryError
from ..events import Emit, Notice, quiet
from .connections import Watch, harden, is_private, refused
from .tls import context_for

if TYPE_CHECKING:
    import urllib3

CHUNK = 1 << 18  # bytes
RETRIES = 5
REFUSED_RETRIES = 2  # nobody listens: seldom worth a long wait
WAIT_LIMIT = 120.0  # seconds: who asks for more is not waited for
CONNECT_TIMEOUT = 15.0  # seconds, or the settings' timeout where that is shorter
_PATIENCE = 6  # times the timeout: how long one answer, or one chunk of it, may trickle
_LENGTH_DIGITS = 18
_REDIRECTS = 10
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECT = frozenset({301, 302, 303, 307, 308})

Body = bytes | Callable[[], BinaryIO]


class Unreachable(RegistryError):
    """No connection, or it broke before an answer came."""


class TlsFailure(RegistryError):
    """The other side speaks no TLS, or its certificate is not believed."""


class BrokenTransfer(RegistryError):
    """The answer ended too early. What came is right as far as it goes."""


class Response:
    """One answer whose body is still on its way. Close it, or read it to its end."""

    def __init__(self, raw: "urllib3.BaseHTTPResponse", url: str, release: Callable[[], None], watch: Watch) -> None:
        self._raw = raw
        self._watch = watch
        self._release = release
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = url

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def challenges(self) -> list[str]:
        """Each WWW-Authenticate header by itself."""
        return list(self._raw.headers.getlist("WWW-Authenticate"))

    def length(self) -> int | None:
        """Content-Length, None where it is not said."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _LENGTH_DIGITS else None

    def chunks(self) -> Iterator[bytes]:
        """The body. Errors: BrokenTransfer."""
        from urllib3.exceptions import HTTPError

        try:
            while chunk := self._next():
                yield chunk
        except (HTTPError, OSError, ValueError) as error:
            raise BrokenTransfer(f"the answer of {self.host} broke off: {cause_of(error)}") from error
        finally:
            self.close()

    def _next(self) -> bytes:
        with self._watch.over(self._raw.shutdown):
            return self._raw.read(CHUNK, decode_content=False)

    def read(self, limit: int) -> bytes:
        """The whole body. Errors: RegistryError when it is longer than `limit` bytes, BrokenTransfer."""
        if (self.length() or 0) > limit:
            self.close()
            raise RegistryError(f"the answer of {self.host} is longer than {limit} bytes")
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                self.close()
                raise RegistryError(f"the answer of {self.host} is longer than {limit} bytes")
        return bytes(data)

    def discard(self) -> None:
        """Reads a short body away, so that the connection can be used again."""
        try:
            self.read(64 << 10)
        except RegistryError:
            self.close()

    def abort(self) -> None:
        """From another thread: whoever reads the body fails soon after."""
        _shut_down(self._raw)

    def close(self) -> None:
        self._raw.close()
        self._raw.release_conn()
        self._release()


class Transport:
    """Connections to registries, kept and shared by threads. `pause` sleeps (seconds)."""

    def __init__(self, settings: Settings, emit: Emit = quiet, *,
                 pause: Callable[[float], object] = time.sleep) -> None:
        self._settings = settings
        self._emit = emit
        self._pause = pause
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str, str], urllib3.PoolManager] = {}
        self._watch = Watch(_PATIENCE * settings.timeout)
        self._active: set[urllib3.BaseHTTPResponse] = set()
        self._cancelled = False
        self._refused = REFUSED_RETRIES if settings.access.retries is None else settings.access.retries

    def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: Body | None = None,
             name: str = "", retries: int | None = None, follow: bool = True, sender: str = "") -> Response:
        """The answer, whatever its status, once retries (None: `self.retries`) are used up. `body` as a callable
        gives a fresh reader for each attempt; its Content-Length must be in `headers`. name: what the host of `url`
        is called in the settings, if not the same (registry-1.docker.io is docker.io). sender: the host that told us
        this URL, if not its own.

        Errors: Unreachable, TlsFailure, RegistryError (a redirect that must not be followed), MemoryError.
        """
        given, origin = dict(headers or {}), _origin(url)
        for _ in range(_REDIRECTS):
            called = name if _origin(url)[1] == origin[1] else ""
            outside = self._outside(sender or origin[1], url)
            response = self._retried(method, url, given, body, called, outside,
                                     self.retries if retries is None else retries)
            location = response.headers.get("Location", "")
            may = follow and (method in ("GET", "HEAD") or response.status in (307, 308))
            if response.status not in _REDIRECT or not location or not may:
                return response
            response.discard()
            target = urljoin(url, location)
            self._check_redirect(url, target)
            if _origin(target) != _origin(url):
                given.pop("Authorization", None)
            url = target
        raise RegistryError(f"{origin[1]} redirects without end")

    @property
    def retries(self) -> int:
        """How often a failed request is made again."""
        asked = self._settings.access.retries
        return RETRIES if asked is None else asked

    def delay(self, attempt: int) -> float:
        """Seconds before repetition number `attempt`."""
        asked = self._settings.access.retry_delay
        return backoff(attempt) if asked is None else asked

    def cancel(self) -> None:
        """Ends every transfer at once: threads that read or write fail soon after. For good."""
        with self._lock:
            self._cancelled = True
            active = list(self._active)
        for raw in active:
            _shut_down(raw)

    def close(self) -> None:
        """Lets go of idle connections; the transport can still be used."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.clear()

    def notice(self, text: str) -> None:
        self._emit(Notice(text=text))

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def _retried(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, name: str,
                 outside: str, retries: int) -> Response:
        attempt = 0
        while True:
            failure: RegistryError | None = None
            wait: float | None = None
            try:
                response = self._once(method, url, headers, body, name, outside)
            except Unreachable as error:
                failure = error
                again = attempt < (min(retries, self._refused) if "refused" in error.message else retries)
            else:
                wait = retry_after(response.headers)
                again = response.status in _AGAIN and attempt < retries and (wait or 0) <= WAIT_LIMIT
                if not again:
                    return response
                response.discard()
            if not again or self._cancelled:
                raise failure or RegistryError("it was interrupted")
            attempt += 1
            delay = self.delay(attempt) if wait is None else wait
            if delay >= 2:
                why = failure.message if failure else f"{urlsplit(url).netloc} answered {response.status}"
                self.notice(f"{why}; trying again in {delay:.0f} s")
            self._pause(delay)

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, name: str,
              outside: str) -> Response:
        from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

        host = urlsplit(url).netloc
        sent = {"Accept-Encoding": "identity", "User-Agent": "iechor"} | dict(headers)
        if self._cancelled:
            raise RegistryError("it was interrupted")
        try:
            raw = self._pool(url, name, outside).urlopen(
                method, url, headers=sent, body=body() if callable(body) else body, redirect=False, retries=False,
                preload_content=False, decode_content=False)
        except (HTTPError, OSError) as error:
            inner = error.reason if isinstance(error, MaxRetryError) and error.reason else error
            if "malloc failure" in str(inner):  # OpenSSL's
                raise MemoryError(cause_of(inner)) from error
            if isinstance(inner, (SSLError, ssl.SSLError)) or isinstance(inner.__cause__, ssl.SSLError):
                raise _tls_failure(host, inner) from error
            raise Unreachable(
                f"no connection to {host}: {cause_of(inner)}",
                hint="check the name and the network; mirrors and proxies are set in config.toml and by https_proxy",
            ) from error
        with self._lock:
            self._active.add(raw)
        return Response(raw, url, lambda: self._forget(raw), self._watch)

    def _forget(self, raw: "urllib3.BaseHTTPResponse") -> None:
        with self._lock:
            self._active.discard(raw)

    def _check_redirect(self, source: str, target: str) -> None:
        scheme, host = _origin(target)
        if scheme not in ("http", "https") or not host:
            raise RegistryError(f"{urlsplit(source).netloc} redirects to {target[:200]}")
        if scheme == "http" and urlsplit(source).scheme == "https" and not self._settings.registry(host).insecure:
            raise RegistryError(f"{urlsplit(source).netloc} redirects from https to http ({host})",
                                hint=f'set insecure = true in [registries."{host}"] of config.toml if you trust it')

    def _outside(self, sender: str, url: str) -> str:
        """The host `sender` if it is elsewhere and sends us away from itself, else "". Errors: RegistryError."""
        host = urlsplit(url).netloc
        if _origin(url)[1] == sender or is_loopback(sender) or host in self._settings.registries:
            return ""
        if is_loopback(host) or is_private(urlsplit(url).hostname):
            raise refused(sender, host)
        return sender

    def _pool(self, url: str, name: str, outside: str) -> "urllib3.PoolManager":
        """The pool of the host, with its own idea of whom to believe."""
        name, scheme = name or urlsplit(url).netloc, urlsplit(url).scheme
        with self._lock:
            pool = self._pools.get((name, scheme, outside))
            if pool is None:
                pool = self._pools[name, scheme, outside] = self._new_pool(url, name, outside)
            return pool

    def _new_pool(self, url: str, name: str, outside: str) -> "urllib3.PoolManager":
        import urllib3

        insecure = bool(self._settings.registry(name).insecure)
        options: dict[str, Any] = {
            "ssl_context": context_for(self._settings, name, insecure=insecure), "maxsize": 16, "blocksize": CHUNK,
            "timeout": urllib3.Timeout(connect=min(CONNECT_TIMEOUT, self._settings.timeout),
                                       read=self._settings.timeout),
        }
        if insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            options |= {"assert_hostname": False, "cert_reqs": ssl.CERT_NONE}
        proxy = proxy_for(self._settings.proxies, url)
        pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        harden(pool, self._watch, outside="" if proxy else outside)  # a proxy may well be on this machine
        return pool


def _shut_down(raw: "urllib3.BaseHTTPResponse") -> None:
    try:
        raw.shutdown()
    except (OSError, ValueError, AttributeError, RuntimeError):
        raw.close()


def proxy_for(proxies: Mapping[str, str], url: str) -> str | None:
    """The proxy for this URL by the rules of https_proxy and no_proxy; loopback is never proxied."""
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    parts = urlsplit(url)
    if is_loopback(parts.netloc) or proxy_bypass_environment(parts.netloc, {"no": proxies.get("no", "")}):
        return None
    found = proxies.get(parts.scheme) or proxies.get("all")
    return None if not found else found if "://" in found else f"http://{found}"


def backoff(attempt: int) -> float:
    """Seconds before attempt number `attempt` (1 is the first repetition): 0.3 doubled up to 10, jittered by half."""
    return float(min(10.0, 0.3 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds by RFC 9110 section 10.2.3; a date counts from the answer's own Date."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(headers["Date"])).total_seconds())
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def cause_of(error: BaseException) -> str:
    """The innermost cause in few words: "Connection refused"."""
    seen = error
    for _ in range(8):
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = seen.__cause__ or (seen.__context__ if not isinstance(seen, OSError) else None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, ssl.SSLError):
        return str(getattr(seen, "verify_message", "") or seen.reason or seen)
    if isinstance(seen, TimeoutError) or "timed out" in str(seen):
        return "it does not answer (timed out)"
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen).rpartition(": ")[2] or type(seen).__name__


def _tls_failure(host: str, error: BaseException) -> TlsFailure:
    cause = cause_of(error)
    if "VERSION_NUMBER" in cause or "RECORD_LAYER" in cause.replace(" ", "_").upper():
        return TlsFailure(f"{host} does not speak TLS",
                          hint=f'if it is a plain HTTP registry you trust, set insecure = true in '
                               f'[registries."{host}"] of config.toml')
    return TlsFailure(f"no safe connection to {host}: {cause}",
                      hint=f'name its CA as ca_file in [registries."{host}"] of config.toml, or put it into '
                           f"~/.config/containers/certs.d/{host}/ca.crt")


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return parts.scheme, parts.netloc.removesuffix(default) if default else parts.netloc
