"""One instruction of every kind, long and four times as long: the work grows with the length, not its square."""

import time

import pytest

from rootless_builder.language.parser import parse

BYTES = 500_000
ROUNDS = 3
GROWTH = 8  # of the work for four times the length: 4 if it is linear, 16 if it is quadratic, and some room for noise
NOISE = 0.01  # seconds of CPU that tell nothing


@pytest.mark.parametrize(("first", "line", "last"), [
    ("RUN true \\", "    echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa && \\", "  true"),
    ("RUN true \\", "  echo aaaa bbbb c \\", "  true"),
    ("RUN true \\", "a \\", "x"),
    ("RUN true \\", "\\", "x"),
    ("RUN true \\", "", "x"),
    ("RUN true \\", "#", "x"),
    ("RUN true \\", "a\\\r", "x"),
    ("RUN true \\", "a\\  ", "x"),
    ("RUN true \\", "\\a \\b \\", "x"),
    ("RUN true \\", "é\\", "x"),
    ("RUN true \\", "\u3000a\\", "x"),
    ("RUN cat <<E \\", "    && echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \\", "x\nE"),
    ("ENV a=b \\", '  name="some value" other=some\\ value yet=another \\', "c=d"),
    ("LABEL a=\"\\", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \\", '"'),
    ("COPY \\", "  some/file/somewhere.txt another/file.txt \\", "/x/"),
    ("RUN \\", "  --mount=type=cache,target=/some/where/far/away/and/then/some \\", "x"),
    ("RUN true \\", "# a comment, left out of the instruction, as long as a line may be here", "x"),
    ("RUN [\"a\" \\", ", \"aaaaaaaaaaaaaaaaaaaaaaaa\", \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\" \\", "]"),
    ("RUN <<E", "a line of a heredoc that goes on and on, as they do sometimes", "E"),
    ("RUN <<-E", "\t", "E"),
    ("RUN <<E", "E ", "E"),
])
def test_four_times_the_length_is_no_more_than_four_times_the_work(first: str, line: str, last: str) -> None:
    count = BYTES // len(f"{line}\n".encode())
    short, long = (f"FROM a\n{first}\n" + f"{line}\n" * (count * times) + last + "\n" for times in (1, 4))
    costs = [(cost(short), cost(long)) for _ in range(ROUNDS)]
    assert min(cost for _, cost in costs) < GROWTH * max(NOISE, min(cost for cost, _ in costs))


def cost(text: str) -> float:
    """Seconds of CPU."""
    began = time.process_time()
    parse(text, file="f")
    return time.process_time() - began
