"""`python -m rootless_builder.debug`, as somebody else's test would run it."""

import json
import subprocess
import sys
from pathlib import Path

FILE = """# escape=`
FROM a
RUN --network=none cat <<-EOF `

  && x
\thello
\tEOF
ONBUILD ENV a="b c"
"""


def door(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rootless_builder.debug", *argv], input=stdin, capture_output=True,
                          text=True, check=False)


def test_ast(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text(FILE)
    done = door("ast", str(file))
    assert done.returncode == 0 and not done.stderr
    assert json.loads(done.stdout) == {
        "escape": "`",
        "warnings": ["Empty continuation line found in: RUN --network=none cat <<-EOF   && x"],
        "instructions": [
            {"name": "from", "flags": [], "args": ["a"], "json": False, "heredocs": [], "start": 2, "end": 2,
             "sub": None},
            {"name": "run", "flags": ["--network=none"], "args": ["cat <<-EOF   && x"], "json": False,
             "heredocs": [{"name": "EOF", "fd": 0, "expand": True, "chomp": True, "content": "\thello\n"}],
             "start": 3, "end": 7, "sub": None},
            {"name": "onbuild", "flags": [], "args": [], "json": False, "heredocs": [], "start": 8, "end": 8,
             "sub": {"name": "env", "flags": [], "args": ["a", '"b c"', "="], "json": False, "heredocs": [],
                     "start": 8, "end": 8, "sub": None}},
        ],
    }


def test_parse(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text(FILE)
    assert door("parse", str(file)).returncode == 0
    file.write_text("FROM a\nCOPPY x y\n")
    assert door("ast", str(file)).returncode == 0
    done = door("parse", str(file))
    assert done.returncode == 3 and not done.stdout
    assert done.stderr.splitlines() == [f"{file}:2: cannot read the instruction COPPY: there is no such one",
                                        "Did you mean COPY?"]


def test_words() -> None:
    items = [{"op": "word", "text": "${a:-x}$b", "env": ["b=1"], "escape": "\\"}, {"op": "words", "text": "$b 'c d'"},
             {"op": "word", "text": "`$b", "env": ["b=1"], "escape": "`"}, {"op": "word", "text": "${"}]
    done = door("words", stdin=json.dumps(items))
    assert done.returncode == 0
    *good, bad = json.loads(done.stdout)
    assert good == [{"result": "x1", "unmatched": ["a"]}, {"result": ["c d"], "unmatched": ["b"]},
                    {"result": "$b", "unmatched": []}]
    assert "missing" in bad["error"]


def test_ignore() -> None:
    items = [{"op": "match", "patterns": ["a", "!a/b"], "path": "a/b"},
             {"op": "match", "patterns": ["a"], "path": "a/c"},
             {"op": "read", "text": "# x\n/a/\n"}, {"op": "match", "patterns": ["["], "path": "a"}]
    *good, bad = json.loads(door("ignore", stdin=json.dumps(items)).stdout)
    assert good == [{"result": False}, {"result": True}, {"result": ["a"]}]
    assert "ignore pattern" in bad["error"]


def test_wrong_use_is_told_in_one_line(tmp_path: Path) -> None:
    for argv, stdin in ((["ast", str(tmp_path / "none")], ""), (["words"], "{"), (["words"], "{}"), (["words"], "[1]"),
                        (["words"], '[{"op":"word"}]'), (["ignore"], '[{"op":"x"}]'), (["words"], "[" * 100_000)):
        done = door(*argv, stdin=stdin)
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
