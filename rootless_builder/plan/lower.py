"""A stage, its base's config and the args → its steps, one for each instruction: the only expander of variables.

Each instruction has its function here; `Lowering` carries what they share. What an ENV or ARG says counts from the
next instruction on: within one instruction every variable has one value. By BuildKit's dockerfile2llb.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ..errors import IechorfileError, UnsupportedError
from ..language import instructions as i
from ..language.words import expand, expand_raw, expand_words
from ..oci.config import Healthcheck, ImageConfig, RunConfig
from ..paths import absolute, image_path
from .ports import exposed_ports
from .signals import is_signal
from .stages import Stage, StageGraph
from .steps import ConfigStep, CopyStep, InlineFile, RunStep, Shown, Step, WorkdirStep

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})
PIPES = "/dev/pipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """What a stage begins with: its base's config, and where the base is a stage of this file its ARGs too.

    args: (name, value or None) in order of declaration; env: ENV and ARG together, as RUN sees them.
    """

    image: ImageConfig
    args: tuple[tuple[str, str | None], ...] = ()
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """build: what --build-arg gave; default_network: of RUN without --network; escape: of the file."""

    build: Mapping[str, str]
    graph: StageGraph
    escape: str = "\\"
    default_network: str = "default"


class Lowering:
    """Steps of one stage. After `steps` is exhausted, `inherited` is what a stage based on this one begins with."""

    def __init__(self, stage: Stage, inherited: Inherited, arguments: Arguments) -> None:
        self.stage = stage
        self.arguments = arguments
        self.image = replace(inherited.image, config=replace(inherited.image.config, onbuild=()))
        self.env = dict(inherited.env) or dict(_pair(entry) for entry in self.image.config.env)
        self.args = list(inherited.args)
        self._cmd_set = False

    def steps(self, triggers: Iterable[i.Instruction] = ()) -> Iterator[Step]:
        """triggers: the base's ONBUILD instructions, which come first. Errors: IechorfileError, UnsupportedError."""
        for instruction in [*triggers, *self.stage.instructions]:
            try:
                yield _LOWER[type(instruction)](self, instruction)
            except (IechorfileError, UnsupportedError) as error:
                raise error.at(instruction.span) from None

    def inherited(self) -> Inherited:
        return Inherited(image=self.image, args=tuple(self.args), env=tuple(self.env.items()))

    def expand(self, text: str) -> str:
        return expand(text, self.env, escape=self.arguments.escape)[0]

    def configure(self, **changes: object) -> None:
        self.image = replace(self.image, config=replace(self.config, **changes))  # type: ignore[arg-type]

    @property
    def config(self) -> RunConfig:
        return self.image.config

    def shown(self, instruction: i.Instruction, created_by: str) -> Shown:
        return Shown(text=" ".join(instruction.text.split()), created_by=created_by, span=instruction.span)

    def config_step(self, instruction: i.Instruction, created_by: str) -> ConfigStep:
        return ConfigStep(shown=self.shown(instruction, created_by), image=self.image)

    def command(self, instruction: "i.Cmd | i.Entrypoint") -> tuple[str, ...]:
        return self.in_shell(" ".join(instruction.argv)) if instruction.shell else instruction.argv

    def in_shell(self, text: str) -> tuple[str, ...]:
        return (*(self.config.shell or DEFAULT_SHELL), text)


def _env(low: Lowering, this: i.Env) -> Step:
    pairs = [(low.expand(key), low.expand(value)) for key, value in this.pairs]
    env = dict(_pair(entry) for entry in low.config.env)
    for key, value in pairs:
        env[key] = value
        low.env[key] = value
    low.configure(env=tuple(f"{key}={value}" for key, value in env.items()))
    return low.config_step(this, "ENV" + "".join(f" {key}={value}" for key, value in pairs))


def _label(low: Lowering, this: i.Label) -> Step:
    pairs = [(low.expand(key), low.expand(value)) for key, value in this.pairs]
    low.configure(labels={**low.config.labels, **dict(pairs)})
    return low.config_step(this, "LABEL" + "".join(f" {key}={value}" for key, value in pairs))


def _arg(low: Lowering, this: i.Arg) -> Step:
    shown = []
    for name, default in this.args:
        value = low.arguments.build.get(name)
        if value is None and default is None:
            value = low.arguments.graph.global_args.get(name)
        elif value is None and default is not None:
            value = low.expand(default)
        if value is not None:
            low.env[name] = value
        low.args.append((name, value))
        shown.append(name if value is None else f"{name}={value}")
    return low.config_step(this, "ARG " + " ".join(shown))


