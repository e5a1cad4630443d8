"""How errors read."""

import ssl
from pathlib import Path

import pytest

from rootless_builder.cli import report
from rootless_builder.errors import IechorError, IechorfileError
from rootless_builder.span import Span

TEXT = "FROM busybox\n\nRUN one \\\n    two\nCOPY a b\nCMD x\n"


def test_place_excerpt_notes_and_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "iEchorfile").write_text(TEXT)
    error = IechorfileError("cannot do it: no", span=Span("iEchorfile", 3, 4), notes=("last line",), hint="do this")
    report.error(error, (tmp_path / "elsewhere", tmp_path), None)
    assert capsys.readouterr().err == """iechor: iEchorfile:3: cannot do it: no
      1 | FROM busybox
      2 |
 >    3 | RUN one \\
 >    4 |     two
      5 | COPY a b
      6 | CMD x
last line
hint: do this
"""


def test_a_column_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("RNU x\n")
    report.error(IechorfileError("unknown", span=Span("f", 1, 1, 1, 4)), (tmp_path,), None)
    assert " >    1 | RNU x\n        | ^^^\n" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_again_has_no_excerpt(capsys: pytest.CaptureFixture[str]) -> None:
    report.error(IechorfileError("no", span=Span("-", 3, 3)), (Path("/nonexistent"),), None)
    assert capsys.readouterr().err == "iechor: -:3: no\n"


def test_a_long_span_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("RUN <<EOF\n" + "line\n" * 500 + "EOF\n")
    report.error(IechorfileError("no", span=Span("f", 1, 502)), (tmp_path,), None)
    assert capsys.readouterr().err.count("\n") < 25


def test_nothing_in_a_message_reaches_the_terminal_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    report.error(IechorError("cannot \x1b[2J: \x1b]0;x\x07", notes=("\x1b[31m",), hint="\x07"), (), None)
    assert "\x1b" not in capsys.readouterr().err


def test_a_full_disk_is_no_bug() -> None:
    import errno

    from rootless_builder.cli.main import as_known

    for number in (errno.ENOSPC, errno.EDQUOT):
        known = as_known(OSError(number, "full", "/somewhere"))
        assert known is not None and known.exit_code == 13
        assert "/somewhere" in known.message and "prune" in (known.hint or "")
    broken = as_known(OSError(errno.EIO, "broken", "/somewhere"))
    assert broken is not None and broken.exit_code == 14 and "/somewhere" in broken.message
    assert as_known(OSError(errno.ENOTDIR, "ours")) is None


@pytest.mark.parametrize("error", [
    MemoryError(), RuntimeError("can't start new thread"), ssl.SSLError("[CRYPTO] malloc failure (_ssl.c:3063)"),
    ImportError("libssl.so.3: failed to map segment from shared object")])
def test_a_lack_of_memory_is_no_bug(error: Exception) -> None:
    from rootless_builder.cli.main import as_known

    known = as_known(error)
    assert known is not None and "memory" in known.message and "ulimit -v" in (known.hint or "")
    assert as_known(SystemError("error return without exception set")) is None, "nobody limits us"


def test_a_report_of_a_bug_repeats_no_secret(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                             tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words = ["build", "--creds", "ann:hunter22", "--build-arg=TOKEN=abcdef99", "--secret", "id=x,env=Y", "."]
    cause = ValueError("hunter22 abcdef99 https://me:pass5678@example.com/x")
    report.bug(cause, words, show=True)
    written, = tmp_path.iterdir()
    assert written.stat().st_mode & 0o077 == 0
    shown = written.read_text() + capsys.readouterr().err
    assert "ValueError: *** *** https://xxxxx@example.com/x" in shown
    assert not [secret for secret in ("hunter22", "abcdef99", "pass5678") if secret in shown]
