"""What the language makes of odd and ordinary texts, frozen. The answers are BuildKit's own, asked of its parser,
shell lexer and pattern matcher; a lone surrogate \\udcXX in a text stands for the byte XX.

They go through `rootless_builder.debug` in this process; tests/unit/language/test_debug.py runs it as a command.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rootless_builder import debug
from rootless_builder.errors import IechorError

HERE = Path(__file__).parent


def cases(name: str) -> list[Any]:
    read = [json.loads(line) for line in (HERE / name).read_text().splitlines()]
    return [pytest.param(case, id=f"{number}-{case.get('name') or case['op']}".encode("ascii", "replace").decode())
            for number, case in enumerate(read, 1)]


def ask(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    """The door's answer; None when it refuses, which takes one line and an exit code."""
    code = debug.main(argv)
    out, err = capsys.readouterr()
    if code:
        assert code == 3 and err.startswith(argv[-1]) and not out
        return None
    return json.loads(out) if out else {}


def without_inner_lines(node: dict[str, Any]) -> dict[str, Any]:
    """BuildKit gives what stands in ONBUILD no place; we give it that of the ONBUILD."""
    inner = node["sub"]
    if inner:
        inner = {key: value for key, value in without_inner_lines(inner).items() if key not in ("start", "end")}
    return {**node, "sub": inner}


@pytest.mark.parametrize("case", cases("files.jsonl"))
def test_file(case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "iEchorfile"
    file.write_bytes(case["text"].encode("utf-8", "surrogateescape"))
    tree = ask(capsys, "ast", str(file))
    if tree is not None:
        tree["instructions"] = [without_inner_lines(node) for node in tree["instructions"]]
    assert tree == case["tree"]
    assert (ask(capsys, "parse", str(file)) is not None) == case["accepted"]


def attempt(work: Any, item: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = work(item)
    except IechorError as error:
        assert error.message
        return {"error": True}
    return answer


def answer_of(case: dict[str, Any]) -> dict[str, Any]:
    return {key: case[key] for key in ("result", "unmatched", "error") if key in case}


@pytest.mark.parametrize("case", cases("words.jsonl"))
def test_words(case: dict[str, Any]) -> None:
    assert attempt(debug.expand_item, case) == answer_of(case)


@pytest.mark.parametrize("case", cases("ignore.jsonl"))
def test_ignore(case: dict[str, Any]) -> None:
    assert attempt(debug.ignore_item, case) == answer_of(case)
