"""Credentials: our own file, docker's and podman's, and the helper programs they name.

    {"auths": {"HOST[/PATH]": {"auth": base64("user:password")} | {"identitytoken": …} | {"registrytoken": …}},
     "credHelpers": {"HOST": "NAME"}, "credsStore": "NAME"}         docker-credential-NAME get|store|erase

Looked up in our file first, then containers-auth.json(5)'s places, then docker's config.json; within a file the
longest matching path wins. docker.io is `https://index.docker.io/v1/` in docker's files. Only our file is written
(0600, whole or not at all).
"""

import base64
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigFileError, UsageError
from ..events import Emit, Notice, quiet
from ..values import dataclass, field

DOCKER_HUB = "docker.io"
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # what helpers call the user whose secret is an identity token
_HELPER_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Either username and password, or an identity token (for oauth2), or a token for the registry itself."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    source: str = ""

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode("utf-8", "replace")).decode()


class Credentials:
    """Read anew at each question, so that a login elsewhere counts at once.

    given: name and password that come before any file, for `hosts` alone (None: for every host).
    """

    def __init__(self, own: Path, foreign: Sequence[Path] = (), emit: Emit = quiet, *,
                 given: tuple[str, str] | None = None, hosts: frozenset[str] | None = None) -> None:
        self._given = given
        self._hosts = hosts
        self._own = own
        self._foreign = tuple(foreign)
        self._emit = emit
        self._told: set[Path] = set()

    def get(self, host: str, repository: str = "") -> Credential | None:
        """For `host`, as in names, and the repository on it. Errors: ConfigFileError (damaged file, failed helper)."""
        if self._given is not None and (self._hosts is None or host in self._hosts):
            return Credential(username=self._given[0], password=self._given[1], source="--creds")
        for path in (self._own, *self._foreign):
            found = self._find(self._load(path), host, repository, str(path))
            if found is not None:
                return found
        return None

    def store(self, host: str, credential: Credential) -> str:
        """Keeps it for later commands; says where. Errors: ConfigFileError."""
        source = self._load(self._own)
        helper = _helper_of(source, host)
        if helper:
            secret = credential.identity_token or credential.password
            user = _TOKEN_USER if credential.identity_token else credential.username
            _run_helper(helper, "store", json.dumps({"ServerURL": _server_url(host), "Username": user,
                                                     "Secret": secret}))
            return f"docker-credential-{helper}"
        entry = {"auth": base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()}
        if credential.identity_token:
            entry = {"auth": base64.b64encode(f"{credential.username}:".encode()).decode(),
                     "identitytoken": credential.identity_token}
        entries = {key: value for key, value in _auths(source).items() if _normal(key) != host}
        self._write({**source, "auths": {**entries, host: entry}})
        return str(self._own)

    def erase(self, host: str) -> bool:
        """Forgets what `store` kept; whether there was anything. Errors: UsageError, ConfigFileError."""
        host = host_name(host)
        source = self._load(self._own)
        helper = _helper_of(source, host)
        if helper:
            known = _ask_helper(helper, host, str(self._own)) is not None
            if known:
                _run_helper(helper, "erase", _server_url(host))
            return known
        entries = _auths(source)
        kept = {key: value for key, value in entries.items() if _normal(key) != host}
        if len(kept) == len(entries):
            return False
        self._write({**source, "auths": kept})
        return True

    def _find(self, source: Mapping[str, Any], host: str, repository: str, where: str) -> Credential | None:
        own_helper = _mapping(source, "credHelpers").get(host)
        if isinstance(own_helper, str) and own_helper:
            return _ask_helper(own_helper, host, where)
        entries = {_normal(key): value for key, value in _auths(source).items()}
        for key in _keys(host, repository):
            found = _from_entry(entries.get(key), where)
            if found is not None:
                return found
        store = source.get("credsStore")
        return _ask_helper(store, host, where) if isinstance(store, str) and store else None

    def _load(self, path: Path) -> dict[str, Any]:
        try:
            source = json.loads(path.read_bytes() or b"{}")
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            if path == self._own:
                raise ConfigFileError(f"cannot read the credentials in {path}: {error.strerror}") from error
            if path not in self._told:
                self._told.add(path)
                self._emit(Notice(text=f"the credentials in {path} are not used: {error.strerror}", level="warning"))
            return {}
        except (ValueError, RecursionError) as error:
            raise ConfigFileError(f"cannot read the credentials in {path}: it is not JSON ({error})",
                                  hint="mend or remove this file") from error
        if not isinstance(source, dict):
            raise ConfigFileError(f"cannot read the credentials in {path}: it is not a JSON object",
                                  hint="mend or remove this file")
        return source

    def _write(self, source: Mapping[str, Any]) -> None:
        temporary = self._own.with_name(f".{self._own.name}.{os.getpid()}")
        try:
            self._own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as sink:
                os.fchmod(fd, 0o600)
                json.dump(source, sink, indent=2)
                sink.write("\n")
                sink.flush()
                os.fsync(fd)
            os.rename(temporary, self._own)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise ConfigFileError(f"cannot write the credentials to {self._own}: {error.strerror}",
                                  hint="name another file with IECHOR_AUTHFILE") from error


