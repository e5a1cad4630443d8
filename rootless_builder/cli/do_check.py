"""`iechor build --check`, `--call=METHOD[,format=text|json][,ignorestatus]`: questions, answered on standard output.

    check (lint)    what the build checks find, and what would end a build before it runs anything
    outline         the arguments, secrets and ssh keys of the target
    targets         the stages one can build

JSON has the keys that docker buildx prints.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import IechorfileError, UsageError
from ..span import Span
from ..values import dataclass, replace
from . import report
from .call import Call
from .terminal import clean
from .wording import finding

if TYPE_CHECKING:
    from ..building.request import BuildRequest
    from ..subrequests import Checked, Inquiry

FOUND = IechorfileError.exit_code
METHODS = {"build": "build", "check": "check", "lint": "check", "outline": "outline", "targets": "targets"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """ignore_status: findings are no failure."""

    name: str
    as_json: bool = False
    ignore_status: bool = False


def method(text: str) -> Method:
    """The value of --call. Errors: UsageError."""
    name, *options = text.split(",")
    short = name.removeprefix("frontend.")
    if short not in METHODS:
        raise UsageError(f'unknown value of --call "{name}"', hint=f"one of {', '.join(sorted(METHODS))}")
    found = Method(name=METHODS[short])
    for option in options:
        key, _, value = option.partition("=")
        if key == "format" and value in ("text", "json"):
            found = replace(found, as_json=value == "json")
        elif key == "ignorestatus" and value in ("", "true", "false"):
            found = replace(found, ignore_status=value != "false")
        else:
            raise UsageError(f'cannot use --call "{text}": unknown option "{option}"',
                             hint="write --call=METHOD,format=text or format=json")
    return found


def ask(call: Call, chosen: Method, request: "BuildRequest") -> int:
    """Prints the answer; 3 when --check found something."""
    from .. import catalog
    from ..contexts.remotes import Remotes
    from ..subrequests import Inquiry
    from .build_inputs import fetch_auth

    settings, auth = call.settings(), fetch_auth(call.options.secret, call.environ)
    with call.store(settings) as store, call.showing() as emit, \
            Remotes(settings, store, tmp=call.tmp(), environ=call.environ, auth=auth, emit=emit) as remotes:
        inquiry = Inquiry(request, store, catalog.config_fetcher(settings, emit), remotes=remotes, tmp=call.tmp(),
                          emit=emit)
        return _ANSWERS[chosen.name](inquiry, chosen)


def _check(inquiry: "Inquiry", chosen: Method) -> int:
    checked = inquiry.check()
    if chosen.as_json:
        _print_json(_checked_json(checked))
    else:
        print("\n".join(_checked_text(checked)))
    return FOUND if (checked.findings or checked.error) and not chosen.ignore_status else 0


def _checked_text(checked: "Checked") -> Iterable[str]:
    count = len(checked.findings)
    if count:
        yield f"Check complete, {count} warning{' has' if count == 1 else 's have'} been found!"
    for one in sorted(checked.findings, key=lambda found: found.line):
        head, *lines = finding(one)
        yield from ("", f"WARNING: {head}", *lines)
    if checked.error is not None:
        yield from ([""] if count else [])
        yield from map(clean, report.text(checked.error, (), prefix="ERROR: ").split("\n"))
    elif not count:
        yield "Check complete, no warnings found."


def _checked_json(checked: "Checked") -> dict[str, Any]:
    found: dict[str, Any] = {
        "warnings": [{"ruleName": one.rule, "description": one.description, "detail": one.detail,
                      "location": _location(one.line, one.end_line)} for one in checked.findings],
        "sources": [{"filename": checked.file, "language": "iEchorfile", "data": _encoded(checked.text)}]}
    if checked.error is not None:
        span = checked.error.span
        found["buildError"] = {"message": checked.error.message,
                               "location": _location(span.line, span.end_line) if span else {}}
    return found


def _outline(inquiry: "Inquiry", chosen: Method) -> int:
    asked = inquiry.outline()
    outline = asked.outline
    if chosen.as_json:
        needed = {key: [{"name": one.name, **({"required": True} if one.required else {}), **_place(one.span)}
                        for one in listed] for key, listed in (("secrets", outline.secrets), ("ssh", outline.ssh))}
        args = [{"name": one.name, "description": one.description, "value": one.value, **_place(one.span)}
                for one in outline.args]
        _print_json(_without_empty({
            "name": outline.name, "description": outline.description, "args": [_without_empty(one) for one in args],
            **needed, "sources": [_encoded(asked.text)]}))
        return 0
    if outline.name or outline.description:
        _print_table([("TARGET:", outline.name or "(default)"),
                      *([("DESCRIPTION:", outline.description)] if outline.description else [])], gap=1)
        print()
    _print_section(("BUILD ARG", "VALUE", "DESCRIPTION"),
                   [(one.name, one.value, one.description) for one in outline.args])
    for title, listed in (("SECRET", outline.secrets), ("SSH", outline.ssh)):
        _print_section((title, "REQUIRED"), [(one.name, "true" if one.required else "") for one in listed])
    return 0


def _print_section(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        _print_table([head, *rows], gap=3)
        print()


def _targets(inquiry: "Inquiry", chosen: Method) -> int:
    asked = inquiry.targets()
    if chosen.as_json:
        _print_json({"targets": [_without_empty({
            "name": one.name, "default": one.default, "description": one.description, "base": one.base,
            "platform": one.platform, **_place(one.span)}) for one in asked.targets],
            "sources": [_encoded(asked.text)]})
        return 0
    rows = [("TARGET", "DESCRIPTION")]
    for one in asked.targets:
        name = f"{one.name} (default)" if one.name and one.default else one.name or "(default)" * one.default
        rows.append((name, one.description))
    _print_table(rows, gap=1)
    return 0


_ANSWERS = {"check": _check, "outline": _outline, "targets": _targets}


def _place(span: Span) -> dict[str, Any]:
    return {"location": _location(span.line, span.end_line)}


def _location(line: int, end: int) -> dict[str, Any]:
    """One range for each line, as BuildKit has them."""
    return {"ranges": [{"start": {"line": number}, "end": {"line": number}} for number in range(line, end + 1)]}


def _without_empty(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value not in ("", [], False)}


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _print_json(found: dict[str, Any]) -> None:
    print(json.dumps(found, indent=2))


def _print_table(rows: Sequence[Sequence[str]], *, gap: int) -> None:
    widths = [max(len(row[column]) for row in rows) + gap for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(clean("".join(cells[:-1]) + row[-1]).rstrip())
