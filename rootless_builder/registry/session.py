"""One registry (or mirror) as we talk to it: where it is, which scheme it speaks, how it wants to be asked.

    Endpoint   name "docker.io" ─▶ address "registry-1.docker.io"     (a value)
    Session    first call: GET /v2/ finds scheme and challenge        (shared by threads)
               every call: Authorization for its scopes; one 401 is answered with a new token
"""

import json
import threading
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from ..config import Settings
from ..errors import AuthError, RegistryError
from ..values import dataclass
from .auth import DOCKER_HUB, Credential, Credentials
from .http import Body, Response, TlsFailure, Transport, Unreachable
from .tokens import ANSWER_LIMIT, Challenge, Tokens, choose, parse_challenges, refused

_ADDRESSES: Mapping[str, str] = {DOCKER_HUB: "registry-1.docker.io"}
_MIRROR_RETRIES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """name: as in image names and settings. prefix: comes before every repository ("" or "a/b/")."""

    name: str
    address: str
    schemes: tuple[str, ...]
    prefix: str = ""
    mirror: bool = False


def endpoints(settings: Settings, domain: str) -> tuple[Endpoint, ...]:
    """Whom to ask for images of `domain`, in order: its mirrors, then itself."""
    mirrors = tuple(_mirror(settings, text) for text in settings.registry(domain).mirrors)
    return (*mirrors, origin(settings, domain))


def origin(settings: Settings, domain: str) -> Endpoint:
    return Endpoint(name=domain, address=_ADDRESSES.get(domain, domain), schemes=_schemes(settings, domain))


def _mirror(settings: Settings, text: str) -> Endpoint:
    scheme, _, rest = text.rpartition("://")
    host, _, prefix = rest.partition("/")
    return Endpoint(name=host, address=_ADDRESSES.get(host, host), mirror=True, prefix=prefix and f"{prefix}/",
                    schemes=(scheme,) if scheme else _schemes(settings, host))


def _schemes(settings: Settings, host: str) -> tuple[str, ...]:
    return ("https", "http") if settings.registry(host).insecure else ("https",)


