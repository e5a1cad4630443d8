"""10 MB of one continued instruction, of every kind: no step may cost the square of the length."""

import time

import pytest

from rootless_builder.language.parser import parse

MEGABYTES = 10


@pytest.mark.parametrize(("first", "line", "last"), [
    ("RUN true \\", "    echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa && \\", "  true"),
    ("RUN cat <<E \\", "    && echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \\", "x\nE"),
    ("ENV a=b \\", '  name="some value" other=some\\ value yet=another \\', "c=d"),
    ("LABEL a=\"\\", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \\", '"'),
    ("COPY \\", "  some/file/somewhere.txt another/file.txt \\", "/x/"),
    ("RUN \\", "  --mount=type=cache,target=/some/where/far/away/and/then/some \\", "x"),
    ("RUN true \\", "# a comment, left out of the instruction, as long as a line may be here", "x"),
    ("RUN [\"a\" \\", ", \"aaaaaaaaaaaaaaaaaaaaaaaa\", \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\" \\", "]"),
    ("RUN <<E", "a line of a heredoc that goes on and on, as they do sometimes", "E"),
])
def test_ten_megabytes(first: str, line: str, last: str) -> None:
    count = MEGABYTES * 1_000_000 // (len(line) + 1)
    text = f"FROM a\n{first}\n" + f"{line}\n" * count + last + "\n"
    started = time.monotonic()
    parse(text, file="f")
    assert time.monotonic() - started < 10  # a second or two on an idle machine; a quadratic step takes minutes
