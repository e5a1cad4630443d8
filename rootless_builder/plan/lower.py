"""A stage, its base's config and the args → its steps, one for each instruction: the only expander of variables.

Each instruction has its function here (RUN, COPY and ADD: lower_run.py, lower_copy.py); `Lowering` carries what they
share. What an ENV or ARG says counts from the next instruction on: within one instruction every variable has one
value. By BuildKit's dockerfile2llb.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..errors import IechorfileError, UnsupportedError
from ..language import instructions as i
from ..language.words import expand, expand_words
from ..oci.config import Healthcheck, ImageConfig, RunConfig
from ..paths import absolute, image_path
from ..signals import is_signal
from ..urls import redacted
from ..values import dataclass, replace
from .durations import spoken
from .lower_copy import copy_step
from .lower_run import run_step
from .ports import exposed_ports
from .stages import Stage, StageGraph
from .steps import ConfigStep, Shown, Step, WorkdirStep

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
        return Shown(text=redacted(" ".join(instruction.text.split())), created_by=created_by, span=instruction.span)

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
    return low.config_step(this, redacted("ARG " + " ".join(shown)))


def _user(low: Lowering, this: i.User) -> Step:
    low.configure(user=low.expand(this.user))
    return low.config_step(this, f"USER {low.config.user}")


def _workdir(low: Lowering, this: i.Workdir) -> Step:
    """The config has an absolute path as it is written, as BuildKit's has."""
    written = low.expand(this.path)
    path = absolute(image_path(written, cwd=image_path(low.config.working_dir)))
    low.configure(working_dir=written if written.startswith("/") else path)
    created_by = f"WORKDIR {low.config.working_dir}"
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
    low.configure(cmd=low.command(this) or None, args_escaped=True)
    low._cmd_set = True
    return low.config_step(this, f"CMD {_quoted(low.config.cmd)}")


def _entrypoint(low: Lowering, this: i.Entrypoint) -> Step:
    """Resets a CMD that came from the base: it was meant for another program."""
    low.configure(entrypoint=low.command(this) or None, **({} if low._cmd_set else {"cmd": None}))
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
    times = (("Interval", this.interval), ("Timeout", this.timeout), ("StartPeriod", this.start_period),
             ("StartInterval", this.start_interval))
    told = [f"Test:[{' '.join(this.test)}]", *(f"{name}:{spoken(time)}" for name, time in times),
            f"Retries:{this.retries}"]
    return low.config_step(this, f"HEALTHCHECK {{{' '.join(told)}}}")


def _onbuild(low: Lowering, this: i.OnBuild) -> Step:
    """The history has nothing of it, as BuildKit's has not."""
    low.configure(onbuild=(*low.config.onbuild, this.trigger))
    return low.config_step(this, "")


def _maintainer(low: Lowering, this: i.Maintainer) -> Step:
    low.image = replace(low.image, author=this.name)
    return low.config_step(this, f"MAINTAINER {this.name}")


def _quoted(argv: tuple[str, ...] | None) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in argv or ()) + "]"


def _pair(entry: str) -> tuple[str, str]:
    key, _, value = entry.partition("=")
    return key, value


_LOWER: Mapping[type, Callable[..., Step]] = {
    i.Run: run_step, i.Copy: copy_step, i.Add: copy_step, i.Env: _env, i.Arg: _arg, i.Label: _label, i.User: _user,
    i.Workdir: _workdir, i.Expose: _expose, i.Volume: _volume, i.Cmd: _cmd, i.Entrypoint: _entrypoint,
    i.Shell: _shell, i.StopSignal: _stop_signal, i.OnBuild: _onbuild, i.HealthCheck: _healthcheck,
    i.Maintainer: _maintainer,
}
