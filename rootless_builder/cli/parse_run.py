"""`iechor run` and the commands on what it leaves: the flags of docker and podman."""

import argparse

from .options import Commands, Parser, add_later, add_platform, add_userns, command

RUN = (
    "Runs a command in a container made from an image. Changes to its files are thrown away when it is removed; the "
    "image never changes. The exit code is the application's, 128+N when signal N ended it, 127 and 126 when the "
    "command is missing or cannot be started, and 125 when iechor itself failed."
)
EXEC = "Runs a further command in a running container. Exit codes are those of iechor-run(1)."

RUN_LATER = {
    "-P/--publish-all": "", "--mount": "SPEC", "--env-host": "", "--dns": "ADDRESS",
    "--device": "DEVICE", "--gpus": "GPUS", "--cap-add": "CAP", "--cap-drop": "CAP", "--privileged": "",
    "-m/--memory": "SIZE", "--cpus": "N", "--pids-limit": "N", "--shm-size": "SIZE",
    "--restart": "POLICY", "--health-cmd": "COMMAND", "--volumes-from": "CONTAINER", "--ip": "ADDRESS",
    "--pid": "MODE", "--ipc": "MODE", "--uts": "MODE", "--umask": "MODE", "--tz": "ZONE", "--group-add": "GROUP",
    "--sysctl": "KEY=VALUE", "--rootfs": "", "--detach-keys": "KEYS", "--log-driver": "DRIVER",
    "-a/--attach": "STREAM", "--link": "CONTAINER", "--runtime": "NAME",
}


def _add_process(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-e", "--env", metavar="NAME[=VALUE]", action="append", default=[],
                        help="an environment variable; without a value, that of the caller (repeatable)")
    parser.add_argument("--env-file", metavar="FILE", action="append", default=[],
                        help="a file of NAME=VALUE lines (repeatable)")
    parser.add_argument("-w", "--workdir", metavar="DIR", help="the working folder inside")
    parser.add_argument("-u", "--user", metavar="USER[:GROUP]", help="name or number, looked up in the image")
    parser.add_argument("-i", "--interactive", action="store_true", help="keep standard input open")
    parser.add_argument("-t", "--tty", action="store_true", help="give the command a terminal")
    parser.add_argument("-d", "--detach", action="store_true", help="leave it running and print its id")


def add_run(commands: "Commands[Parser]") -> None:
    parser = command(commands, "run", "run a command in a new container", "do_run:run",
                     takes="IMAGE [COMMAND [ARGUMENT...]]", description=RUN)
    parser.add_argument("image", metavar="IMAGE", help="a name or an id; pulled when it is not in the store")
    parser.add_argument("arguments", metavar="COMMAND", nargs=argparse.REMAINDER,
                        help="instead of the image's CMD")
    _add_process(parser)
    parser.add_argument("--entrypoint", metavar="COMMAND",
                        help='instead of the image\'s ENTRYPOINT: a word, a JSON list, or "" for none')
    parser.add_argument("--name", metavar="NAME", help="a name for the container")
    parser.add_argument("--hostname", metavar="NAME", help="the host name inside")
    parser.add_argument("--rm", action="store_true", help="remove the container when it ends")
    parser.add_argument("--init", action="store_true", help="put a reaper of zombies in as pid 1")
    parser.add_argument("--read-only", action="store_true", help="the root file system cannot be written to")
    parser.add_argument("--tmpfs", metavar="DIR[:OPTIONS]", action="append", default=[], help="an empty tmpfs")
    parser.add_argument("-v", "--volume", metavar="SOURCE:TARGET[:ro]", action="append", default=[],
                        help="a folder or file of the host (repeatable)")
    parser.add_argument("-p", "--publish", metavar="[[IP:]HOST:]PORT[/tcp]", action="append", default=[],
                        help="a port of the host that leads to one inside; the container then has a network of its "
                             "own (repeatable)")
    parser.add_argument("--network", "--net", choices=("host", "none", "private", "default", "bridge"),
                        default="default",
                        help="host, none, or private; bridge means private (default: host, private with -p)")
    parser.add_argument("--add-host", metavar="NAME:IP", action="append", default=[], help="a line for /etc/hosts")
    parser.add_argument("-l", "--label", metavar="KEY=VALUE", action="append", default=[], help="a label")
    parser.add_argument("--stop-signal", metavar="SIGNAL", help="what iechor stop sends first")
    parser.add_argument("--security-opt", metavar="OPTION", action="append", default=[],
                        help="no-new-privileges: set-user-ID programs gain nothing; seccomp=unconfined: no system call "
                             "is refused (docs/security.md) (repeatable)")
    parser.add_argument("--pull", choices=("always", "missing", "never"), default="missing", metavar="POLICY",
                        help="when to ask the registry: missing (default), never, or always, which --pull alone means")
    parser.add_argument("--cidfile", metavar="FILE", help="write the container's id to FILE")
    parser.add_argument("--ulimit", metavar="NAME=SOFT[:HARD]", action="append", default=[], help="a resource limit")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=None, help="end it after this time")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress of a pull")
    add_platform(parser)
    add_userns(parser)
    add_later(parser, RUN_LATER)


