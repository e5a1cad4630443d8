"""FROM, ARG, RUN, COPY, ADD: the stages, and what changes their files. Grammar in each docstring."""

import re

from ..errors import IechorfileError
from . import csvline, numbers
from .characters import lower, printable
from .heredoc import find_heredoc, without_tabs
from .instructions import Add, Arg, Copy, Device, From, InlineFile, Run
from .mounts import parse_mount
from .operands import at_least_one, command_of, flags_of, place, refused
from .statements import Statement

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")


def read_from(statement: Statement) -> From:
    """`FROM [--platform=P] [--after=STAGE] image [AS name]`; a name begins with a letter and has letters, digits, "-",
    "_", ".".
    """
    values, flags = statement.values, flags_of(statement)
    if "after" in flags.names() and not flags.text("after"):
        raise refused(statement, "--after names no stage", "Write --after=STAGE, a stage above this one.")
    name, as_written = "", None
    if len(values) == 3 and values[1].replace("\u017f", "s").lower() == "as":
        name, as_written = lower(values[2]), (values[1], values[2])
        if not _STAGE_NAME.fullmatch(name):
            raise refused(statement, f"{printable(values[2])!r} is no name for a stage",
                           "Begin it with a letter; use letters, digits, -, _ and . only.")
    elif len(values) != 1:
        raise refused(statement, "it needs one argument, or three", "Write FROM image, or FROM image AS name.")
    return From(image=values[0], name=name, as_written=as_written, platform=flags.text("platform"),
                after=flags.text("after"), **place(statement))


def read_arg(statement: Statement) -> Arg:
    """`ARG name[=default] …`; BuildKit does not look at flags here."""
    args: list[tuple[str, str | None]] = []
    for value in at_least_one(statement):
        name, equals, default = value.partition("=")
        if equals and not name:
            raise refused(statement, f"{value!r} has no name", "Write name=default.")
        args.append((name, default if equals else None))
    return Arg(args=tuple(args), **place(statement))


def read_run(statement: Statement) -> Run:
    """`RUN [--mount=…] [--network=…] [--security=…] [--device=…] text | ["exec", "form"] | <<heredoc`."""
    flags = flags_of(statement)
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise refused(statement, f"there is no network mode {network!r}", "Take one of default, none, host.")
    if security not in ("sandbox", "insecure"):
        raise refused(statement, f"there is no security mode {security!r}", "Take one of sandbox, insecure.")
    argv, shell = command_of(statement)
    script, shebang = _script(statement, argv)
    return Run(argv=argv, shell=shell, heredocs=statement.heredocs, script=script, shebang=shebang,
               mounts=tuple(map(parse_mount, flags.all("mount"))), network=network, security=security,
               devices=tuple(map(_device, flags.all("device"))), flags=flags.names(), **place(statement))


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
                              hint="write --device=vendor.com/class=name, and ,required behind it if it must be there"
                              ) from None
    return Device(name=name, required=required)


def read_copy(statement: Statement) -> Copy:
    """`COPY [flags] source … dest`, or all in one JSON array; a source may be a heredoc."""
    sources, files, dest = _sources(statement)
    flags = flags_of(statement)
    return Copy(sources=sources, dest=dest, files=files, from_=flags.text("from"), chown=flags.text("chown"),
                chmod=flags.text("chmod"), link=bool(flags.switch("link")), parents=bool(flags.switch("parents")),
                excludes=flags.all("exclude"), flags=flags.names(), **place(statement))


def read_add(statement: Statement) -> Add:
    """`ADD [flags] source … dest`, or all in one JSON array; a source may be a heredoc, a URL, a git repository."""
    sources, files, dest = _sources(statement)
    flags = flags_of(statement)
    return Add(sources=sources, dest=dest, files=files, chown=flags.text("chown"), chmod=flags.text("chmod"),
               link=bool(flags.switch("link")), excludes=flags.all("exclude"), checksum=flags.text("checksum"),
               keep_git_dir=flags.switch("keep-git-dir"), unpack=flags.switch("unpack"), flags=flags.names(),
               **place(statement))


def _sources(statement: Statement) -> tuple[tuple[str, ...], tuple[InlineFile, ...], str]:
    if len(statement.values) < 2:
        raise refused(statement, "it needs a source and a destination", "Write what to copy, then where to.")
    *sources, dest = statement.values
    if find_heredoc(dest):
        raise refused(statement, "a heredoc is no destination", "Put the path to write behind the heredoc's name.")
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