def _mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = source.get(key)
    return value if isinstance(value, dict) else {}


def _auths(source: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(source, "auths")


def _normal(key: str) -> str:
    """"https://index.docker.io/v1/" → "docker.io", "http://host:5000/v2/" → "host:5000"."""
    name = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = name.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DOCKER_HUB
    return host if path in ("", "v1", "v2") else f"{host}/{path}"


def host_name(text: str) -> str:
    """What a user calls a registry at login → the host as in image names. Errors: UsageError."""
    host = _normal(text.strip()).partition("/")[0]
    if not re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?", host):
        raise UsageError(f"cannot use {text!r} as a registry", hint="write it as HOST or HOST:PORT")
    return host


def _keys(host: str, repository: str) -> Iterator[str]:
    """The longest path first: host/a/b, host/a, host."""
    parts = repository.split("/") if repository else []
    for length in range(len(parts), -1, -1):
        yield "/".join([host, *parts[:length]])


def _from_entry(entry: Any, where: str) -> Credential | None:
    if not isinstance(entry, dict):
        return None
    texts = {key: value for key, value in entry.items() if isinstance(value, str) and value}
    user, password = texts.get("username", ""), texts.get("password", "")
    if "auth" in texts:
        try:
            decoded = base64.b64decode(texts["auth"], validate=True).decode()
        except ValueError as error:
            raise ConfigFileError(f"cannot read the credentials in {where}: an auth is not base64") from error
        user, _, password = decoded.partition(":")
        password = password.rstrip("\0")
    found = Credential(username=user, password=password, identity_token=texts.get("identitytoken", ""),
                       registry_token=texts.get("registrytoken", ""), source=where)
    return found if found.password or found.identity_token or found.registry_token else None


def _helper_of(source: Mapping[str, Any], host: str) -> str:
    helper = _mapping(source, "credHelpers").get(host) or source.get("credsStore")
    return helper if isinstance(helper, str) else ""


def _server_url(host: str) -> str:
    return DOCKER_HUB_KEY if host == DOCKER_HUB else host


def _ask_helper(name: str, host: str, where: str) -> Credential | None:
    """None when the helper says that it knows nothing. Errors: ConfigFileError."""
    answer = _run_helper(name, "get", _server_url(host))
    if answer is None:
        return None
    try:
        source = json.loads(answer)
        user, secret = str(source["Username"]), str(source["Secret"])
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ConfigFileError(f"cannot use docker-credential-{name}: its answer is not what the protocol says",
                              hint=f"{where} names it") from error
    if user == _TOKEN_USER:
        return Credential(username=user, identity_token=secret, source=f"docker-credential-{name}")
    return Credential(username=user, password=secret, source=f"docker-credential-{name}")


def _run_helper(name: str, action: str, given: str) -> str | None:
    """stdout of `docker-credential-NAME ACTION`, stdin `given`; None for "credentials not found"."""
    if "/" in name or not name.isprintable():
        raise ConfigFileError(f"cannot use the credential helper {name!r}: that is no name of one")
    command = f"docker-credential-{name}"
    try:
        done = subprocess.run([command, action], input=given, capture_output=True, text=True, check=False,
                              timeout=_HELPER_SECONDS)
    except FileNotFoundError as error:
        raise ConfigFileError(f"cannot ask {command}: it is not installed",
                              hint="install it, or remove it from the credential file that names it") from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:  # ValueError: a name or an answer that is no text
        raise ConfigFileError(f"cannot ask {command}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stdout + done.stderr).strip()
    if action == "get" and ("not found" in said or "no credentials" in said.lower()):
        return None
    raise ConfigFileError(f"cannot use {command}: {said[:300] or f'it ended with {done.returncode}'}")
