"""`iechor build`, also `iechor image build`: the flags of docker build and podman build."""

import argparse

from .build_compat import add_compatible, add_parts_of_platform
from .options import Commands, Parser, add_later, add_platform, command
from .output_options import add_outputs
from .registry_options import add_registry
from .times import add_times

DESCRIPTION = (
    "Builds an image from the iEchorfile (else Dockerfile, else Containerfile) in the build context and keeps it in "
    "the store. Steps whose inputs have not changed come from the cache. The context is a folder read in place, a tar "
    'archive, "-" for a tar archive or an iEchorfile on standard input, a git repository (https://....git, git://, '
    "ssh://, USER@HOST:PATH) with #REF:SUBDIR or ?ref=REF&subdir=SUBDIR&checksum=COMMIT, or the URL of a tar archive "
    "or an iEchorfile."
)

LATER = {
    "--attest": "TYPE", "--sbom": "VALUE|false", "--provenance": "VALUE|false",
    "--env": "KEY=VALUE", "--device": "DEVICE", "--cap-add": "CAP", "--cap-drop": "CAP",
    "--security-opt": "OPTION", "-m/--memory": "SIZE", "--cpus": "N",
    "--manifest": "NAME", "--save-stages": "", "--stage-labels": "", "--layer-label": "KEY=VALUE",
    "--all-platforms": "",
    "--cgroup-parent": "PATH", "--builder": "NAME", "--policy": "FILE", "--unsetenv": "NAME", "--omit-history": "",
    "--dns": "ADDRESS",
}


