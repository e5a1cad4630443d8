"""Settings: two configuration files and the environment → one frozen value. The only reader of TOML.

    environment                        IECHOR_*, SSL_CERT_FILE, *_proxy, REGISTRY_AUTH_FILE, DOCKER_CONFIG
    $IECHOR_CONFIG, or
    ~/.config/iechor/config.toml       a stronger file's key hides a weaker one's, registry by registry
    /etc/iechor/config.toml

    default_registry = "docker.io"     where short names (`debian:12`) come from
    ca_file = "/etc/ssl/site.pem"      believed beside the system's, for every registry
    store = "/data/iechor"             also IECHOR_HOME; ~/.local/share/iechor/store
    shared_store = "/data/group"       also IECHOR_SHARED_STORE; instead of `store`, shared with a group
    scratch = "/scratch/me"            also IECHOR_SCRATCH; /var/tmp/iechor-<uid>
    userns = "auto"                    auto | fakeroot | subuid | host; also IECHOR_USERNS
    compression = "gzip"               gzip | zstd | none; also IECHOR_COMPRESSION
    compression_level = 2              also IECHOR_COMPRESSION_LEVEL
    jobs = 4                           blobs in transfer side by side; also IECHOR_JOBS
    timeout = 90                       seconds of silence after which a registry is given up; also IECHOR_TIMEOUT
    cdi_spec_dirs = ["/etc/cdi"]       where CDI devices are described; also IECHOR_CDI_SPEC_DIRS="DIR:DIR"

    [registries."docker.io"]
    mirrors = ["mirror.example:5000", "https://cache.example/hub"]    asked in this order, before docker.io
    insecure = false                   true: a certificate is not checked, and plain HTTP is spoken if need be
    ca_file = "ca.pem"                 a relative path starts at the file that says it, "~/" at home; so below
    client_cert = "me.cert"
    client_key = "me.key"

A dash may stand for an underscore in a key. A registry on this machine (localhost, 127.0.0.0/8, ::1) is
insecure unless it is said not to be, as docker has it.
"""

import os
import pwd
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ConfigFileError
from .span import Span
from .values import dataclass, field, replace

