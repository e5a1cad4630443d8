"""The commands on the host itself: `unshare`, `bootstrap`, `doctor`."""

import argparse

from .options import Commands, Parser, add_userns, command

UNSHARE = (
    "Runs a command of this machine as root sees it: it is uid 0, may change owners and modes, make device nodes, "
    "become other users, mount and chroot. What it creates is the user's own on disk; owners last as long as the "
    "command, or with --table from one call to the next. Processes that it leaves behind end with it. Without a "
    "command, a shell. The exit code is the command's, 128+N when signal N ended it, 127 and 126 when it is missing or "
    "cannot be started, and 125 when iechor itself failed."
)
BOOTSTRAP = (
    "Makes a base image from this machine's own Debian archive with mmdebstrap, as a plain user. What the machine "
    "needs to reach its archive and package index (apt settings, certificates, pip settings) goes into the image, so "
    "that RUN reaches them likewise."
)
DOCTOR = (
    "Tries what building and running need of this machine. For each it tells what was found and what it means, and "
    "where something is missing the one command an administrator would run. The exit code is 0 when images can be "
    "built and run with all their owners, else 1."
)


def add_unshare(commands: "Commands[Parser]") -> None:
    parser = command(commands, "unshare", "run a command of this machine as root sees it", "do_host:unshare",
                     takes="[COMMAND [ARGUMENT...]]", description=UNSHARE)
    parser.add_argument("arguments", metavar="COMMAND", nargs=argparse.REMAINDER,
                        help="the command and its arguments (default: $SHELL, else sh)")
    parser.add_argument("--table", metavar="FILE", default=None,
                        help="keep the owners of files on the file system of the current folder in FILE: read at the "
                             "start where it exists, written at the end")
    add_userns(parser)


def add_bootstrap(commands: "Commands[Parser]") -> None:
    parser = command(commands, "bootstrap", "make a base image from this machine's Debian archive",
                     "do_host:bootstrap", takes="debian:SUITE", description=BOOTSTRAP)
    parser.add_argument("base", metavar="debian:SUITE", help="debian:bookworm, debian:trixie, …")
    parser.add_argument("-t", "--tag", metavar="NAME[:TAG]", action="append", default=[],
                        help="a name for the image (repeatable; default: debian:SUITE)")
    parser.add_argument("--variant", metavar="NAME", default="minbase",
                        help="which packages, as mmdebstrap names sets of them (default: minbase)")
    parser.add_argument("--include", metavar="PACKAGE[,PACKAGE...]", action="append", default=[],
                        help="further packages (repeatable)")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but the image's id")
    add_userns(parser)


def add_doctor(commands: "Commands[Parser]") -> None:
    doctor = command(commands, "doctor", "explain what this host allows", "do_host:doctor", description=DOCTOR)
    doctor.add_argument("--format", "-f", metavar="FORMAT", default="", help='"json", or a template')
    add_userns(doctor)


def add_all(commands: "Commands[Parser]") -> None:
    add_unshare(commands)
    add_bootstrap(commands)
    add_doctor(commands)
