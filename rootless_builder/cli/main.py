"""The front door: argv → typed request → flow → exit code. Only cli/ reads argv, the environment, cwd and the clock.

Every way out, and what the user sees of it:
    a result                      on standard output; exit code 0, or the application's for run and exec
    an IechorError                message, excerpt, notes, hint on standard error; its own exit code (125 for run, exec)
    SIGINT, SIGTERM, SIGHUP       one line; 128 + signal, after every context manager has cleaned up
    a closed pipe                 nothing; 141, as a program killed by SIGPIPE
    anything else                 one line that says it is a bug and where its traceback was saved; 1
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from _signal import SIG_IGN, getsignal, signal  # type: ignore[import-not-found]  # of which signal makes enums

from ..errors import DiskFull, IechorError, Interrupted, StoreError

TYPE_CHECKING = False  # typing and what it imports would cost a call that has nothing to do a quarter more
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import NoReturn

    from .call import Call

OF_THE_APPLICATION = ("run", "exec", "unshare")
FAILED_BEFORE_IT_RAN = 125
SIGHUP, SIGINT, SIGPIPE, SIGTERM = 1, 2, 13, 15  # on every Linux
_NO_MEMORY = (b"iechor: cannot go on: there is not enough memory\n"
              b"hint: raise the limit (ulimit -v, or that of the job)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The whole life of a command; returns its exit code and raises nothing."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or "-D" in words[:2]
    call = None
    _open_closed_streams()
    gc.set_threshold(50_000)  # what we make is seldom garbage: the collector would only look at it again and again
    try:
        _raise_on_signals()
        if words[:1] == ["build"]:
            from .again import again

            if (code := again(words)) is not None:
                return code
        call = parse(words)
        debug = call.options.debug
        if getattr(call.options, "command", "") not in OF_THE_APPLICATION:  # those hand the caller's limit on
            _leave_no_core()
        code = handler(call.options.handler)(call)
        sys.stdout.flush()
        return code
    except BaseException as error:  # noqa: BLE001 the door: nothing gets past it, not even KeyboardInterrupt
        _ignore_signals()
        return ended_by(error, call, words, debug=debug)


def command() -> NoReturn:
    """`iechor`: `main`, and the end of the process without the interpreter taking itself apart, which for a short
    command is a tenth of all. What has to end well has ended in main, but for threads, which are waited for as ever.
    """
    code = main()
    _ignore_signals()
    if sys.gettrace() is not None or sys.getprofile() is not None:
        sys.exit(code)  # somebody wants to hear of the end
    if "threading" in sys.modules:
        import threading

        for thread in threading.enumerate():
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            pass
    os._exit(code)


def parse(words: Sequence[str]) -> Call:
    """Errors: UsageError, UnsupportedError. `--help` prints and raises SystemExit."""
    from .argv import normalise
    from .call import Call
    from .parser import get_parser

    parser = get_parser(words)
    options = parser.parse_args(normalise(parser, words))
    if not hasattr(options, "handler") or options.handler is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    return Call(options=options, environ=dict(os.environ), argv=tuple(words))


def handler(name: str) -> Callable[[Call], int]:
    """"module:function" below this package. Imported now, so that a command pays for no other."""
    import importlib

    module, _, function = name.partition(":")
    found: Callable[[Call], int] = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    return found


def ended_by(error: BaseException, call: Call | None, words: Sequence[str], *, debug: bool) -> int:
    """Says what ended the command, as the module's docstring lists it, and returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError):
        return _pipe_closed()
    if isinstance(error, MemoryError):
        error.__traceback__ = error.__context__ = None  # and all that the functions held which it ended
    try:
        known = as_known(error)
        if isinstance(known, Interrupted) and not (known.notes or debug):
            # An import may be torn in two: of what is not loaded yet nothing is sure to work.
            print(f"iechor: {known.message}", file=sys.stderr, flush=True)
            return known.exit_code

        from . import report

        if known is None:
            report.bug(error, words, show=debug)
            return _code(IechorError.exit_code, words)
        report.error(known, call.places() if call else (), error if debug else None)
        # ExecFailed has a status: 126 or 127, as a shell says it
        code = getattr(known, "status", known.exit_code)
        return code if isinstance(known, Interrupted) else _code(code, words)
    except BrokenPipeError:
        return _pipe_closed()
    except MemoryError:  # not even for that
        os.write(2, _NO_MEMORY)
        return _code(IechorError.exit_code, words)


def as_known(error: BaseException) -> IechorError | None:
    """`error` as an error a user can meet, None for a bug."""
    if isinstance(error, IechorError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(SIGINT)
    if _is_lack_of_memory(error):
        return IechorError("cannot go on: there is not enough memory, or no process more is allowed",
                           hint="raise the limit (ulimit -v, ulimit -u, or that of the job), or take fewer --jobs")
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return IechorError("cannot go on: too many open files; a RUN needs one for each layer below it",
                           hint="raise the limit: ulimit -n 1024")
    if error.errno == errno.ENOMEM:
        return IechorError(f"cannot go on: {error.strerror}", hint="raise the memory limit (ulimit -v, or the job's)")
    where = f" at {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"cannot write{where}: {error.strerror}",
                        hint="free some space (iechor prune), or name a larger disk with --store and --scratch")
    if error.errno in (errno.EIO, errno.ESTALE, errno.EROFS):
        return StoreError(f"cannot read or write{where}: {error.strerror}",
                          hint="a disk or a network file system fails: see dmesg, or name another with --store and "
                               "--scratch; then iechor check")
    return None


def _is_lack_of_memory(error: BaseException) -> bool:
    """Not all that gets none says so plainly: CPython's import may return NULL without an error, which it then calls a
    SystemError; OpenSSL and ld.so have words of their own."""
    if isinstance(error, SystemError):
        import resource

        return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("can't start new thread", "malloc failure", "failed to map segment"))


def _code(code: int, words: Sequence[str]) -> int:
    """run and exec keep other codes for the application: all our errors are 125 there, but for 126 and 127."""
    rest = iter(words)
    for word in rest:
        if word in ("--store", "--shared-store", "--scratch", "--config"):
            next(rest, None)
        elif not word.startswith("-") and word != "container":
            return FAILED_BEFORE_IT_RAN if word in OF_THE_APPLICATION and code not in (126, 127) else code
    return code


def _open_closed_streams() -> None:
    """What the caller has closed (`>&-`) is /dev/null: else a file of the store would get that number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - as long as we live


def _leave_no_core() -> None:
    """A password or a secret in our memory is not written into a core file, should we crash (setrlimit(2))."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _raise_on_signals() -> None:
    """Signals unwind the stack like any error: leases are given back, half-written files removed, children killed."""

    def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
        raise Interrupted(number)

    for number in (SIGHUP, SIGINT, SIGTERM):
        if getsignal(number) is not SIG_IGN:  # nohup stays nohup
            signal(number, interrupt)


def _ignore_signals() -> None:
    """From here on we only say why we end; a second Ctrl-C must not tear the message."""
    for number in (SIGHUP, SIGINT, SIGTERM):
        signal(number, SIG_IGN)


def _pipe_closed() -> int:
    """Whoever read us has gone. Later writes, and the flush at exit, go nowhere instead of raising again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return 128 + SIGPIPE


if __name__ == "__main__":
    command()
