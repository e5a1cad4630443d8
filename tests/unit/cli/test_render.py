"""Events as a log, as JSON and on a terminal."""

import contextlib
import io
import json
import os
import pty
import re
import time

from rootless_builder import events
from rootless_builder.cli.render import showing

STEPS = [
    events.StepStarted(step=1, stage="0", number=1, total=2, text="FROM busybox"),
    events.Transfer(verb="pulling", name="busybox", digest="sha256:0123456789abcdef", done=0, total=2_000_000),
    events.Transfer(verb="pulling", name="busybox", digest="sha256:0123456789abcdef", done=2_000_000, total=2_000_000),
    events.StepFinished(step=1, seconds=0.25),
    events.StepStarted(step=2, stage="build", number=2, total=2, text="RUN make \\\n    all"),
    events.StepOutput(step=2, stream=1, data=b"\x1b[31mred\x1b[0m\nha"),
    events.StepOutput(step=2, stream=2, data=b"warning\n"),
    events.StepOutput(step=2, stream=1, data=b"lf"),
    events.StepFinished(step=2, seconds=1.2, effect="+3 files, 1.0 MB"),
    events.Notice(text="said once"), events.Notice(text="said once"),
    events.StepStarted(step=3, stage="2", number=2, total=3, text="COPY a b"),
    events.StepCached(step=3, key="k"),
    events.ImageTagged(name="test:latest", image_id="sha256:00"),
    events.ImageBuilt(image_id="sha256:00", manifest="sha256:11", seconds=2.0),
]


def shown(progress: str, *, told: list[events.Event] = STEPS, **environ: str) -> str:
    out = io.StringIO()
    with showing(progress, out, environ) as emit:
        for event in told:
            emit(event)
    return out.getvalue()


def test_plain_reads_as_buildkits() -> None:
    text = shown("plain")
    assert "#1 [1/2] FROM busybox\n" in text
    assert "#1 DONE 0.2s\n\n#2 [build 2/2] RUN make \\ all\n" in text
    assert "red\n" in text and "\x1b" not in text
    lines = [line.split(" ", 2) for line in text.splitlines() if line.startswith("#2 0.")]
    assert [line[2] for line in lines] == ["red", "warning", "half"]
    assert "#2 DONE 1.2s +3 files, 1.0 MB\n" in text
    assert "#3 [stage-2 2/3] COPY a b\n#3 CACHED\n" in text
    assert text.count("said once") == 1
    assert text.count("pulling busybox") == 2
    assert "2MB / 2MB done" in text
    assert text.endswith("tagged test:latest\nbuilt sha256:00 in 2.0s\n")


def test_where_there_is_no_terminal_auto_is_plain() -> None:
    assert shown("auto", TERM="xterm") == shown("plain")


def test_quiet_says_nothing() -> None:
    assert shown("quiet") == shown("none") == ""


def test_rawjson_is_an_object_a_line() -> None:
    told = [json.loads(line) for line in shown("rawjson").splitlines()]
    assert [one["event"] for one in told] == [type(event).__name__ for event in STEPS]
    assert told[0] | {"time": 0} == {"event": "StepStarted", "time": 0, "step": 1, "stage": "0", "number": 1,
                                     "total": 2, "text": "FROM busybox"}
    assert told[6]["data"] == "d2FybmluZwo="


def on_a_terminal(told: list[events.Event], **environ: str) -> str:
    """What arrives at the terminal."""
    master, slave = pty.openpty()
    with open(slave, "w", buffering=1) as out, showing("auto", out, {"TERM": "xterm", **environ}) as emit:
        for event in told:
            emit(event)
        time.sleep(0.3)  # the live region is drawn by a clock of its own
    return drained(master)


def drained(master: int) -> str:
    """All that has arrived at the terminal's other side, which is closed with it."""
    data = b""
    with contextlib.suppress(OSError):  # EIO: the side that wrote is closed, and everything was read
        while block := os.read(master, 65536):
            data += block
    os.close(master)
    return data.decode()


def test_on_a_terminal_the_running_step_shows_its_last_lines() -> None:
    text = on_a_terminal(STEPS[:6])
    assert "RUN make" in text
    assert "red" in text
    assert "\x1b[31m" not in text  # the step's own colour
    assert "\x1b[?25h" in text  # the cursor is back


def test_a_finished_step_stays_and_no_color_is_honoured() -> None:
    text = on_a_terminal(STEPS, NO_COLOR="1")
    plain = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text)
    assert "[build 2/2] RUN make \\ all  1.2s  +3 files, 1.0 MB" in plain
    assert "CACHED" in text
    assert "\x1b[34m" not in text


def test_an_interrupted_step_gives_the_terminal_back() -> None:
    out_master, slave = pty.openpty()
    with open(slave, "w", buffering=1) as out:
        try:
            with showing("tty", out, {"TERM": "xterm"}) as emit:
                emit(STEPS[0])
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert "\x1b[?25h" in drained(out_master)
