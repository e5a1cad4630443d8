"""Challenges (RFC 9110 section 11.6.1) and bearer tokens, by the distribution project's token and oauth2 specs.

    401  WWW-Authenticate: Bearer realm="https://auth…/token",service="…",scope="repository:a/b:pull"
      ├── identity token known    POST realm  grant_type=refresh_token     (404, 405: this server knows GET alone)
      └── else                    GET realm?service=…&scope=…              with basic auth, or anonymous
    {"token" or "access_token": …, "expires_in": seconds}
"""

import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..config import is_loopback
from ..errors import AuthError, RegistryError
from ..values import dataclass, field
from .auth import Credential
from .http import Response, Transport

ANSWER_LIMIT = 1 << 20  # bytes
_AGES = 1e12  # seconds: nobody means that
_CLIENT = "iechor"
_LIFETIME = 60  # seconds, where the server does not say (token spec)
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART = re.compile(rf'\s*,?\s*({_TOKEN})(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}[^\s,]*)))?')


@dataclass(frozen=True, slots=True)
class Challenge:
    """scheme in lower case: "bearer", "basic"; parameters with lower-case names."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """Every challenge of the WWW-Authenticate headers, in order."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        position = 0
        while match := _PART.match(header, position):
            position = match.end()
            name, quoted, plain = match[1].lower(), match[2], match[3]
            if quoted is None and plain is None:
                found.append((name, {}))
            elif found:
                found[-1][1][name] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def choose(challenges: Sequence[Challenge]) -> Challenge | None:
    """The strongest that we can meet: bearer, then basic."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or challenge.parameters.get("realm")):
                return challenge
    return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token server gave. refresh: only when it was asked for one."""

    token: str
    expires: float
    refresh: str = ""


class Tokens:
    """Bearer tokens of one registry, kept for each set of scopes until shortly before they end."""

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], Grant] = {}

    def get(self, challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None, *,
            trusted: bool) -> str:
        """A token for `scopes`. trusted: the challenge came over verified TLS, so the password must not leave it.

        Errors: AuthError (refused), RegistryError.
        """
        with self._lock:
            kept = self._kept.get(scopes)
            if kept is None or time.monotonic() >= kept.expires:
                kept = self._kept[scopes] = self.ask(challenge, scopes, credential, trusted=trusted)
            return kept.token

    def forget(self, scopes: tuple[str, ...]) -> None:
        """The registry did not take it."""
        with self._lock:
            self._kept.pop(scopes, None)

    def ask(self, challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None, *, trusted: bool,
            offline: bool = False) -> Grant:
        """A new token from the server. offline: ask for a refresh token too (`login`). Errors: RegistryError."""
        realm = challenge.parameters["realm"]
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.netloc or (
                parts.scheme == "http" and trusted and not is_loopback(parts.netloc)):
            raise RegistryError(f"{self._name} sends us to {realm[:200]!r} for a token, which is not safe")
        service = challenge.parameters.get("service", "")
        if credential is not None and credential.identity_token:
            response = self._post(realm, service, scopes, credential)
            if response.status not in (404, 405) or not credential.username:
                return self._grant(response, credential)
            response.discard()
        fields = [("service", service)] if service else []
        fields += [("scope", scope) for scope in scopes]
        headers = {}
        if credential is not None:
            headers["Authorization"] = credential.basic()
            fields.append(("account", credential.username))
        if offline:
            fields += [("offline_token", "true"), ("client_id", _CLIENT)]
        url = f"{realm}{'&' if parts.query else '?'}{urlencode(fields)}"
        response = self._transport.send("GET", url, headers=headers, name=self._called(realm), sender=self._name)
        return self._grant(response, credential)

    def _post(self, realm: str, service: str, scopes: tuple[str, ...], credential: Credential) -> Response:
        form = {"grant_type": "refresh_token", "service": service, "client_id": _CLIENT, "scope": " ".join(scopes),
                "refresh_token": credential.identity_token}
        return self._transport.send("POST", realm, headers={"Content-Type": "application/x-www-form-urlencoded"},
                                    body=urlencode(form).encode(), name=self._called(realm), sender=self._name,
                                    follow=False)  # a redirect would take the token with it

    def _grant(self, response: Response, credential: Credential | None) -> Grant:
        if response.status in (400, 401, 403):
            response.discard()
            raise refused(self._name, credential)
        if response.status != 200:
            response.discard()
            raise RegistryError(f"{response.host}, the token server of {self._name}, answered {response.status}")
        try:
            answer: Any = json.loads(response.read(ANSWER_LIMIT))
        except (ValueError, RecursionError):
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        token, refresh = answer.get("token") or answer.get("access_token"), answer.get("refresh_token") or ""
        lifetime = answer.get("expires_in") or _LIFETIME
        if not (isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token) and isinstance(refresh, str)
                and isinstance(lifetime, int | float) and abs(lifetime) < _AGES):
            raise RegistryError(f"{response.host}, the token server of {self._name}, does not answer with a token")
        return Grant(token, time.monotonic() + max(5.0, min(float(lifetime), 3600.0) * 0.9 - 5), refresh)

    def _called(self, realm: str) -> str:
        """A token server on the registry's own host shares its settings (CA, insecure)."""
        host, own = urlsplit(realm).hostname, urlsplit(f"//{self._name}").hostname
        return self._name if host == own else ""


def refused(name: str, credential: Credential | None) -> AuthError:
    """Of the registry called `name`: its answer to our credentials, or to our having none."""
    if credential is None:
        return AuthError(f"{name} wants a login", hint=f"run `iechor login {name}`")
    who = credential.username if credential.password and credential.username else "the token we have"
    cause = f"the password of {who}" if credential.password and credential.username else who
    place = f" (from {credential.source})" if credential.source else ""
    return AuthError(f"{name} refuses {cause}{place}", hint=f"run `iechor login {name}` again")
