"""Stages side by side: what overlaps, what is done once, what an error or a Ctrl-C ends, and that no order shows."""

import http.server
import json
import os
import re
import signal
import subprocess
import threading

from tests.conftest import Person
from tests.flows.running import until
from tests.flows.test_build import build, config, context
from tests.registry_server import Registry

SHARED = "RUN --mount=type=cache,target=/c,id=meet"
MEET = f"{SHARED} touch /c/%s; n=0; while test ! -e /c/%s; do n=$((n + 1)); test $n -lt 300; sleep 0.1; done"


def events(person: Person, *options: str, code: int = 0) -> list[dict[str, object]]:
    shown = person.iechor("build", "--progress=rawjson", "-t", "x", *options, person.home / "c", code=code).stderr
    return [json.loads(line) for line in shown.splitlines() if line.startswith("{")]


def test_stages_run_at_the_same_time(anyone: Person) -> None:
    """Each waits for what another one does."""
    shown = build(anyone, f"""\
FROM busybox AS a
{MEET % ("a", "b")}
RUN echo a > /a
FROM busybox AS b
{MEET % ("b", "c")}
FROM busybox AS c
{MEET % ("c", "last")}
FROM busybox
{MEET % ("last", "a")}
COPY --from=a /a /
COPY --from=b /etc/passwd /b
COPY --from=c /etc/passwd /c
""", "--jobs=0")
    assert "CANCELED" not in shown


def test_one_job_goes_through_the_file(user: Person) -> None:
    context(user, "FROM busybox AS a\nRUN echo one\nFROM busybox AS b\nRUN echo two\n"
                  "FROM a\nCOPY --from=b /bin/sh /x\n")
    open_steps: set[object] = set()
    started = []
    for event in events(user, "--jobs=1"):
        if event["event"] == "StepStarted":
            assert not open_steps
            open_steps.add(event["step"])
            started.append((event["step"], event["stage"], event["number"]))
        elif event["event"] in ("StepFinished", "StepCached"):
            open_steps.remove(event["step"])
    assert started == [(1, "a", 1), (2, "a", 2), (3, "b", 1), (4, "b", 2), (5, "stage-2", 2)]
    assert "cannot use --jobs" in user.iechor("build", "--jobs=-1", user.home / "c", code=2).stderr


MANY = """\
FROM busybox AS one
RUN echo 1 > /f && echo "said by one"
COPY a /
FROM busybox AS two
WORKDIR /w
RUN echo 2 > f; for n in 1 2 3 4 5 6 7 8 9; do echo -n "part $n of "; echo "a line of two"; done
FROM one AS three
RUN echo 3 > /g; for n in 1 2 3 4 5 6 7 8 9; do echo -n "part $n of "; echo "a line of three"; done
FROM busybox
COPY --from=three /f /g /a /
COPY --from=two /w /w
COPY b .
"""


def test_no_order_shows(user: Person) -> None:
    """The same image, keys and numbers, whatever runs first; and no line of output is torn."""
    context(user, MANY, a="a", b="b")
    seen = set()
    for jobs in ("1", "2", "0", "8"):
        found = events(user, f"--jobs={jobs}", "--source-date-epoch=1700000000", "--no-cache")
        steps = sorted((str(one["step"]), str(one["text"])) for one in found if one["event"] == "StepStarted")
        layers = sorted((str(one["step"]), str(one["diff_id"])) for one in found if one["event"] == "LayerWritten")
        seen.add((str(config(user)["Id"]), tuple(steps), tuple(layers)))
    assert len(seen) == 1
    assert {one["event"] for one in events(user, "--source-date-epoch=1700000000")} & {"StepMissed"} == set()
    shown = user.iechor("build", "--progress=plain", "--no-cache", user.home / "c").stderr
    for stage in ("two", "three"):
        assert len(re.findall(rf"^#\d+ [\d.]+ part \d of a line of {stage}$", shown, re.MULTILINE)) == 9


def test_a_failure_ends_the_others(anyone: Person) -> None:
    name = f"4242.{os.getpid()}"
    shown = build(anyone, f"""\
FROM busybox AS good
{SHARED} touch /c/good; sleep {name}
FROM busybox AS bad
{SHARED} while test ! -e /c/good; do sleep 0.1; done; echo "the reason" >&2; exit 7
FROM busybox AS waiting
COPY --from=good /etc/passwd /
FROM busybox
COPY --from=waiting /etc/passwd /a
COPY --from=bad /etc/passwd /b
""", "--jobs=4", code=6)
    assert shown.count("cannot ") == 1 and "it ended with exit code 7" in shown and "the reason" in shown
    assert re.findall(r"^#(\d+) CANCELED", shown, re.MULTILINE) == ["2"]
    assert not [one for one in anyone.processes() if name in " ".join(one.cmdline())]
    assert left_over(anyone) == []
    assert len(list((anyone.scratch / "logs").iterdir())) == 1  # of the step that failed