def add_exec(commands: "Commands[Parser]") -> None:
    parser = command(commands, "exec", "run a command in a running container", "do_run:execute",
                     takes="CONTAINER COMMAND [ARGUMENT...]", description=EXEC)
    parser.add_argument("container", metavar="CONTAINER", help="a name, or an id or the start of one")
    parser.add_argument("arguments", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command and its arguments")
    _add_process(parser)
    add_later(parser, {"--privileged": "", "--detach-keys": "KEYS"})


def add_ps(commands: "Commands[Parser]", name: str = "ps", aliases: tuple[str, ...] = ()) -> None:
    parser = command(commands, name, "list containers", "do_run:ps", aliases=aliases,
                     description="Lists the running containers, newest first.")
    parser.add_argument("-a", "--all", action="store_true", help="also those that have ended")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    parser.add_argument("--format", metavar="FORMAT", default="", help='"json", or a template such as "{{.ID}}"')
    add_later(parser, {"-f/--filter": "KEY=VALUE", "-l/--latest": "", "-n/--last": "N", "-s/--size": ""})


def add_logs(commands: "Commands[Parser]") -> None:
    parser = command(commands, "logs", "show what a container wrote", "do_run:logs", takes="CONTAINER")
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    parser.add_argument("-n", "--tail", metavar="N", default="all", help="only the last N lines")
    parser.add_argument("--since", metavar="TIME", help="only from this time on: RFC 3339, seconds since the epoch, "
                                                        'or an age such as "10m"')
    parser.add_argument("-t", "--timestamps", action="store_true", help="put the time before each line")
    add_later(parser, {"--until": "TIME", "--details": ""})


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="a name, or an id or the start of one")


def add_ending(commands: "Commands[Parser]") -> None:
    stop = command(commands, "stop", "ask containers to end, then make them", "do_run:stop", takes="CONTAINER...")
    _add_names(stop)
    stop.add_argument("-t", "--time", "--timeout", metavar="SECONDS", type=float, default=10.0,
                      help="how long to wait before SIGKILL (default: 10)")
    stop.add_argument("-s", "--signal", metavar="SIGNAL", default=None,
                      help="what to send first (default: the image's STOPSIGNAL, else SIGTERM)")
    kill = command(commands, "kill", "send containers a signal", "do_run:kill", takes="CONTAINER...")
    _add_names(kill)
    kill.add_argument("-s", "--signal", metavar="SIGNAL", default="KILL", help="name or number (default: KILL)")
    wait = command(commands, "wait", "wait until containers end and print their exit codes", "do_run:wait",
                   takes="CONTAINER...")
    _add_names(wait)


def add_rm(commands: "Commands[Parser]") -> None:
    parser = command(commands, "rm", "remove containers", "do_run:rm", takes="CONTAINER...")
    _add_names(parser)
    parser.add_argument("-f", "--force", action="store_true", help="kill the running ones first, ignore missing ones")
    parser.add_argument("-t", "--time", metavar="SECONDS", type=float, default=10.0,
                        help="with --force, how long to wait before SIGKILL (default: 10)")
    parser.add_argument("-v", "--volumes", action="store_true", help="for compatibility: there are no volumes to keep")


def add_all(commands: "Commands[Parser]") -> None:
    add_run(commands)
    add_exec(commands)
    add_ps(commands)
    add_logs(commands)
    add_ending(commands)
    add_rm(commands)


def add_container_group(commands: "Commands[Parser]") -> None:
    add_run(commands)
    add_exec(commands)
    add_ps(commands, "ls", ("ps", "list"))
    add_logs(commands)
    add_ending(commands)
    add_rm(commands)
    command(commands, "prune", "remove the containers that have ended", "do_run:prune_containers").add_argument(
        "-f", "--force", action="store_true", help="for compatibility: nothing is asked")