def _user(low: Lowering, this: i.User) -> Step:
    low.configure(user=low.expand(this.user))
    return low.config_step(this, f"USER {low.config.user}")


def _workdir(low: Lowering, this: i.Workdir) -> Step:
    path = absolute(image_path(low.expand(this.path), cwd=image_path(low.config.working_dir)))
    low.configure(working_dir=path)
    created_by = f"WORKDIR {path}"
    if path == "/":
        return low.config_step(this, created_by)
    return WorkdirStep(shown=low.shown(this, created_by), image=low.image, path=path, user=low.config.user)


def _expose(low: Lowering, this: i.Expose) -> Step:
    words = [word for port in this.ports for word in expand_words(port, low.env, escape=low.arguments.escape)]
    try:
        ports = exposed_ports(words)
    except ValueError as error:
        raise IechorfileError(str(error), hint="EXPOSE takes port[-port][/tcp|/udp|/sctp]") from None
    low.configure(exposed_ports=tuple(sorted({*low.config.exposed_ports, *ports})))
    return low.config_step(this, f"EXPOSE [{' '.join(ports)}]")


def _volume(low: Lowering, this: i.Volume) -> Step:
    paths = [low.expand(path) for path in this.paths]
    if "" in paths:
        raise IechorfileError("VOLUME specified can not be an empty string")
    low.configure(volumes=tuple(sorted({*low.config.volumes, *paths})))
    return low.config_step(this, f"VOLUME [{' '.join(paths)}]")


def _cmd(low: Lowering, this: i.Cmd) -> Step:
    low.configure(cmd=low.command(this), args_escaped=True)
    low._cmd_set = True
    return low.config_step(this, f"CMD {_quoted(low.config.cmd)}")


def _entrypoint(low: Lowering, this: i.Entrypoint) -> Step:
    """Resets a CMD that came from the base: it was meant for another program."""
    low.configure(entrypoint=low.command(this), **({} if low._cmd_set else {"cmd": None}))
    return low.config_step(this, f"ENTRYPOINT {_quoted(low.config.entrypoint)}")


def _shell(low: Lowering, this: i.Shell) -> Step:
    low.configure(shell=this.argv)
    return low.config_step(this, f"SHELL [{' '.join(this.argv)}]")


def _stop_signal(low: Lowering, this: i.StopSignal) -> Step:
    name = low.expand(this.signal)
    if not is_signal(name):
        raise IechorfileError(f"Invalid signal: {name}", hint="give a name as SIGTERM, or a number from 1 to 64")
    low.configure(stop_signal=name)
    return low.config_step(this, f"STOPSIGNAL {name}")


def _healthcheck(low: Lowering, this: i.HealthCheck) -> Step:
    low.configure(healthcheck=Healthcheck(
        test=this.test, interval=this.interval, timeout=this.timeout, start_period=this.start_period,
        start_interval=this.start_interval, retries=this.retries))
    return low.config_step(this, f"HEALTHCHECK {' '.join(this.test)}")


def _onbuild(low: Lowering, this: i.OnBuild) -> Step:
    low.configure(onbuild=(*low.config.onbuild, this.trigger))
    return low.config_step(this, f"ONBUILD {this.trigger}")


def _maintainer(low: Lowering, this: i.Maintainer) -> Step:
    low.image = replace(low.image, author=this.name)
    return low.config_step(this, f"MAINTAINER {this.name}")


def _run(low: Lowering, this: i.Run) -> Step:
    _refuse_flags("RUN", {"--mount": bool(this.mounts), "--device": bool(this.devices),
                          "--security=insecure": this.security == "insecure"})
    script = None
    text = this.script or " ".join(this.argv)
    if this.shebang:
        name = this.heredocs[0].name
        script = InlineFile(name=name, data=_bytes(text))
        argv = low.in_shell(f"{PIPES}/{name}") if this.shell else (f"{PIPES}/{name}",)
    else:
        argv = low.in_shell(text) if this.shell or this.heredocs else this.argv
    network = this.network if this.network != "default" else low.arguments.default_network
    return RunStep(
        shown=low.shown(this, f"RUN {_with_args(low, argv)} # iechor"), image=low.image, argv=argv,
        env=tuple(f"{key}={value}" for key, value in low.env.items()), proxies=_proxies(low),
        user=low.config.user, cwd=low.config.working_dir or "/", script=script, network=network)


