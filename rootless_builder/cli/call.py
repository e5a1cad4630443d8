"""One call of iechor: what was typed, where and when, and the things every command opens in the same way."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NamespaceError, UsageError
from ..values import dataclass

if TYPE_CHECKING:
    from ..config import Settings
    from ..containers.folders import Containers
    from ..events import Emit
    from ..sandbox.idmap import IdMode
    from ..scratch.scratch import Scratch
    from ..store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """options: as parsed; nothing below cli/ sees them. argv: the words after "iechor"."""

    options: argparse.Namespace
    environ: Mapping[str, str]
    argv: tuple[str, ...]

    def places(self) -> tuple[Path, ...]:
        """Folders in which a file named in an error may be, for its excerpt."""
        context = getattr(self.options, "context", None)
        return (Path(), Path(context)) if context and context != "-" else (Path(),)

    def settings(self) -> "Settings":
        """Configuration files, then the environment, then the options. Errors: ConfigFileError."""
        from .. import config

        environ = dict(self.environ)
        if self.options.config:
            chosen = Path(self.options.config).absolute()
            if not chosen.is_file():
                raise UsageError(f"cannot read {chosen}: no such file", hint="name an existing file with --config")
            environ["IECHOR_CONFIG"] = str(chosen)
        for option, name in (("store", "IECHOR_HOME"), ("shared_store", "IECHOR_SHARED_STORE"),
                             ("scratch", "IECHOR_SCRATCH"), ("userns", "IECHOR_USERNS")):
            value = getattr(self.options, option, None)
            if value:
                environ[name] = os.path.abspath(value) if option != "userns" else value
        return config.load(config.config_paths(environ), environ)

    def store(self, settings: "Settings") -> "Store":
        """Errors: StoreError."""
        from ..store.store import Store

        shared = settings.shared_store
        if shared is None or (self.options.store and not self.options.shared_store):
            return Store.open(settings.store, tars=settings.scratch / "tars")
        return Store.open_shared(shared, own=settings.store, tars=settings.scratch / "tars")

    def containers(self, settings: "Settings") -> "Containers":
        from ..containers.folders import Containers

        return Containers(settings.scratch / "containers")

    def tmp(self) -> Path:
        """For archives while they are read: on a disk, since /tmp may be memory."""
        return Path(self.environ.get("TMPDIR") or "/var/tmp")

    @staticmethod
    def sweep(settings: "Settings", scratch: "Callable[[], Scratch]") -> None:
        """What killed commands left in the scratch folder goes, though this one had no use for it: opening it sweeps.
        A look at the names comes first, since a build that is wholly cached pays for every import."""
        unfinished = (f"{mode}/{kind}" for mode in _names(settings.scratch) for kind in ("run", "gone", "tmp"))
        if any(_names(settings.scratch / folder) for folder in unfinished):
            scratch()

    def scratch(self, settings: "Settings") -> "Callable[[], Scratch]":
        """How to open the scratch space. In subuid mode the command ends here and begins anew, as root of a user
        namespace that newuidmap filled; where that is forbidden, only those who really open it are told.

        Errors, of what is returned: NamespaceError, StoreError.
        """
        from ..sandbox.idmap import IdMode

        mode = self.mode(settings)
        refusal: NamespaceError | None = None
        if mode is IdMode.SUBUID:
            try:
                self._become_mapped(settings)
            except NamespaceError as error:
                refusal = error

        def opened() -> "Scratch":
            from ..scratch.scratch import Scratch

            if refusal is not None:
                raise refusal
            return Scratch.open(settings.scratch, mode=mode)

        return opened

    def mode(self, settings: "Settings") -> "IdMode":
        """Who keeps owners: what was asked for; else real root itself, and the fakeroot supervisor for everyone else.

        Errors: NamespaceError.
        """
        from ..sandbox.idmap import IdMode, has_many_ids

        if settings.userns == "auto":
            return IdMode.HOST if os.geteuid() == 0 and has_many_ids() else IdMode.FAKEROOT
        if settings.userns == "host" and os.geteuid() != 0:
            raise NamespaceError("cannot use --userns=host: you are not root",
                                 hint="leave --userns out, or run iechor as root")
        return IdMode(settings.userns)

    def become(self, settings: "Settings") -> "IdMode":
        """The id mode of this command, which in subuid mode begins anew here. Errors: NamespaceError."""
        from ..sandbox.idmap import IdMode

        mode = self.mode(settings)
        if mode is IdMode.SUBUID:
            self._become_mapped(settings)
        return mode

    def _become_mapped(self, settings: "Settings") -> None:
        """Returns at once when this is the second life. Errors: NamespaceError."""
        import pwd

        from ..sandbox.idmap import subuid_map
        from ..sandbox.launcher import already_mapped, reexec_mapped

        if already_mapped(self.environ):
            return
        uid, gid = os.getuid(), os.getgid()
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)
        ids, helpers = subuid_map(user, uid, gid)
        # Over there uid is 0: places that depend on who we are have to be told.
        places = {"IECHOR_HOME": str(settings.store.absolute()), "IECHOR_SCRATCH": str(settings.scratch.absolute()),
                  "IECHOR_USERNS": "subuid"}
        if settings.shared_store is not None:
            places["IECHOR_SHARED_STORE"] = str(settings.shared_store.absolute())
        reexec_mapped(ids, helpers, [sys.executable, *sys.orig_argv[1:]], {**self.environ, **places})

    @property
    def is_quiet(self) -> bool:
        """Whether no progress is shown."""
        return getattr(self.options, "quiet", False) or getattr(self.options, "progress", "") in ("quiet", "none")

    def showing(self) -> AbstractContextManager["Emit"]:
        """The renderer that --progress, --quiet and the terminal ask for; it writes to standard error,
        or with --logfile to a file. Errors: UsageError."""
        from .render import logging, showing

        progress = "quiet" if self.is_quiet else getattr(self.options, "progress", "auto")
        logfile = getattr(self.options, "logfile", None)
        return logging(logfile, progress, self.environ) if logfile else showing(progress, sys.stderr, self.environ)


def pair(text: str, option: str) -> tuple[str, str]:
    """"NAME=VALUE" → (NAME, VALUE). Errors: UsageError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f'cannot use {option} "{text}": not of the form NAME=VALUE', hint=f"write {option} NAME=VALUE")
    return name, value