def add_build(commands: "Commands[Parser]") -> None:
    parser = command(commands, "build", "build an image from an iEchorfile", "do_build:build", takes="[CONTEXT]",
                     description=DESCRIPTION)
    parser.add_argument("context", metavar="CONTEXT", nargs="?", default=".",
                        help='a folder, a tar archive, a git repository, a URL, or "-" for standard input (default: '
                             'the current folder)')
    _add_inputs(parser)
    _add_results(parser)
    _add_running(parser)
    add_registry(parser.add_argument_group("registries"))
    add_later(parser, LATER)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is built")
    group.add_argument("-f", "--file", metavar="FILE", help='the iEchorfile, "-" for standard input, or a '
                       "URL; in a context that is no folder a path inside it (default: iEchorfile, Dockerfile or "
                       "Containerfile)")
    group.add_argument("--from", metavar="IMAGE", dest="base", default=None,
                       help="take IMAGE instead of what the first FROM names")
    group.add_argument("--target", metavar="STAGE", help="build up to this stage instead of the last one")
    group.add_argument("--build-arg", metavar="NAME[=VALUE]", action="append", default=[],
                       help="a value for ARG; without a value, that of the environment (repeatable)")
    group.add_argument("--build-arg-file", metavar="FILE", action="append", default=[],
                       help="a file of NAME=VALUE lines for ARG (repeatable)")
    group.add_argument("--build-context", metavar="NAME=SOURCE", action="append", default=[],
                       help="another context for COPY --from=NAME, FROM NAME and instead of a stage called NAME: a "
                            "folder, a tar archive of a root file system, a git repository, a URL (one file, called "
                            "context), docker-image://IMAGE, oci-layout://PATH[:TAG|@DIGEST], or target:STAGE, a stage "
                            "of the file that stands above (repeatable)")
    group.add_argument("--ignorefile", metavar="FILE",
                       help="read this instead of .iechorignore, whatever the context is")
    group.add_argument("--cpp-flag", metavar="FLAG", action="append", default=[],
                       help="a flag for cpp, which reads an iEchorfile whose name ends in .in first, as "
                            "--cpp-flag=-DDEBUG (repeatable; before them, those of $BUILDAH_CPPFLAGS)")
    group.add_argument("--pull", metavar="POLICY", default="missing",
                       choices=("always", "missing", "never", "newer", "true", "false"),
                       help="when to ask the registry for base images: missing (default), newer, never, or always, "
                            "which --pull alone means")
    add_platform(group)
    add_parts_of_platform(group)


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what comes out")
    group.add_argument("-t", "--tag", metavar="NAME[:TAG]", action="append", default=[],
                       help="a name for the image (repeatable)")
    group.add_argument("--label", metavar="KEY=VALUE", action="append", default=[], help="a label (repeatable)")
    group.add_argument("--annotation", metavar="[WHERE:]KEY=VALUE", action="append", default=[],
                       help="an annotation of the manifest, or of WHERE: manifest or manifest-descriptor, each with "
                            "[PLATFORM] behind it, index or index-descriptor (in outputs: see OUTPUTS) (repeatable)")
    group.add_argument("--squash", action="store_true", help="make one layer of those this build adds to its base")
    group.add_argument("--squash-all", action="store_true", help="make one layer of everything")
    group.add_argument("--iidfile", metavar="FILE", help="write the image id to FILE")
    group.add_argument("--metadata-file", metavar="FILE", help="write the ids of the result as JSON to FILE")
    add_times(group)
    group.add_argument("--check", action="store_true", help="build nothing: print what the build checks find, and end "
                                                            "with 3 when that is anything (iEchorfile(5), CHECKS)")
    group.add_argument("--call", metavar="METHOD[,format=json]", default="build",
                       help="build nothing, but print what is asked for: check, outline (arguments, secrets and ssh "
                            "keys of the target) or targets; as text, or as JSON in docker's form")
    group.add_argument("-q", "--quiet", action="store_true", help="print the image id and nothing else")
    group.add_argument("--logfile", metavar="FILE", help="add the progress to FILE instead of showing it")
    group.add_argument("--progress", choices=("auto", "tty", "plain", "rawjson", "quiet", "none"), default="auto",
                       help="how progress is shown on standard error (default: tty on a terminal, else plain)")
    add_outputs(group)


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it is built")
    group.add_argument("--no-cache", action="store_true", help="run every step again")
    group.add_argument("--no-cache-filter", metavar="STAGE[,STAGE...]", action="append", default=[],
                       help="run every step of these stages again (repeatable)")
    group.add_argument("--cache-from", metavar="REF|type=TYPE,...", action="append", default=[],
                       help="steps that somebody else has built: type=registry,ref=REF (also an image that carries "
                            "its cache) or type=local,src=DIR (repeatable)")
    group.add_argument("--cache-to", metavar="REF|type=TYPE,...", action="append", default=[],
                       help="keep the steps of this build for others: type=registry,ref=REF, type=local,dest=DIR, or "
                            "type=inline (in the image itself); mode=max: those of all stages (repeatable)")
    group.add_argument("--cache-ttl", metavar="DURATION", default=None,
                       help="use no step that was built longer ago than this, as 24h; 0: none at all")
    group.add_argument("--jobs", metavar="N", type=int, default=None,
                       help="how many steps of independent stages work at once, 1: one after the other in the order "
                            "of the file, 0: no limit (default: the number of CPUs, at least 4)")
    group.add_argument("--secret", metavar="id=ID[,src=PATH|,env=NAME]", action="append", default=[],
                       help="a secret for RUN --mount=type=secret, or for servers (HTTP_AUTH_TOKEN_HOST, "
                            "GIT_AUTH_TOKEN: iEchorfile(5)), from a file or a variable (repeatable)")
    group.add_argument("--ssh", metavar="ID[=SOCKET|KEY[,KEY]]", action="append", default=[],
                       help="an SSH agent for RUN --mount=type=ssh: its socket, or one that is given these keys; "
                            "default is that of $SSH_AUTH_SOCK (repeatable)")
    group.add_argument("--shm-size", metavar="SIZE", help="of /dev/shm during RUN, as 128m (default: 64m)")
    group.add_argument("--ulimit", metavar="NAME=SOFT[:HARD]", action="append", default=[],
                       help="a limit of setrlimit(2) during RUN; core is 0 unless it is set here (repeatable)")
    group.add_argument("--network", choices=("default", "host", "none", "private"), default="default",
                       help="the network of RUN: the host's (default), or none")
    group.add_argument("--allow", metavar="ENTITLEMENT", action="append", default=[],
                       help="device: a RUN may have the CDI devices that it asks for; device=NAME[,alias=OTHER]: this "
                            "one, under another name too. What else docker wants allowed (network.host, "
                            "security.insecure) needs no leave here (repeatable)")
    group.add_argument("--add-host", metavar="NAME:IP", action="append", default=[],
                       help="a line for /etc/hosts during RUN (repeatable)")
    group.add_argument("-v", "--volume", metavar="SOURCE:TARGET[:ro|:O|:U]", action="append", default=[],
                       help="a folder of the host that every RUN sees; with :O what a RUN changes there is kept in "
                            "memory and thrown away with it; with :U it belongs to the user that the RUN runs as: it "
                            "looks so and, where that user has an id of this machine, is so from then on (repeatable)")
    group.add_argument("--allow-lost-owners", action="store_true",
                       help="where nothing can keep the owners of files, run all the same: what RUN makes or "
                            "changes is root's, and every owner that goes is told")
    group.add_argument("--rm", "--force-rm", action="store_true", default=True,
                       help="for compatibility: nothing is ever left behind")
    group.add_argument("--layers", action="store_true", default=True,
                       help="for compatibility: every step is always cached")
    add_compatible(group)
