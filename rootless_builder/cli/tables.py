"""What the list commands print: columns for people, JSON lines, or a template.

A template is the part of Go's that people use with docker: "{{.Field}}", "{{.Field.Inner}}", "{{json .Field}}",
"{{.}}", text between them, and "table " before it for a headed table. Anything else is refused.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import UnsupportedError, UsageError
from .terminal import clean

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_FIELD = re.compile(r"(?:(json)\s+)?(\.(?:[\w-]+(?:\.[\w-]+)*)?)")
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


def show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], template: str) -> Iterable[str]:
    """The lines to print. columns: heading → field, in order, for people."""
    if template == "json":
        return [json.dumps(dict(row)) for row in rows]
    if template.startswith("table "):
        fields = [inner.removeprefix(".") for inner in _ACTION.findall(template)]
        cells = [[_plain(_value(row, f".{name}")) for name in fields] for row in rows]
        return table([name.upper() for name in fields], cells)
    if template:
        return [fill(template, row) for row in rows]
    return table(list(columns), [[str(row[field]) for field in columns.values()] for row in rows])


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    shown = [list(headings), *([clean(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(headings))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def fill(template: str, found: Mapping[str, Any]) -> str:
    """The template with the fields of one object. Errors: UsageError for an unknown field, UnsupportedError."""
    if template == "json":
        return json.dumps(found, indent=4, default=str)

    def action(match: re.Match[str]) -> str:
        field = _FIELD.fullmatch(match[1])
        if field is None:
            raise UnsupportedError(f'cannot use --format "{template}": "{match[0]}" is more than a field',
                                   hint='write fields such as "{{.ID}}" or "{{json .Config}}", or take "json"')
        value = _value(found, field[2])
        return json.dumps(value, default=str) if field[1] else _plain(value)

    text = template
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return _ACTION.sub(action, text)


def _value(found: Any, path: str) -> Any:
    """".Config.Env" below `found`; names are compared without case, as ".Id" and ".ID" are both in use."""
    for name in filter(None, path.split(".")):
        names = {str(key).lower(): key for key in found} if isinstance(found, Mapping) else {}
        if name.lower() not in names:
            raise UsageError(f'cannot use --format: there is no field ".{name}"',
                             hint=f"fields are {', '.join(f'.{key}' for key in names.values())}" if names else
                             'take "json" to see all there is')
        found = found[names[name.lower()]]
    return found


def _plain(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, default=str)
    return {True: "true", False: "false", None: "<no value>"}.get(value, str(value)) \
        if value is None or isinstance(value, bool) else clean(str(value))


def size(count: int) -> str:
    """Bytes for people, in powers of 1000 as docker has them: 77.8MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}TB"


def age(seconds: float) -> str:
    """How long ago, for people: "3 hours ago"."""
    for length, name in ((31536000, "year"), (2592000, "month"), (604800, "week"), (86400, "day"), (3600, "hour"),
                         (60, "minute"), (1, "second")):
        count = int(seconds // length)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