def _copy(low: Lowering, this: "i.Copy | i.Add") -> Step:
    word = "COPY" if isinstance(this, i.Copy) else "ADD"
    _refuse_copy_flags(this, word)
    sources = tuple(low.expand(source) for source in this.sources)
    dest = low.expand(this.dest)
    owner, chmod = low.expand(this.chown), low.expand(this.chmod)
    origin = None
    if isinstance(this, i.Copy) and this.from_:
        origin = low.arguments.graph.origin(this.from_, low.stage, this)
    if isinstance(this, i.Add):
        _refuse_remote(sources)
    told = [word, *([f"--chown={owner}"] if owner else []), *([f"--chmod={chmod}"] if chmod else []), *sources,
            *(f"<<{file.name}" for file in this.files), dest]
    return CopyStep(
        shown=low.shown(this, f"{' '.join(told)} # iechor"), image=low.image, sources=sources,
        inline=tuple(_inline(low, file) for file in this.files), dest=_destination(dest, low.config.working_dir),
        origin=origin, owner=owner, mode=_mode(chmod), unpack=isinstance(this, i.Add))


def _inline(low: Lowering, file: i.InlineFile) -> InlineFile:
    content = expand_raw(file.content, low.env) if file.expand else file.content
    return InlineFile(name=file.name, data=_bytes(content))


def _destination(dest: str, cwd: str) -> str:
    """Absolute and clean, with a "/" at its end when it names a folder by its form."""
    path = absolute(image_path(dest, cwd=image_path(cwd)))
    folder = dest in ("", ".") or dest.endswith(("/", "/."))
    return path + "/" if folder and path != "/" else path


def _mode(chmod: str) -> int | None:
    if not chmod:
        return None
    if not all(char in "01234567" for char in chmod):
        if any(char in chmod for char in "ugoarwxXst"):
            raise UnsupportedError(f"--chmod={chmod}: symbolic modes are not carried out by this release",
                                   hint="give the mode in octal: --chmod=755")
        chmod = "77777"
    if int(chmod, 8) > 0o7777:
        raise IechorfileError("invalid chmod parameter: it should be octal string and between 0 and 07777")
    return int(chmod, 8)


def _refuse_flags(word: str, given: Mapping[str, bool]) -> None:
    for flag, present in given.items():
        if present:
            raise UnsupportedError(f"{word} {flag} is understood, and not carried out by this release",
                                   hint=f"build without {flag}")


def _refuse_copy_flags(this: "i.Copy | i.Add", word: str) -> None:
    given = {"--link": this.link, "--exclude": bool(this.excludes)}
    if isinstance(this, i.Copy):
        given["--parents"] = this.parents
    else:
        given |= {"--checksum": bool(this.checksum), "--keep-git-dir": this.keep_git_dir is not None,
                  "--unpack": this.unpack is not None}
    _refuse_flags(word, given)


def _refuse_remote(sources: Iterable[str]) -> None:
    for source in sources:
        if source.startswith(("http://", "https://", "git@", "git://", "ssh://")):
            raise UnsupportedError(f"ADD {source}: remote sources are not carried out by this release",
                                   hint="fetch it beforehand, or in a RUN")


def _proxies(low: Lowering) -> tuple[str, ...]:
    """Predefined ARGs that nobody declared: RUN sees them, the cache and the history do not."""
    declared = {name for name, _ in low.args}
    given = {name: value for name, value in low.arguments.build.items()
             if name.lower() in PROXIES and name not in declared}
    return tuple(f"{name}={value}" for name, value in sorted(given.items()))


def _with_args(low: Lowering, argv: tuple[str, ...]) -> str:
    args = {name: low.env.get(name, value or "") for name, value in low.args}
    told = [f"|{len(args)}", *(f"{name}={value}" for name, value in args.items())] if args else []
    return " ".join([*told, *argv])


def _quoted(argv: tuple[str, ...] | None) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in argv or ()) + "]"


def _pair(entry: str) -> tuple[str, str]:
    key, _, value = entry.partition("=")
    return key, value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_LOWER: Mapping[type, Callable[..., Step]] = {
    i.Run: _run, i.Copy: _copy, i.Add: _copy, i.Env: _env, i.Arg: _arg, i.Label: _label, i.User: _user,
    i.Workdir: _workdir, i.Expose: _expose, i.Volume: _volume, i.Cmd: _cmd, i.Entrypoint: _entrypoint,
    i.Shell: _shell, i.StopSignal: _stop_signal, i.OnBuild: _onbuild, i.HealthCheck: _healthcheck,
    i.Maintainer: _maintainer,
}
