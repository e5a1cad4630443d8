"""ENV, LABEL, USER and the others that change an image's configuration only. Grammar in each docstring."""

from ..errors import IechorfileError
from . import numbers
from .characters import encode, printable, strip
from .flags import Flags
from .instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Label,
    Maintainer,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from .operands import at_least_one, command_of, exactly_one, flags_of, place, refused
from .statements import Statement

_MILLISECOND = 1_000_000


def read_env(statement: Statement) -> Env:
    """`ENV name=value …`, or the old `ENV name value`."""
    flags_of(statement)
    pairs, legacy = _pairs(statement)
    return Env(pairs=pairs, legacy=legacy, **place(statement))


def read_label(statement: Statement) -> Label:
    """`LABEL name=value …`, or the old `LABEL name value`."""
    flags_of(statement)
    pairs, legacy = _pairs(statement)
    return Label(pairs=pairs, legacy=legacy, **place(statement))


def _pairs(statement: Statement) -> tuple[tuple[tuple[str, str], ...], bool]:
    values = at_least_one(statement)
    keys, separators = values[0::3], values[2::3]
    if "" in keys:
        raise refused(statement, "a name is empty", "Write name=value.")
    return tuple(zip(keys, values[1::3], strict=True)), "" in separators


def read_user(statement: Statement) -> User:
    """`USER name|uid[:group|gid]`."""
    flags_of(statement)
    return User(user=exactly_one(statement), **place(statement))


def read_workdir(statement: Statement) -> Workdir:
    """`WORKDIR path`."""
    flags_of(statement)
    return Workdir(path=exactly_one(statement), **place(statement))


def read_expose(statement: Statement) -> Expose:
    """`EXPOSE port[-port][/protocol] …`."""
    flags_of(statement)
    return Expose(ports=tuple(sorted(at_least_one(statement), key=encode)), **place(statement))


def read_volume(statement: Statement) -> Volume:
    """`VOLUME path …`, or a JSON array of paths."""
    flags_of(statement)
    paths = tuple(map(strip, at_least_one(statement)))
    if "" in paths:
        raise refused(statement, "a path is empty", "Leave the empty one out.")
    return Volume(paths=paths, **place(statement))


def read_cmd(statement: Statement) -> Cmd:
    """`CMD text | ["exec", "form"]`."""
    flags_of(statement)
    argv, shell = command_of(statement)
    return Cmd(argv=argv, shell=shell, **place(statement))


def read_entrypoint(statement: Statement) -> Entrypoint:
    """`ENTRYPOINT text | ["exec", "form"]`."""
    flags_of(statement)
    argv, shell = command_of(statement)
    return Entrypoint(argv=argv, shell=shell, **place(statement))


def read_shell(statement: Statement) -> Shell:
    """`SHELL ["program", "argument", …]`."""
    flags_of(statement)
    argv = at_least_one(statement)
    if not statement.json:
        raise refused(statement, "it takes the JSON form only", 'Write SHELL ["/bin/sh", "-c"].')
    return Shell(argv=argv, **place(statement))


def read_stopsignal(statement: Statement) -> StopSignal:
    """`STOPSIGNAL name|number`; BuildKit does not look at flags here."""
    return StopSignal(signal=exactly_one(statement), **place(statement))


def read_maintainer(statement: Statement) -> Maintainer:
    """`MAINTAINER text`."""
    flags_of(statement)
    return Maintainer(name=exactly_one(statement), **place(statement))


def read_healthcheck(statement: Statement) -> HealthCheck:
    """`HEALTHCHECK NONE`, or `HEALTHCHECK [flags] CMD text | ["exec", "form"]`; times are at least 1 ms, or 0."""
    type_, *command = at_least_one(statement)
    type_ = type_.upper()
    if type_ == "NONE":
        if command:
            raise refused(statement, "NONE takes no arguments", "Leave them out.")
        return HealthCheck(test=("NONE",), **place(statement))
    flags = flags_of(statement)
    if type_ != "CMD":
        raise refused(statement, f"there is no type {printable(type_)!r}", "Write CMD or NONE.")
    if not command:
        raise refused(statement, "there is no command behind CMD", "Write the command, or HEALTHCHECK NONE.")
    return HealthCheck(test=("CMD" if statement.json else "CMD-SHELL", *command), interval=_interval(flags, "interval"),
                       timeout=_interval(flags, "timeout"), start_period=_interval(flags, "start-period"),
                       start_interval=_interval(flags, "start-interval"), retries=_retries(flags), **place(statement))


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    try:
        value = numbers.nanoseconds(text) if text else 0
        if value and value < _MILLISECOND:
            raise ValueError(f"{text!r} is less than 1ms")
    except ValueError as error:
        raise IechorfileError(f"cannot read --{name}: {error}", hint="write a time such as 30s or 1m30s") from None
    return value


def _retries(flags: Flags) -> int:
    text = flags.text("retries")
    try:
        value = numbers.integer(text, bits=32) if text else 0
        if value < 0:
            raise ValueError(f"{text} is negative")
    except ValueError as error:
        raise IechorfileError(f"cannot read --retries: {error}", hint="write a number such as 3") from None
    return value