def left_over(person: Person) -> list[str]:
    """Half-written things: in the store, and root file systems."""
    return [str(path) for folder in (person.store / "tmp", *person.scratch.glob("*/run"), *person.scratch.glob("*/tmp"))
            if folder.is_dir() for path in folder.iterdir()]


def test_an_interrupt_ends_everything(anyone: Person) -> None:
    name = f"4243.{os.getpid()}"
    text = "".join(f"FROM busybox AS s{n}\nRUN echo {n} started; sleep {name}\n" for n in range(3))
    folder = context(anyone, text + "FROM busybox\n" + "".join(
        f"COPY --from=s{n} /etc/passwd /{n}\n" for n in range(3)))
    process = anyone.start(*anyone.command("build", "--progress=plain", folder), stderr=subprocess.PIPE)
    assert process.stderr is not None
    started = ""
    while started.count(" started\n") < 3:
        line = process.stderr.readline()
        assert line, started
        started += line
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in shown and "cannot" not in shown, shown
    until(lambda: not [one for one in anyone.processes() if name in " ".join(one.cmdline())])
    assert left_over(anyone) == []


def test_equal_steps_are_done_once(user: Person) -> None:
    text = "".join(f"""\
FROM busybox AS s{n}
RUN --mount=type=cache,target=/c echo once >> /c/log; sleep 0.5
""" for n in range(4)) + """\
FROM busybox
RUN --mount=type=cache,target=/c --mount=from=s0,target=/s0 --mount=from=s1,target=/s1 --mount=from=s2,target=/s2 \\
    --mount=from=s3,target=/s3 test "$(cat /c/log)" = once; rm /c/log
"""
    for options in ((), ("--no-cache",)):
        shown = build(user, text, "--jobs=4", *options)
        assert len(re.findall(r"^#\d+ CACHED", shown, re.MULTILINE)) == 3


def test_a_base_is_pulled_once(user: Person, registry: Registry) -> None:
    before = len(registry.requests())
    build(user, "FROM busybox AS a\nRUN echo a > /f\nFROM docker.io/library/busybox:latest AS b\nRUN echo b > /f\n"
                "FROM scratch\nCOPY --from=a /f /a\nCOPY --from=b /f /b\nCOPY --from=busybox /bin/sh /c\n", "--jobs=0")
    asked = [one.path for one in registry.requests()[before:] if one.method == "GET" and "/blobs/" in one.path]
    assert asked and len(asked) == len(set(asked))


def test_locked_and_private_caches_between_stages(user: Person) -> None:
    locked = "--mount=type=cache,target=/c,id=alone,sharing=locked"
    private = "--mount=type=cache,target=/p,id=own,sharing=private"
    text = "".join(f"""\
FROM busybox AS l{n}
RUN {locked} mkdir /c/held && sleep 0.2 && rmdir /c/held && echo {n}
FROM busybox AS p{n}
{SHARED},sharing=shared {private} touch /p/{n} /c/{n} && while test $(ls /c | wc -l) -lt 3; do sleep 0.1; done && \\
    test "$(ls /p)" = {n}
""".replace(f"{SHARED},sharing=shared", SHARED) for n in range(3)) + "FROM busybox\n" + "".join(
        f"COPY --from=l{n} /etc/passwd /l{n}\nCOPY --from=p{n} /etc/passwd /p{n}\n" for n in range(3))
    build(user, text, "--jobs=0")


def test_what_comes_later_is_read_ahead(user: Person) -> None:
    """The command waits for what the step after it fetches."""
    asked = threading.Event()

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"later")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        folder = context(user, "FROM busybox\nRUN while test ! -e /v/go; do sleep 0.1; done\n"
                               f"ADD http://127.0.0.1:{server.server_port}/later /\nRUN test $(cat /later) = later\n")
        volume = user.write("v/file", "").parent
        process = user.start(*user.command("build", "--progress=plain", "-v", f"{volume}:/v", folder),
                             stderr=subprocess.PIPE)
        assert asked.wait(60)
        (volume / "go").touch()
        shown = process.communicate(timeout=60)[1]
        server.shutdown()
    assert process.returncode == 0, shown


def test_onbuild_brings_a_stage_in(user: Person) -> None:
    build(user, "FROM busybox\nONBUILD COPY --from=tools /t /\nONBUILD RUN cat /t\n", "-t", "trigger")
    shown = build(user, "FROM busybox AS tools\nRUN sleep 0.2; echo from tools > /t\n"
                        "FROM busybox AS unneeded\nRUN exit 1\nFROM trigger\nRUN cat /t\n", "--jobs=4", "--pull=never")
    assert len(re.findall(r"^#\d+ [\d.]+ from tools$", shown, re.MULTILINE)) == 2 and "unneeded" not in shown
