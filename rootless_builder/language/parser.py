"""Statements → instructions: every check that needs no variable's value and no file.

    file      = { directive } { comment | ARG } { FROM { instruction } }

Each function below takes one statement and holds the grammar of one instruction in its docstring. What is
accepted is what BuildKit's mainline Dockerfile frontend accepts (features.md §1.3); whether it is carried out is
decided in plan.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict

from ..errors import IechorfileError
from ..span import Span
from . import csvline, numbers, suggest
from .characters import decode, encode, lower, printable, strip
from .flags import Flags, check_flags
from .heredoc import find_heredoc, without_tabs
from .instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Device,
    Entrypoint,
    Env,
    Expose,
    From,
    HealthCheck,
    InlineFile,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Script,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from .keywords import INSTRUCTIONS
from .mounts import parse_mount
from .statements import Statement, read_statements

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ONBUILD = re.compile(r"[\t\n\f\r ]*onbuild[\t\n\f\r ]*", re.IGNORECASE | re.ASCII)
_MILLISECOND = 1_000_000


def parse(text: str | bytes, *, file: str) -> Script:
    """A whole build file; `file` is its name for messages. Raises IechorfileError, with a span."""
    data = text if isinstance(text, bytes) else encode(text)
    statements = read_statements(data, file)
    instructions = []
    staged = False
    for statement in statements.statements:
        instruction = _instruction(statement)
        staged = staged or isinstance(instruction, From)
        if not staged and not isinstance(instruction, Arg):
            raise IechorfileError(f"cannot begin with {statement.name.upper()}: there is no stage yet",
                                  span=statement.span, hint="Put FROM and the name of an image before it.")
        instructions.append(instruction)
    return Script(file=file, directives=statements.directives, instructions=tuple(instructions),
                  warnings=statements.warnings, source=decode(data))


def parse_trigger(text: str, span: Span) -> Instruction:
    """One ONBUILD trigger of a base image; `span` is that of the FROM which fires it. Raises IechorfileError."""
    try:
        statements = read_statements(encode(text), span.file).statements
        if len(statements) != 1:
            raise IechorfileError("it is more than one instruction")
        instruction = _instruction(replace(statements[0], span=span))
        if isinstance(instruction, From):
            raise IechorfileError("FROM is no trigger")
    except IechorfileError as error:
        raise IechorfileError(f"cannot carry out the base image's trigger {printable(text)!r}: {error.message}",
                              span=span, notes=error.notes,
                              hint="Use another base image, or have this one's ONBUILD mended.") from None
    return instruction


def _instruction(statement: Statement) -> Instruction:
    build = _BUILDERS.get(statement.kind)
    try:
        if build is None:
            raise IechorfileError(f"cannot read the instruction {printable(statement.keyword)}: there is no such one",
                                  notes=suggest.notes(statement.name.upper(), map(str.upper, INSTRUCTIONS)),
                                  hint="iEchorfile(5) lists the instructions.")
        return build(statement)
    except IechorfileError as error:
        raise error.at(statement.span) from None


class _Place(TypedDict):
    span: Span
    text: str
    keyword: str
    comments: tuple[str, ...]


def _place(statement: Statement) -> _Place:
    return _Place(span=statement.span, text=strip(statement.text), keyword=statement.keyword,
                  comments=statement.comments)


def _flags(statement: Statement) -> Flags:
    return check_flags(statement.kind, statement.flags)


def _refused(statement: Statement, cause: str, hint: str) -> IechorfileError:
    return IechorfileError(f"cannot read {statement.name.upper()}: {cause}", hint=hint)


def _some(statement: Statement) -> tuple[str, ...]:
    if not statement.values:
        raise _refused(statement, "it needs at least one argument", "Give it one, or leave the line out.")
    return statement.values


def _only(statement: Statement) -> str:
    if len(statement.values) != 1:
        raise _refused(statement, "it needs exactly one argument", "Give it one, or leave the line out.")
    return statement.values[0]


# -- stages ------------------------------------------------------------------------------------------------


def _from(statement: Statement) -> From:
    """`FROM [--platform=P] image [AS name]`; a name begins with a letter and has letters, digits, "-", "_", "."."""
    values = statement.values
    name, as_written = "", None
    if len(values) == 3 and values[1].replace("\u017f", "s").lower() == "as":
        name, as_written = lower(values[2]), (values[1], values[2])
        if not _STAGE_NAME.fullmatch(name):
            raise _refused(statement, f"{printable(values[2])!r} is no name for a stage",
                           "Begin it with a letter; use letters, digits, -, _ and . only.")
    elif len(values) != 1:
        raise _refused(statement, "it needs one argument, or three", "Write FROM image, or FROM image AS name.")
    return From(image=values[0], name=name, as_written=as_written, platform=_flags(statement).text("platform"),
                **_place(statement))


def _arg(statement: Statement) -> Arg:
    """`ARG name[=default] …`; BuildKit does not look at flags here."""
    args: list[tuple[str, str | None]] = []
    for value in _some(statement):
        name, equals, default = value.partition("=")
        if equals and not name:
            raise _refused(statement, f"{value!r} has no name", "Write name=default.")
        args.append((name, default if equals else None))
    return Arg(args=tuple(args), **_place(statement))


# -- what changes files --------------------------------------------------------------------------------------


def _run(statement: Statement) -> Run:
    """`RUN [--mount=…] [--network=…] [--security=…] [--device=…] text | ["exec", "form"] | <<heredoc`."""
    flags = _flags(statement)
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise _refused(statement, f"there is no network mode {network!r}", "Take one of default, none, host.")
    if security not in ("sandbox", "insecure"):
        raise _refused(statement, f"there is no security mode {security!r}", "Take one of sandbox, insecure.")
    argv, shell = _command(statement)
    script, shebang = _script(statement, argv)
    return Run(argv=argv, shell=shell, heredocs=statement.heredocs, script=script, shebang=shebang,
               mounts=tuple(map(parse_mount, flags.all("mount"))), network=network, security=security,
               devices=tuple(map(_device, flags.all("device"))), flags=flags.names(), **_place(statement))


def _command(statement: Statement) -> tuple[tuple[str, ...], bool]:
    """The words of a command, and whether they are one text for the shell."""
    return statement.values, not statement.json


def _script(statement: Statement, argv: tuple[str, ...]) -> tuple[str, bool]:
    """The text for the shell with its heredocs in it, and whether it is a program of its own ("#!")."""
    text = argv[0] if argv else ""
    if not statement.heredocs:
        return ("" if statement.json else text), False
    if find_heredoc(text):
        only = statement.heredocs[0]
        body = without_tabs(only.content) if only.chomp else only.content
        return body, body.startswith("#!")
    return text + "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs), False


def _device(text: str) -> Device:
    """`--device=name[,required[=true|false]]`, or `name=name`; a name may have "=" in it."""
    name, required = "", False
    try:
        for field in csvline.read(text):
            key, equals, value = field.partition("=")
            key = lower(key)
            if key == "required":
                required = numbers.boolean(value) if equals else True
            elif key == "name" and equals:
                if name:
                    raise ValueError(f"it has two names, {name!r} and {value!r}")
                name = value
            elif not name:
                name = field
            else:
                raise ValueError(f"there is no key {key!r}")
    except ValueError as error:
        raise IechorfileError(f"cannot read --device={text}: {error}",
                              hint="Write --device=vendor.com/class=name, and ,required behind it if it must be there."
                              ) from None
    return Device(name=name, required=required)


def _copy(statement: Statement) -> Copy:
    """`COPY [flags] source … dest`, or all in one JSON array; a source may be a heredoc."""
    sources, files, dest = _sources(statement)
    flags = _flags(statement)
    return Copy(sources=sources, dest=dest, files=files, from_=flags.text("from"), chown=flags.text("chown"),
                chmod=flags.text("chmod"), link=bool(flags.switch("link")), parents=bool(flags.switch("parents")),
                excludes=flags.all("exclude"), flags=flags.names(), **_place(statement))


def _add(statement: Statement) -> Add:
    """`ADD [flags] source … dest`, or all in one JSON array; a source may be a heredoc, a URL, a git repository."""
    sources, files, dest = _sources(statement)
    flags = _flags(statement)
    return Add(sources=sources, dest=dest, files=files, chown=flags.text("chown"), chmod=flags.text("chmod"),
               link=bool(flags.switch("link")), excludes=flags.all("exclude"), checksum=flags.text("checksum"),
               keep_git_dir=flags.switch("keep-git-dir"), unpack=flags.switch("unpack"), flags=flags.names(),
               **_place(statement))


def _sources(statement: Statement) -> tuple[tuple[str, ...], tuple[InlineFile, ...], str]:
    if len(statement.values) < 2:
        raise _refused(statement, "it needs a source and a destination", "Write what to copy, then where to.")
    *sources, dest = statement.values
    if find_heredoc(dest):
        raise _refused(statement, "a heredoc is no destination", "Put the path to write behind the heredoc's name.")
    contents = {heredoc.name: heredoc.content for heredoc in statement.heredocs}
    paths, files = [], []
    for source in sources:
        heredoc = find_heredoc(source)
        if heredoc is None:
            paths.append(source)
            continue
        content = contents.get(heredoc.name, "")
        files.append(InlineFile(name=heredoc.name, expand=heredoc.expand,
                                content=without_tabs(content) if heredoc.chomp else content))
    return tuple(paths), tuple(files), dest


# -- what changes the configuration --------------------------------------------------------------------------


def _env(statement: Statement) -> Env:
    """`ENV name=value …`, or the old `ENV name value`."""
    _flags(statement)
    pairs, legacy = _pairs(statement)
    return Env(pairs=pairs, legacy=legacy, **_place(statement))


def _label(statement: Statement) -> Label:
    """`LABEL name=value …`, or the old `LABEL name value`."""
    _flags(statement)
    pairs, legacy = _pairs(statement)
    return Label(pairs=pairs, legacy=legacy, **_place(statement))


def _pairs(statement: Statement) -> tuple[tuple[tuple[str, str], ...], bool]:
    values = _some(statement)
    keys, separators = values[0::3], values[2::3]
    if "" in keys:
        raise _refused(statement, "a name is empty", "Write name=value.")
    return tuple(zip(keys, values[1::3], strict=True)), "" in separators


def _user(statement: Statement) -> User:
    """`USER name|uid[:group|gid]`."""
    _flags(statement)
    return User(user=_only(statement), **_place(statement))


def _workdir(statement: Statement) -> Workdir:
    """`WORKDIR path`."""
    _flags(statement)
    return Workdir(path=_only(statement), **_place(statement))


def _expose(statement: Statement) -> Expose:
    """`EXPOSE port[-port][/protocol] …`."""
    _flags(statement)
    return Expose(ports=tuple(sorted(_some(statement), key=encode)), **_place(statement))


def _volume(statement: Statement) -> Volume:
    """`VOLUME path …`, or a JSON array of paths."""
    _flags(statement)
    paths = tuple(map(strip, _some(statement)))
    if "" in paths:
        raise _refused(statement, "a path is empty", "Leave the empty one out.")
    return Volume(paths=paths, **_place(statement))


def _cmd(statement: Statement) -> Cmd:
    """`CMD text | ["exec", "form"]`."""
    _flags(statement)
    argv, shell = _command(statement)
    return Cmd(argv=argv, shell=shell, **_place(statement))


def _entrypoint(statement: Statement) -> Entrypoint:
    """`ENTRYPOINT text | ["exec", "form"]`."""
    _flags(statement)
    argv, shell = _command(statement)
    return Entrypoint(argv=argv, shell=shell, **_place(statement))


def _shell(statement: Statement) -> Shell:
    """`SHELL ["program", "argument", …]`."""
    _flags(statement)
    argv = _some(statement)
    if not statement.json:
        raise _refused(statement, "it takes the JSON form only", 'Write SHELL ["/bin/sh", "-c"].')
    return Shell(argv=argv, **_place(statement))


def _stopsignal(statement: Statement) -> StopSignal:
    """`STOPSIGNAL name|number`; BuildKit does not look at flags here."""
    return StopSignal(signal=_only(statement), **_place(statement))


def _maintainer(statement: Statement) -> Maintainer:
    """`MAINTAINER text`."""
    _flags(statement)
    return Maintainer(name=_only(statement), **_place(statement))


def _onbuild(statement: Statement) -> OnBuild:
    """`ONBUILD instruction`, any but ONBUILD, FROM and MAINTAINER."""
    inner = statement.inner
    if inner is None:
        raise _refused(statement, "it needs an instruction", "Write the instruction behind it, or leave the line out.")
    _flags(statement)
    name = strip(inner.keyword).upper()
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise _refused(statement, f"{name} is no trigger", "Write another instruction behind ONBUILD.")
    trigger = _ONBUILD.sub("", statement.text, count=1) if _ONBUILD.match(statement.text) else statement.text
    trigger += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    try:
        instruction = _instruction(replace(inner, heredocs=statement.heredocs))
    except IechorfileError:
        instruction = None
    return OnBuild(trigger=trigger, instruction=instruction, **_place(statement))


def _healthcheck(statement: Statement) -> HealthCheck:
    """`HEALTHCHECK NONE`, or `HEALTHCHECK [flags] CMD text | ["exec", "form"]`; times are at least 1 ms, or 0."""
    type_, *command = _some(statement)
    type_ = type_.upper()
    if type_ == "NONE":
        if command:
            raise _refused(statement, "NONE takes no arguments", "Leave them out.")
        return HealthCheck(test=("NONE",), **_place(statement))
    flags = _flags(statement)
    if type_ != "CMD":
        raise _refused(statement, f"there is no type {printable(type_)!r}", "Write CMD or NONE.")
    if not command:
        raise _refused(statement, "there is no command behind CMD", "Write the command, or HEALTHCHECK NONE.")
    return HealthCheck(test=("CMD" if statement.json else "CMD-SHELL", *command), interval=_interval(flags, "interval"),
                       timeout=_interval(flags, "timeout"), start_period=_interval(flags, "start-period"),
                       start_interval=_interval(flags, "start-interval"), retries=_retries(flags), **_place(statement))


def _interval(flags: Flags, name: str) -> int:
    text = flags.text(name)
    try:
        value = numbers.nanoseconds(text) if text else 0
        if value and value < _MILLISECOND:
            raise ValueError(f"{text!r} is less than 1ms")
    except ValueError as error:
        raise IechorfileError(f"cannot read --{name}: {error}", hint="Write a time such as 30s or 1m30s.") from None
    return value


def _retries(flags: Flags) -> int:
    text = flags.text("retries")
    try:
        value = numbers.integer(text, bits=32) if text else 0
        if value < 0:
            raise ValueError(f"{text} is negative")
    except ValueError as error:
        raise IechorfileError(f"cannot read --retries: {error}", hint="Write a number such as 3.") from None
    return value


_BUILDERS: dict[str, Callable[[Statement], Instruction]] = {
    "add": _add, "arg": _arg, "cmd": _cmd, "copy": _copy, "entrypoint": _entrypoint, "env": _env, "expose": _expose,
    "from": _from, "healthcheck": _healthcheck, "label": _label, "maintainer": _maintainer, "onbuild": _onbuild,
    "run": _run, "shell": _shell, "stopsignal": _stopsignal, "user": _user, "volume": _volume, "workdir": _workdir,
}