class Session:
    def __init__(self, endpoint: Endpoint, transport: Transport, credentials: Credentials) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._credentials = credentials
        self._tokens = Tokens(endpoint.name, transport)
        self._known: dict[str, Credential | None] = {}
        self._known_lock = threading.Lock()
        self._lock = threading.Lock()
        self._base = ""
        self._challenge: Challenge | None = None

    def repository(self, path: str) -> str:
        """The repository `path` as it is called here."""
        return self.endpoint.prefix + path

    def call(self, method: str, place: str, *, scopes: tuple[str, ...] = (), headers: Mapping[str, str] | None = None,
             body: Body | None = None, retries: int | None = None, follow: bool = True) -> Response:
        """The answer to one request; `place` is a path below /v2/ or a whole URL that the registry gave us.

        Errors: AuthError when it still answers 401 with what we have, RegistryError.
        """
        url = urljoin(self.base() + "/v2/", place)
        if retries is None:
            retries = _MIRROR_RETRIES if self.endpoint.mirror else self._transport.retries
        for attempt in range(2):
            sent = dict(headers or {}) | self._authorization(url, scopes)
            response = self._transport.send(method, url, headers=sent, body=body, retries=retries, follow=follow,
                                            name=self.endpoint.name if self._is_ours(url) else "",
                                            sender=self.endpoint.address)
            if response.status != 401:
                return response
            challenge = choose(parse_challenges(response.challenges()))
            response.discard()
            self._tokens.forget(scopes)
            if attempt or challenge is None:
                break
            self._challenge = challenge
        raise refused(self.endpoint.name, self._credential(scopes))

    def base(self) -> str:
        """scheme://address, once it is known that somebody answers there. Errors: RegistryError."""
        with self._lock:
            if not self._base:
                self._base = self._probe()
            return self._base

    def login(self, credential: Credential) -> Credential:
        """The credential to keep, proven: itself, or an identity token got for it. Errors: AuthError."""
        base = self.base()
        challenge = self._challenge
        if challenge is None:
            return credential
        if challenge.scheme == "bearer":
            grant = self._tokens.ask(challenge, (), credential, trusted=self._trusted(), offline=True)
            if grant.refresh:
                return Credential(username=credential.username, identity_token=grant.refresh)
            headers = {"Authorization": f"Bearer {grant.token}"}
        else:
            headers = {"Authorization": credential.basic()}
        response = self._transport.send("GET", f"{base}/v2/", headers=headers, name=self.endpoint.name)
        response.discard()
        if response.status in (401, 403):
            raise refused(self.endpoint.name, credential)
        return credential

    def _probe(self) -> str:
        """Tries each scheme. That the answer is 401 or 404 does not matter: somebody speaks HTTP there."""
        first: RegistryError | None = None
        for scheme in self.endpoint.schemes:
            base = f"{scheme}://{self.endpoint.address}"
            try:
                response = self._transport.send("GET", f"{base}/v2/", name=self.endpoint.name,
                                                retries=_MIRROR_RETRIES if self.endpoint.mirror else None)
            except (Unreachable, TlsFailure) as error:
                first = first or error
                continue
            self._challenge = choose(parse_challenges(response.challenges())) if response.status == 401 else None
            response.discard()
            if response.status >= 500 or response.status == 429:
                raise failed(response, self.endpoint.name)
            return base
        raise first or RegistryError(f"nobody answers at {self.endpoint.address}")

    def _authorization(self, url: str, scopes: tuple[str, ...]) -> dict[str, str]:
        """Empty for another host: what is meant for this registry goes nowhere else."""
        if not self._is_ours(url) or self._challenge is None:
            return {}
        credential = self._credential(scopes)
        if credential is not None and credential.registry_token:
            return {"Authorization": f"Bearer {credential.registry_token}"}
        if self._challenge.scheme == "bearer":
            wanted = scopes or tuple(self._challenge.parameters.get("scope", "").split())
            token = self._tokens.get(self._challenge, wanted, credential, trusted=self._trusted())
            return {"Authorization": f"Bearer {token}"}
        if credential is None:
            raise refused(self.endpoint.name, None)
        return {"Authorization": credential.basic()}

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self.base())[:2]

    def _credential(self, scopes: tuple[str, ...]) -> Credential | None:
        """Asked for once: a helper may take a second to answer."""
        repository = scopes[0].split(":")[1] if scopes else ""
        with self._known_lock:
            if repository not in self._known:
                self._known[repository] = self._credentials.get(self.endpoint.name, repository)
            return self._known[repository]

    def _trusted(self) -> bool:
        return self._base.startswith("https:") and len(self.endpoint.schemes) == 1


def failed(response: Response, name: str) -> RegistryError | AuthError:
    """The error for an answer that is none of those hoped for. Reads what the registry says about it."""
    said = _said(response)
    status = f"{name} answered {response.status}{f': {said}' if said else ''}"
    if response.status in (401, 403):
        return AuthError(f"{name} does not allow it{f' ({said})' if said else ''}",
                         hint=f"run `iechor login {name}` as somebody who may")
    if response.status == 429:
        return RegistryError(f"{name} is asked too often{f' ({said})' if said else ''}",
                             hint=f'wait, log in, or set mirrors in [registries."{name}"] of config.toml')
    if response.status >= 500:
        return RegistryError(status, hint="the registry has trouble of its own; try again later")
    return RegistryError(status)


def _said(response: Response) -> str:
    """The messages of an error answer (distribution spec, "Error Codes"), one line, at most 300 characters."""
    try:
        answer = json.loads(response.read(ANSWER_LIMIT))
        errors = answer.get("errors") or [answer]
        texts = [str(error.get("message") or error.get("code") or "") for error in errors]
    except (RegistryError, ValueError, RecursionError, AttributeError, TypeError):
        return ""
    return "; ".join(filter(None, (" ".join(text.split()) for text in texts)))[:300]
