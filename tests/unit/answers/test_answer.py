"""Answers on disk: what was kept is read, and nothing else is."""

import dataclasses
import marshal
import os
from pathlib import Path

from rootless_builder.answers.answer import Answer, call_of, packed, path_of, read, told_of


def answer(tmp_path: Path) -> Answer:
    return Answer(call=call_of(["build", "."], {"A": "b\udcff"}, str(tmp_path)), code=(("/x.py", 1, 2),),
                  files={"/a": told_of(b"1"), "/b": told_of(None)}, sizes={"/c": 3},
                  context=(".", None, b"told"), memory=b"", scratch=str(tmp_path), store=str(tmp_path),
                  store_mode=(0o40700, 0), used=("/a",),
                  events=(("Notice", {"text": "x", "level": "note"}),), progress="plain", printed="")


def written(tmp_path: Path, data: bytes) -> str:
    os.chmod(tmp_path, 0o700)
    path = tmp_path / "answers"
    path.mkdir(mode=0o700, exist_ok=True)
    (path / "1").write_bytes(data)
    return str(path / "1")


def test_it_is_read_as_it_was_kept(tmp_path: Path) -> None:
    kept = answer(tmp_path)
    assert read(written(tmp_path, packed(kept))) == kept


def test_what_is_none_is_none(tmp_path: Path) -> None:
    data = packed(answer(tmp_path))
    assert read(str(tmp_path / "absent")) is None
    for size in (0, 5, 12, 40, len(data) - 1):
        assert read(written(tmp_path, data[:size])) is None
    assert read(written(tmp_path, data[:-1] + bytes([data[-1] ^ 1]))) is None


def test_one_of_another_iechor_is_none(tmp_path: Path) -> None:
    """That notes more, less, or something else than a mapping."""
    from rootless_builder.answers import answer as module

    for other in ({"call": ()}, {**dataclasses.asdict(answer(tmp_path)), "more": 1}, [1], 7):
        body = marshal.dumps(other)
        assert read(written(tmp_path, module._MAGIC + module._sum(body) + body)) is None


def test_a_call_is_named_by_words_and_folder(tmp_path: Path) -> None:
    here, words = str(tmp_path), ["build", "."]
    one = call_of(words, {"A": "1"}, here)
    assert path_of("/s", one) == path_of("/s", call_of(words, {"A": "2"}, here))
    assert path_of("/s", one) != path_of("/s", call_of(["build", "-q", "."], {"A": "1"}, here))
    assert one != call_of(words, {"A": "2"}, here) and one == call_of(words, {"A": "1", "OLDPWD": "/"}, here)