def host(text: str) -> tuple[str, str]:
    """"NAME:IP" or "NAME=IP" of --add-host → (NAME, IP). Errors: UsageError."""
    import ipaddress

    name, colon, address = text.replace("=", ":", 1).partition(":")
    if not name or not colon:
        raise UsageError(f'cannot use --add-host "{text}": not of the form NAME:IP', hint="write --add-host NAME:IP")
    if address == "host-gateway":
        return name, "127.0.0.1"  # a RUN has the host's network: the host is where it is itself
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        raise UsageError(f'cannot use --add-host "{text}": "{address}" is no IP address',
                         hint="write --add-host NAME:IP") from None
    return name, address.strip("[]")


def env_lines(path: str, environ: Mapping[str, str], option: str) -> tuple[str, ...]:
    """A file of NAME=VALUE lines; "#" starts a comment line; a bare NAME takes the caller's value, if any.

    Errors: UsageError.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {option} {path}: {getattr(error, 'strerror', error)}",
                         hint="name a readable text file of NAME=VALUE lines") from None
    kept = [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return environment(kept, environ, option)


def environment(entries: list[str], environ: Mapping[str, str], option: str) -> tuple[str, ...]:
    """`-e` values → "K=V": one without "=" takes the caller's value, and is left out when the caller has none."""
    found = []
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if not name:
            raise UsageError(f'cannot use {option} "{entry}": the name is empty', hint=f"write {option} NAME=VALUE")
        if equals:
            found.append(entry)
        elif name in environ:
            found.append(f"{name}={environ[name]}")
    return tuple(found)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