SYSTEM_CONFIG = Path("/etc/iechor/config.toml")
CDI_SPEC_DIRS = (Path("/etc/cdi"), Path("/var/run/cdi"))
USERNS_MODES = ("auto", "fakeroot", "subuid", "host")
COMPRESSIONS = ("gzip", "zstd", "none")
_HOST = re.compile(r"(?:[a-zA-Z0-9._-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_MIRROR = re.compile(rf"(?:https?://)?{_HOST.pattern}(?:/[a-z0-9._/-]+)?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """How one registry host (or mirror host) is talked to. mirrors: "[http[s]://]host[:port][/prefix]"."""

    mirrors: tuple[str, ...] = ()
    insecure: bool | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """What one command says about every registry it talks to, stronger than any file.

    credential: name and password, for `hosts` only (None: for whoever asks). cert_dir: CAs and keys, as certs.d/HOST
    has them. tls_verify: None as the settings of the host say. retries: None for the default; retry_delay: seconds
    before each, None for longer and longer ones.
    """

    credential: tuple[str, str] | None = field(default=None, repr=False)
    hosts: frozenset[str] | None = None
    cert_dir: Path | None = None
    tls_verify: bool | None = None
    retries: int | None = None
    retry_delay: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """auth_file is ours, written by login; foreign_auth_files are docker's and podman's, only read."""

    default_registry: str = "docker.io"
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict, hash=False)
    store: Path
    shared_store: Path | None = None
    scratch: Path
    userns: str = "auto"
    compression: str = "gzip"
    compression_level: int | None = None
    jobs: int = 4
    timeout: int = 90
    cdi_spec_dirs: tuple[Path, ...] = CDI_SPEC_DIRS
    ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_cert_dir: Path | None = None
    certs_dirs: tuple[Path, ...] = ()
    auth_file: Path
    foreign_auth_files: tuple[Path, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict, hash=False)  # "http", "https", "all", "no"
    access: RegistryAccess = RegistryAccess()
    sources: tuple[Path, ...] = ()  # the files that were read, the strongest first

    def registry(self, host: str) -> RegistrySettings:
        """For `host`, as written in names ("docker.io", "127.0.0.1:5000"); loopback is insecure if unsaid."""
        chosen = self.registries.get(host) or RegistrySettings()
        if self.access.tls_verify is not None:
            return replace(chosen, insecure=not self.access.tls_verify)
        return chosen if chosen.insecure is not None else replace(chosen, insecure=is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine by its name alone."""
    name = re.sub(r":\d+$", "", host).strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        import ipaddress

        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def config_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where configuration may be, the strongest first."""
    if environ.get("IECHOR_CONFIG"):
        return (Path(environ["IECHOR_CONFIG"]),)
    return (_config_home(environ) / "iechor" / "config.toml", SYSTEM_CONFIG)


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> Settings:
    """The settings of this user. `paths`: the strongest first; those that do not exist are passed over.

    Errors: ConfigFileError, with the file and line where they are known.
    """
    home = _home(environ)
    read = [(path, values) for path in paths if (values := _read(path, home)) is not None]
    merged: dict[str, Any] = {}
    registries: dict[str, RegistrySettings] = {}
    for _, values in reversed(read):
        for host, given in values.pop("registries", {}).items():
            registries[host] = replace(registries.get(host, RegistrySettings()), **given)
        merged.update(values)
    merged.update(_from_environment(environ, registries))
    merged.setdefault("store", home / ".local/share/iechor/store")
    merged.setdefault("scratch", Path(f"/var/tmp/iechor-{os.getuid()}"))
    return Settings(
        **merged,
        registries=registries,
        ssl_cert_file=_path_of(environ, "SSL_CERT_FILE"),
        ssl_cert_dir=_path_of(environ, "SSL_CERT_DIR"),
        certs_dirs=_certs_dirs(environ),
        auth_file=_path_of(environ, "IECHOR_AUTHFILE") or _config_home(environ) / "iechor" / "auth.json",
        foreign_auth_files=_foreign_auth_files(environ),
        proxies=_proxies(environ),
        sources=tuple(path for path, _ in read),
    )


# ---- values ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a value came from: relative paths start at `folder`, "~/" is `home`."""

    folder: Path
    home: Path


class _Unfit(ValueError):
    """Why a value cannot be used, for the message that names its place."""


def _text(value: Any, origin: _Origin) -> str:
    if not isinstance(value, str) or not value:
        raise _Unfit("it must be a string")
    return value


def _file(value: Any, origin: _Origin) -> Path:
    path = _text(value, origin)
    return origin.home / path[2:] if path.startswith("~/") else origin.folder / path


def _folders(value: Any, origin: _Origin) -> tuple[Path, ...]:
    """A list, or as $PATH is written."""
    folders = value.split(":") if isinstance(value, str) else value
    if not isinstance(folders, list):
        raise _Unfit("it must be a list of folders")
    return tuple(_file(folder, origin) for folder in folders)


def _flag(value: Any, origin: _Origin) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("it must be true or false")
    return value


def _host(value: Any, origin: _Origin) -> str:
    if not _HOST.fullmatch(_text(value, origin)):
        raise _Unfit(f"{value!r} is not a registry host (host or host:port, no scheme, no path)")
    return "docker.io" if value == "index.docker.io" else str(value)


def _mirrors(value: Any, origin: _Origin) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and _MIRROR.fullmatch(item) for item in value):
        raise _Unfit('it must be a list of "host[:port][/prefix]"')
    return tuple(item.rstrip("/") for item in value)


def _whole(low: int, high: int) -> Callable[[Any, _Origin], int]:
    def check(value: Any, origin: _Origin) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _Unfit(f"it must be a whole number from {low} to {high}")
        return value
    return check


def _one_of(*choices: str) -> Callable[[Any, _Origin], str]:
    def check(value: Any, origin: _Origin) -> str:
        if value not in choices:
            raise _Unfit(f"it must be one of {', '.join(choices)}")
        return str(value)
    return check


Check = Callable[[Any, _Origin], Any]
_KEYS: Mapping[str, Check] = {
    "default_registry": _host, "ca_file": _file, "store": _file, "shared_store": _file, "scratch": _file,
    "userns": _one_of(*USERNS_MODES), "compression": _one_of(*COMPRESSIONS), "compression_level": _whole(1, 19),
    "jobs": _whole(1, 64), "timeout": _whole(1, 3600), "cdi_spec_dirs": _folders,
}
_REGISTRY_KEYS: Mapping[str, Check] = {
    "mirrors": _mirrors, "insecure": _flag, "ca_file": _file, "client_cert": _file, "client_key": _file,
}


# ---- files -----------------------------------------------------------------------------------------------------

def _read(path: Path, home: Path) -> dict[str, Any] | None:
    """The checked values of one file; None when there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"cannot read {path}: {error}") from error
    import tomllib

    try:
        source = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        cause = re.sub(r" \(at .*\)$", "", str(error))
        raise ConfigFileError(f"cannot read {path}: {cause}", span=Span(str(path), line, line)) from error
    tables = source.pop("registries", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _wrong(path, text, "registries", 'it must be written as [registries."HOST"]')
    origin = _Origin(path.parent, home)
    values = dict(_checked(source, _KEYS, path, text, origin))
    values["registries"] = {
        _registry_host(host, path, text, origin): dict(_checked(table, _REGISTRY_KEYS, path, text, origin, host))
        for host, table in tables.items()
    }
    return values


def _checked(source: Mapping[str, Any], checks: Mapping[str, Check], path: Path, text: str, origin: _Origin,
             table: str = "") -> Iterator[tuple[str, Any]]:
    names = list(checks) if table else [*checks, "registries"]
    for written, value in source.items():
        key = written.replace("-", "_")
        if key not in checks:
            from difflib import get_close_matches

            near = get_close_matches(key, names, 1, 0.6)
            where = f' in registries."{table}"' if table else ""
            raise ConfigFileError(f"cannot use {path}: there is no setting {written!r}{where}",
                                  hint=f"did you mean {near[0]}?" if near else f"the settings are {', '.join(names)}",
                                  span=_find(path, text, written, table))
        try:
            yield key, checks[key](value, origin)
        except _Unfit as error:
            raise _wrong(path, text, written, str(error), table) from error


def _registry_host(host: str, path: Path, text: str, origin: _Origin) -> str:
    try:
        return _host(host, origin)
    except _Unfit as error:
        raise _wrong(path, text, host, str(error)) from error


def _wrong(path: Path, text: str, key: str, cause: str, table: str = "") -> ConfigFileError:
    return ConfigFileError(f"cannot use {key!r} in {path}: {cause}", span=_find(path, text, key, table))


def _find(path: Path, text: str, key: str, table: str = "") -> Span | None:
    """Where `key` stands, as well as a search can tell: after the header of its table, if it has one."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[") and table in line), 0)
    for number, line in enumerate(lines[start:] if table else lines, start + 1 if table else 1):
        if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", line.partition("#")[0]):
            return Span(str(path), number, number)
    return None


