"""One stage, instruction by instruction, as a build would see it: the environment, and what is found on the way.

    Scope.of(base) ──take(instruction)──▶ findings; env, ARGs, secrets and ssh keys of the scope grow

A word that cannot be expanded ends the checks of its instruction: the build says what is wrong with it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from ...errors import IechorfileError
from ...span import Span
from ...values import replace
from .. import instructions as i
from ..mounts import RunMount
from . import commands, pairs, paths, ports
from .arguments import ArgFact, GlobalArgs
from .descriptions import description
from .given import BaseFacts, Given
from .rules import Finding
from .variables import Expanded, expanded, of_unmatched

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Scope:
    """What is known at one point of a stage. `open_env`: the base is not known, and may set any variable."""

    def __init__(self, given: Given, args: GlobalArgs, escape: str) -> None:
        self.given = given
        self.globals = args
        self.escape = escape
        self.env: dict[str, str] = {}
        self.open_env = False
        self.own_shell = False
        self.workdir_set = False
        self.declared = frozenset[str]()
        self.triggers: tuple[i.Instruction, ...] = ()
        self.last: dict[type, i.Instruction] = {}
        self.facts: dict[str, ArgFact] = dict(args.facts)
        self.used = set[str]()
        self._found: list[Finding] = []
        self.secrets: dict[str, tuple[bool, Span]] = {}
        self.ssh: dict[str, tuple[bool, Span]] = {}

    @classmethod
    def of(cls, base: "Scope | BaseFacts | None", given: Given, args: GlobalArgs, escape: str) -> Self:
        """On top of an earlier stage, of an image, or of an image that is not known."""
        self = cls(given, args, escape)
        if isinstance(base, Scope):
            self.env, self.open_env, self.own_shell = dict(base.env), base.open_env, base.own_shell
            self.workdir_set, self.declared = base.workdir_set, base.declared
            self.facts, self.used = dict(base.facts), set(base.used)
            self.secrets, self.ssh = dict(base.secrets), dict(base.ssh)
        else:
            self.open_env = base is None
            self.env = {"PATH": _DEFAULT_PATH, **(base.env if base else {})}
            # A base that is not known may have a SHELL: better say nothing than something wrong.
            self.own_shell = base is None or base.own_shell
        return self

    def take(self, this: i.Instruction) -> list[Finding]:
        """The findings of one instruction; what it changes is changed."""
        step: Callable[[Scope, Any], Iterator[Finding]] | None = _STEPS.get(type(this))
        self._found = []
        if step is not None:
            with contextlib.suppress(IechorfileError):
                for finding in step(self, this):
                    self._found.append(finding)
        return self._found

    # -- words -----------------------------------------------------------------------------------------

    def word(self, text: str, this: i.Instruction, *, raw: bool = False) -> str:
        """`text` expanded; variables that are not defined are found here. Raises IechorfileError."""
        used = self.expand(text, raw=raw)
        if not self.open_env:
            self._found += of_unmatched(used, self.env, self.declared, this.span)
        return used.text

    def expand(self, text: str, *, raw: bool = False) -> Expanded:
        return expanded(text, self.env, escape=self.escape, raw=raw)


def _env(scope: Scope, this: i.Env) -> Iterator[Finding]:
    pairs_ = [(scope.word(key, this), scope.word(value, this)) for key, value in this.pairs]
    yield from pairs.of_legacy(this)
    for key, value in pairs_:
        yield from pairs.of_secret("ENV", key, this.span)
        scope.env[key] = value


def _label(scope: Scope, this: i.Label) -> Iterator[Finding]:
    for key, value in this.pairs:
        scope.word(key, this)
        scope.word(value, this)
    yield from pairs.of_legacy(this)


def _arg(scope: Scope, this: i.Arg) -> Iterator[Finding]:
    for name, default in this.args:
        yield from pairs.of_secret("ARG", name, this.span)
        value, own = scope.given.build_args.get(name), True
        if value is None and default is None:
            value = scope.globals.env.get(name)
            own = value is None
        elif value is None and default is not None:
            value = scope.word(default, this)
        if value is not None:
            scope.env[name] = value
        if own:
            scope.facts[name] = ArgFact(name=name, value=value or "", span=this.span,
                                        description=description(this.comments, name))
        scope.used.add(name)
        scope.declared |= {name}


def _run(scope: Scope, this: i.Run) -> Iterator[Finding]:
    mounts = [mount.resolve(lambda text: scope.word(text, this)) for mount in this.mounts]
    for mount in mounts:
        if mount.type == "secret":
            scope.secrets.setdefault(secret_id(mount), (mount.required, this.span))
        elif mount.type == "ssh":
            scope.ssh.setdefault(mount.id or "default", (mount.required, this.span))
    return iter(())


def secret_id(mount: RunMount) -> str:
    """A secret is named by id or source, else by the last part of its target."""
    return mount.source or mount.id or mount.target.rpartition("/")[2]


def _copy(scope: Scope, this: "i.Copy | i.Add") -> Iterator[Finding]:
    flags = [this.chown, this.chmod, *([this.checksum] if isinstance(this, i.Add) else [])]
    for flag in flags:
        scope.word(flag, this)
    sources = [scope.word(source, this) for source in this.sources]
    scope.word(this.dest, this)
    for file in this.files:
        if file.expand:
            scope.word(file.content, this, raw=True)
    if isinstance(this, i.Add) or not this.from_:
        for source in sources:
            if not _is_remote(source):
                yield from paths.of_source(this, source, scope.given.ignore)


def _is_remote(source: str) -> bool:
    return "://" in source or source.startswith("git@")


def _workdir(scope: Scope, this: i.Workdir) -> Iterator[Finding]:
    path = scope.word(this.path, this)
    yield from paths.of_workdir(this, path, set_before=scope.workdir_set)
    scope.workdir_set = True


def _words_of(texts: Callable[[Any], tuple[str, ...]]) -> Callable[[Scope, Any], Iterator[Finding]]:
    def step(scope: Scope, this: i.Instruction) -> Iterator[Finding]:
        for text in texts(this):
            scope.word(text, this)
        return iter(())

    return step


def _expose(scope: Scope, this: i.Expose) -> Iterator[Finding]:
    """Its variables are not checked, as in BuildKit."""
    yield from ports.of_expose(this, [word for port in this.ports for word in scope.expand(port).words])


def _command(scope: Scope, this: "i.Cmd | i.Entrypoint") -> Iterator[Finding]:
    yield from _once(scope, this)
    yield from commands.of_form(this, own_shell=scope.own_shell)


def _once(scope: Scope, this: "i.Cmd | i.Entrypoint | i.HealthCheck") -> Iterator[Finding]:
    yield from commands.of_repetition(this, scope.last.get(type(this)))
    scope.last[type(this)] = this


def _shell(scope: Scope, this: i.Shell) -> Iterator[Finding]:
    scope.own_shell = bool(this.argv)
    return iter(())


def _onbuild(scope: Scope, this: i.OnBuild) -> Iterator[Finding]:
    """What is found in a trigger is found where it fires."""
    if this.instruction is not None:
        scope.triggers += (this.instruction,)
    return iter(())


def fired(triggers: tuple[i.Instruction, ...], span: Span) -> list[i.Instruction]:
    """ONBUILD instructions of a base, at the place of the FROM that fires them."""
    return [replace(one, span=span, comments=()) for one in triggers]


_STEPS: Mapping[type, Callable[[Scope, Any], Iterator[Finding]]] = {
    i.Env: _env, i.Label: _label, i.Arg: _arg, i.Run: _run, i.Copy: _copy, i.Add: _copy, i.Workdir: _workdir,
    i.Expose: _expose, i.Cmd: _command, i.Entrypoint: _command, i.HealthCheck: _once, i.Shell: _shell,
    i.OnBuild: _onbuild, i.User: _words_of(lambda this: (this.user,)),
    i.Volume: _words_of(lambda this: this.paths), i.StopSignal: _words_of(lambda this: (this.signal,)),
}
