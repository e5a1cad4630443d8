"""What a container is started with: the image's config and what the command line says, by the rules of docker.

    --entrypoint  COMMAND    argv
    not given     not given  image's ENTRYPOINT + CMD
    not given     given      image's ENTRYPOINT + COMMAND
    given         any        --entrypoint + COMMAND; the image's CMD is dropped
"""

import json
from collections.abc import Iterable

from ..errors import UsageError
from ..oci.config import RunConfig
from ..values import dataclass

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """env: "K=V", each name once. user: as USER has it, "" is root. cwd: absolute, inside the container."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str


def merge(config: RunConfig, *, entrypoint: str | None = None, command: tuple[str, ...] = (),
          env: tuple[str, ...] = (), workdir: str | None = None, user: str | None = None,
          hostname: str, tty: bool = False) -> Process:
    """Errors: UsageError when there is nothing to run, or a value cannot be used."""
    argv = _argv(config, entrypoint, command)
    if not argv or not argv[0]:
        raise UsageError("cannot run the image: it has no command, and none was given",
                         hint="name a command after the image")
    cwd = workdir or config.working_dir or "/"
    if not cwd.startswith("/"):
        raise UsageError(f'cannot use the working folder "{cwd}": not an absolute path',
                         hint=f"write -w /{cwd}")
    ours = (f"PATH={DEFAULT_PATH}", *(("TERM=xterm",) if tty else ()), f"HOSTNAME={hostname}", "container=iechor")
    return Process(argv=argv, env=join_env(ours, config.env, env), cwd=cwd,
                   user=config.user if user is None else user)


def _argv(config: RunConfig, entrypoint: str | None, command: tuple[str, ...]) -> tuple[str, ...]:
    if entrypoint is None:
        return (config.entrypoint or ()) + (command or config.cmd or ())
    return _words(entrypoint) + command


def _words(entrypoint: str) -> tuple[str, ...]:
    """A JSON list of words, or one word; "" takes the image's entrypoint away."""
    if entrypoint.startswith("["):
        try:
            words = json.loads(entrypoint)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
    return (entrypoint,) if entrypoint else ()


def join_env(*layers: Iterable[str]) -> tuple[str, ...]:
    """Later layers win; a name keeps the place where it came first. Errors: UsageError for an empty name or a NUL."""
    found: dict[str, str] = {}
    for entry in (entry for layer in layers for entry in layer):
        name = entry.partition("=")[0]
        if not name or "\0" in entry:
            raise UsageError(f'cannot set the environment variable "{entry}": not of the form NAME=VALUE',
                             hint="write -e NAME=VALUE")
        found[name] = entry
    return tuple(found.values())
