"""`python -m rootless_builder.debug`: what the language room makes of a text, as JSON, to be compared with others.

    ast FILE      the parse tree        parse FILE    accepted or not
    words         expansion, JSON on stdin and stdout
    ignore        ignore patterns, likewise

docs/debug.md has the shapes. An error is one line on stderr and exit code 3 (2: wrong usage).
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import IechorError, IechorfileError, UsageError
from .language.characters import printable
from .language.ignore import IgnorePatterns, read_patterns
from .language.parser import parse
from .language.statements import Statement, read_statements
from .language.words import WordLexer


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m rootless_builder.debug", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("ast", "parse"):
        commands.add_parser(name).add_argument("file", type=Path, metavar="FILE")
    for name in ("words", "ignore"):
        commands.add_parser(name)
    arguments = parser.parse_args(argv)
    try:
        answer = _answer(arguments)
    except IechorError as error:
        place = f"{error.span}: " if error.span else ""
        print(printable("\n".join([f"{place}{error.message}", *error.notes])), file=sys.stderr)
        return error.exit_code
    if answer is not None:
        print(json.dumps(answer, ensure_ascii=True, separators=(",", ":")))
    return 0


def _answer(arguments: argparse.Namespace) -> Any:
    if arguments.command == "words":
        return [_attempt(expand_item, item) for item in _read_list()]
    if arguments.command == "ignore":
        return [_attempt(ignore_item, item) for item in _read_list()]
    try:
        data = arguments.file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {arguments.file}: {error.strerror}") from None
    if arguments.command == "parse":
        parse(data, file=str(arguments.file))
        return None
    return _tree(data, str(arguments.file))


def _tree(data: bytes, file: str) -> dict[str, Any]:
    statements = read_statements(data, file)
    return {"escape": statements.directives.escape, "warnings": [_text(w.text) for w in statements.warnings],
            "instructions": [_node(statement) for statement in statements.statements]}


def _node(statement: Statement) -> dict[str, Any]:
    return {
        "name": _text(statement.name),
        "flags": [_text(flag) for flag in statement.flags],
        "args": [_text(value) for value in statement.values],
        "json": statement.json,
        "heredocs": [{"name": _text(heredoc.name), "fd": heredoc.fd, "expand": heredoc.expand, "chomp": heredoc.chomp,
                      "content": _text(heredoc.content)} for heredoc in statement.heredocs],
        "start": statement.span.line,
        "end": statement.span.end_line,
        "sub": _node(statement.inner) if statement.inner else None,
    }


_text = printable


def _read_list() -> list[Any]:
    try:
        items = json.loads(sys.stdin.buffer.read())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"cannot read standard input: no JSON: {error}") from None
    if not isinstance(items, list):
        raise UsageError("cannot read standard input: it is not a JSON list")
    return items


def _attempt(work: Callable[[dict[str, Any]], dict[str, Any]], item: Any) -> dict[str, Any]:
    try:
        return work(item)
    except IechorfileError as error:
        return {"error": _text(error.message)}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"cannot use the item {json.dumps(item)}: {error}") from None


def expand_item(item: dict[str, Any]) -> dict[str, Any]:
    """The answer to one item of `words`. Raises IechorfileError: the text cannot be expanded."""
    env = {}
    for pair in item.get("env") or ():
        name, _, value = _text(pair).partition("=")
        env[name] = value
    operation = item["op"]
    if operation not in ("word", "words"):
        raise ValueError(f"there is no op {operation!r}")
    lexer = WordLexer(item["text"], env.get, escape=(item.get("escape") or "\\")[0])
    result: str | list[str] = lexer.run()
    if operation == "words":
        result = lexer.words
    return {"result": result, "unmatched": sorted(lexer.unmatched)}


def ignore_item(item: dict[str, Any]) -> dict[str, Any]:
    """The answer to one item of `ignore`. Raises IechorfileError: a pattern that cannot be read."""
    if item["op"] == "read":
        return {"result": [_text(pattern) for pattern in read_patterns(_text(item["text"]))]}
    if item["op"] == "match":
        return {"result": IgnorePatterns(map(_text, item.get("patterns") or ())).matches(_text(item["path"]))}
    raise ValueError(f"there is no op {item['op']!r}")


if __name__ == "__main__":
    sys.exit(main())
