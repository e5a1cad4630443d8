"""Pid 1 in C (native/pid1.c) and in Python (follower.py): an installation without a compiler does the same."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless_builder.sandbox import plan
from rootless_builder.sandbox.failures import ExecFailed
from rootless_builder.sandbox.plan import Op, Step
from rootless_builder.sandbox.spec import Limit

from .conftest import Box, Result

ROOT = Path(__file__).resolve().parents[2]
SEEN = ("grep -E '^(Umask|Uid|Gid|Groups|Sig[BIC]|Cap|NoNewPrivs|Seccomp:)' /proc/self/status; ls /proc/self/fd; pwd; "
        "env; ulimit -a; awk '{print $1, $4, $5, $6, $7}' /proc/self/stat; cat /proc/1/comm")


def runs(box: Box) -> Iterator[Result]:
    (box.root / "bin/text").write_text("no program")
    (box.root / "bin/lost").write_text("#!/no/such\n")
    for path in ("bin/text", "bin/lost"):
        (box.root / path).chmod(0o755)
    limits = (Limit(name="nofile", soft=111, hard=222), Limit(name="core", soft=0, hard=0))
    for init in (False, True):
        yield box.run("sh", "-c", f"{SEEN}; cat >&2", init=init, stdin="word\n", limits=limits, cwd="/tmp", timeout=60)
        yield box.run("sh", "-c", SEEN, init=init, tty=True, size=(3, 4), env=("PATH=/bin", "A=b=c"), timeout=60)
        yield box.run("sh", "-c", SEEN, init=init, user="app", no_new_privileges=True, confined=False)
        yield box.run("sh", "-c", "kill -TERM $$", init=init, capabilities=())
        yield box.run("sh", "-c", "sleep 0 & exit 7", init=init, cwd="/made/here", make_cwd=True)
        for argv in (("nobody-knows",), ("/bin/text",), ("lost",), ("/tmp",), ()):
            yield box.run(*argv, init=init)
        yield box.run("true", init=init, cwd="/no/such")
        yield box.run("true", init=init, user="stranger")
        yield box.run("true", init=init, limits=(Limit(name="nofile", soft=1 << 30, hard=1 << 30),))


def test_both_start_a_command_the_same(fresh: Box) -> None:
    fresh.sh("true", cwd="/made/here", make_cwd=True)  # after which nothing more has to be made
    in_c = list(runs(fresh))
    fresh.close()
    package = fresh.person.home / "copy"
    shutil.copytree(ROOT / "rootless_builder", package / "rootless_builder",
                    ignore=shutil.ignore_patterns("_fakeroot*.so", "__pycache__"))
    fresh.env = {"PYTHONPATH": str(package)}
    for one, other in zip(runs(fresh), in_c, strict=True):
        assert one == other
    reaped = in_c[len(in_c) // 2:]
    assert (reaped[0].code, reaped[0].err, reaped[3].code, reaped[4].code) == (0, "word\n", 143, 7)


@pytest.mark.parametrize("number, said", [(2, b"gone: No such file or directory"), (13, b"")])
def test_a_plan_comes_back_as_it_was_written(number: int, said: bytes) -> None:
    steps = (Step(op=Op.ENTER, a=-1, b=1 << 40, data=b"/a\0",
                  failures=((13, b""), plan.failure(ExecFailed(f"gone: {plan.CAUSE}")))),
             Step(op=Op.EXEC, data=plan.program(["/b"], ["b", ""], ["K=\udcff"])))
    first, last = plan.unpack(plan.pack(steps))
    assert (first.op, first.a, first.b, first.data) == (Op.ENTER, -1, 1 << 40, b"/a\0")
    assert said in plan.explained(first, number) and bool(said) == bool(plan.explained(first, number))
    assert plan.words(last.data) == ([b"/b"], [b"b", b""], [b"K=\xff"])
    assert b"bug of iechor" in plan.explained(last, 5)
    with pytest.raises(ExecFailed, match="NUL"):
        plan.program(["/b"], ["a\0b"], [])