# ---- environment -----------------------------------------------------------------------------------------------

_ENVIRONMENT: Mapping[str, str] = {
    "IECHOR_DEFAULT_REGISTRY": "default_registry", "IECHOR_CA_FILE": "ca_file", "IECHOR_HOME": "store",
    "IECHOR_SHARED_STORE": "shared_store",
    "IECHOR_SCRATCH": "scratch", "IECHOR_USERNS": "userns", "IECHOR_COMPRESSION": "compression",
    "IECHOR_COMPRESSION_LEVEL": "compression_level", "IECHOR_JOBS": "jobs", "IECHOR_TIMEOUT": "timeout",
    "IECHOR_CDI_SPEC_DIRS": "cdi_spec_dirs",
}
_NUMBERS = frozenset({"compression_level", "jobs", "timeout"})


def _from_environment(environ: Mapping[str, str], registries: dict[str, RegistrySettings]) -> dict[str, Any]:
    """The values the environment gives; mirrors and insecure hosts go into `registries`.

    IECHOR_MIRRORS="docker.io=HOST,HOST2 quay.io=HOST3"; IECHOR_INSECURE_REGISTRIES="HOST,HOST2".
    """
    values = {}
    for variable, key in _ENVIRONMENT.items():
        given: str | int = environ.get(variable, "")
        if given:
            values[key] = _environment_value(variable, _KEYS[key], given, key in _NUMBERS)
    for pair in environ.get("IECHOR_MIRRORS", "").split():
        host, _, names = pair.partition("=")
        host = _environment_value("IECHOR_MIRRORS", _host, host)
        mirrors = _environment_value("IECHOR_MIRRORS", _mirrors, names.split(","))
        registries[host] = replace(registries.get(host, RegistrySettings()), mirrors=mirrors)
    for name in filter(None, re.split(r"[,\s]+", environ.get("IECHOR_INSECURE_REGISTRIES", ""))):
        host = _environment_value("IECHOR_INSECURE_REGISTRIES", _host, name)
        registries[host] = replace(registries.get(host, RegistrySettings()), insecure=True)
    return values


