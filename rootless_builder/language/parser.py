"""Statements → instructions: every check that needs no variable's value and no file.

    file      = { directive } { comment | ARG } { FROM { instruction } }

What is accepted is what BuildKit's Dockerfile frontend accepts; whether it is carried out is decided in plan.
"""

import re
from collections.abc import Callable

from ..errors import IechorfileError
from ..span import Span
from ..values import replace
from . import configinstructions as config
from . import fileinstructions as files
from . import suggest
from .characters import decode, encode, printable, strip
from .instructions import Arg, From, Instruction, OnBuild, Script
from .keywords import INSTRUCTIONS
from .operands import flags_of, place, refused
from .statements import Statement, read_statements

_ONBUILD = re.compile(r"[\t\n\f\r ]*onbuild[\t\n\f\r ]*", re.IGNORECASE | re.ASCII)


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
                                  span=statement.span, hint="put FROM and the name of an image before it")
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
                              hint="use another base image, or have this one's ONBUILD mended") from None
    return instruction


def _instruction(statement: Statement) -> Instruction:
    read = _READERS.get(statement.kind)
    try:
        if read is None:
            raise IechorfileError(f"cannot read the instruction {printable(statement.keyword)}: there is no such one",
                                  notes=suggest.notes(statement.name.upper(), map(str.upper, INSTRUCTIONS)),
                                  mark=statement.keyword,
                                  hint="iEchorfile(5) lists the instructions")
        return read(statement)
    except IechorfileError as error:
        raise error.at(statement.span) from None


def _read_onbuild(statement: Statement) -> OnBuild:
    """`ONBUILD instruction`, any but ONBUILD, FROM and MAINTAINER."""
    inner = statement.inner
    if inner is None:
        raise refused(statement, "it needs an instruction", "Write the instruction behind it, or leave the line out.")
    flags_of(statement)
    name = strip(inner.keyword).upper()
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise refused(statement, f"{name} is no trigger", "Write another instruction behind ONBUILD.")
    trigger = _ONBUILD.sub("", statement.text, count=1) if _ONBUILD.match(statement.text) else statement.text
    trigger += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    try:
        instruction = _instruction(replace(inner, heredocs=statement.heredocs))
    except IechorfileError:
        instruction = None
    return OnBuild(trigger=trigger, instruction=instruction, **place(statement))


_READERS: dict[str, Callable[[Statement], Instruction]] = {
    "add": files.read_add,
    "arg": files.read_arg,
    "cmd": config.read_cmd,
    "copy": files.read_copy,
    "entrypoint": config.read_entrypoint,
    "env": config.read_env,
    "expose": config.read_expose,
    "from": files.read_from,
    "healthcheck": config.read_healthcheck,
    "label": config.read_label,
    "maintainer": config.read_maintainer,
    "onbuild": _read_onbuild,
    "run": files.read_run,
    "shell": config.read_shell,
    "stopsignal": config.read_stopsignal,
    "user": config.read_user,
    "volume": config.read_volume,
    "workdir": config.read_workdir,
}