def _environment_value(variable: str, check: Check, given: Any, is_number: bool = False) -> Any:
    try:
        value = int(given) if is_number and re.fullmatch(r"\d{1,9}", given) else given
        return check(value, _Origin(Path(), Path("~")))
    except _Unfit as error:
        raise ConfigFileError(f"cannot use {given!r} in ${variable}: {error}",
                              hint=f"mend or unset {variable}") from error


def _home(environ: Mapping[str, str]) -> Path:
    given = environ.get("HOME", "")
    if given.startswith("/"):
        return Path(given)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/")


def _config_home(environ: Mapping[str, str]) -> Path:
    given = environ.get("XDG_CONFIG_HOME", "")
    return Path(given) if given.startswith("/") else _home(environ) / ".config"


def _path_of(environ: Mapping[str, str], variable: str) -> Path | None:
    return Path(environ[variable]) if environ.get(variable) else None


def _certs_dirs(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Folders of folders named after hosts: containers-certs.d(5), and docker's (rootless, then the system's)."""
    config = _config_home(environ)
    return (config / "iechor/certs.d", config / "containers/certs.d", config / "docker/certs.d",
            Path("/etc/iechor/certs.d"), Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


def _foreign_auth_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """containers-auth.json(5), then docker's own."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    found = [_path_of(environ, "REGISTRY_AUTH_FILE"), Path(runtime) / "containers/auth.json" if runtime else None,
             _config_home(environ) / "containers/auth.json"]
    docker = _path_of(environ, "DOCKER_CONFIG") or _home(environ) / ".docker"
    return (*(path for path in found if path), docker / "config.json")


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Lower case wins over upper, as in curl; HTTP_PROXY in capitals is not read (CVE-2016-5385)."""
    names = {"http": ("http_proxy",), "https": ("https_proxy", "HTTPS_PROXY"), "all": ("all_proxy", "ALL_PROXY"),
             "no": ("no_proxy", "NO_PROXY")}
    found = {kind: next((environ[name] for name in choices if environ.get(name)), "")
             for kind, choices in names.items()}
    return {kind: value for kind, value in found.items() if value}
