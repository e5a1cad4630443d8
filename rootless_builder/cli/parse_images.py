"""The commands on images and registries: the flags of docker and podman."""

import argparse

from .options import Commands, Parser, add_later, add_platform, command
from .output_options import add_compression
from .registry_options import add_registry, add_trust

PROGRESS = ("auto", "tty", "plain", "rawjson", "quiet", "none")


def _add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument("--progress", choices=PROGRESS, default="auto", help="how progress is shown")


def add_images(commands: "Commands[Parser]", name: str = "images", aliases: tuple[str, ...] = ()) -> None:
    parser = command(commands, name, "list images", "do_images:images", takes="[NAME]", aliases=aliases,
                     description="Lists the images in the store, newest first.")
    parser.add_argument("name", metavar="NAME", nargs="?", help="only those of this name, or matching its wildcards")
    parser.add_argument("-a", "--all", action="store_true", help="for compatibility: there are no hidden images")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")
    parser.add_argument("--digests", action="store_true", help="show the digest of the manifest")
    parser.add_argument("--no-trunc", action="store_true", help="whole ids")
    parser.add_argument("--format", metavar="FORMAT", default="", help='"json", or a template such as "{{.ID}}"')
    add_later(parser, {"-f/--filter": "KEY=VALUE", "--sort": "KEY"})


def add_transfers(commands: "Commands[Parser]") -> None:
    pull = command(commands, "pull", "fetch an image from a registry", "do_images:pull", takes="NAME...")
    pull.add_argument("names", metavar="NAME", nargs="+", help="NAME[:TAG|@DIGEST]")
    add_platform(pull)
    _add_progress(pull)
    add_registry(pull)
    add_later(pull, {"-a/--all-tags": ""})
    push = command(commands, "push", "send an image to a registry", "do_images:push", takes="NAME [DESTINATION]",
                   description="Sends an image to the registry its name says, or to DESTINATION. Layers the registry "
                               "has already are not sent again, and the bytes sent are the same every time.")
    push.add_argument("name", metavar="NAME", help="a name or an id")
    push.add_argument("destination", metavar="DESTINATION", nargs="?", help="another name for it there")
    add_compression(push, "of layers that were built here (default: from the configuration, else gzip)")
    push.add_argument("--digestfile", metavar="FILE", help="write the digest of the manifest to FILE")
    _add_progress(push)
    add_registry(push)
    add_later(push, {"-a/--all-tags": "", "--sign-by": "KEY", "-f/--format": "FORMAT|oci"})


def add_logins(commands: "Commands[Parser]") -> None:
    login = command(commands, "login", "keep credentials for a registry", "do_images:login", takes="[REGISTRY]",
                    description="Checks a name and password with the registry and keeps them, readable by nobody "
                                "else, in ~/.config/iechor/auth.json or in the credential helper configured there.")
    login.add_argument("registry", metavar="REGISTRY", nargs="?", help="host[:port] (default: the default registry)")
    login.add_argument("-u", "--username", metavar="NAME")
    login.add_argument("-p", "--password", metavar="PASSWORD",
                       help="seen by every user of this machine: prefer --password-stdin")
    login.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    login.add_argument("--authfile", metavar="FILE", help="keep them in FILE")
    add_trust(login)
    add_later(login, {"--get-login": ""})
    logout = command(commands, "logout", "forget the credentials for a registry", "do_images:logout",
                     takes="[REGISTRY]")
    logout.add_argument("registry", metavar="REGISTRY", nargs="?", help="host[:port] (default: the default registry)")
    logout.add_argument("--authfile", metavar="FILE", help="forget them in FILE")
    add_later(logout, {"-a/--all": ""})


def add_names(commands: "Commands[Parser]", remove: str = "rmi", aliases: tuple[str, ...] = ()) -> None:
    tag = command(commands, "tag", "give an image another name", "do_images:tag", takes="IMAGE NAME[:TAG]...")
    tag.add_argument("source", metavar="IMAGE", help="a name or an id")
    tag.add_argument("targets", metavar="NAME[:TAG]", nargs="+")
    rmi = command(commands, remove, "remove images", "do_images:rmi", takes="IMAGE...", aliases=aliases,
                  description="Removes names, and the image itself with its last name. Its blobs go when nothing "
                              "else uses them.")
    rmi.add_argument("names", metavar="IMAGE", nargs="+", help="a name or an id")
    rmi.add_argument("-f", "--force", action="store_true", help="also an id with several names; ignore missing ones")
    add_later(rmi, {"-a/--all": "", "--no-prune": ""})


def add_looking(commands: "Commands[Parser]") -> None:
    inspect = command(commands, "inspect", "show all of an image or container as JSON", "do_images:inspect",
                      takes="NAME...")
    inspect.add_argument("names", metavar="NAME", nargs="+", help="a name or an id")
    inspect.add_argument("-f", "--format", metavar="FORMAT", default="",
                         help='"json", or a template such as "{{.Config.Env}}" or "{{json .Config}}"')
    inspect.add_argument("--type", choices=("image", "container", "all"), default="all", help="what NAME is")
    add_later(inspect, {"-s/--size": "", "-l/--latest": ""})
    history = command(commands, "history", "show the steps an image was made by", "do_images:history", takes="IMAGE")
    history.add_argument("name", metavar="IMAGE", help="a name or an id")
    history.add_argument("-q", "--quiet", action="store_true", help="layer ids only")
    history.add_argument("--no-trunc", action="store_true", help="whole ids and commands")
    history.add_argument("-H", "--human", action="store_true", default=True, help="sizes and times for people "
                                                                                  "(default); =false for exact ones")
    history.add_argument("--format", metavar="FORMAT", default="", help='"json", or a template such as "{{.Size}}"')


def add_archives(commands: "Commands[Parser]") -> None:
    save = command(commands, "save", "write images to an archive", "do_images:save", takes="IMAGE...",
                   description="Writes images to a docker-archive that docker load and podman load read, or to an OCI "
                               "image layout as a tar archive or a folder.")
    save.add_argument("names", metavar="IMAGE", nargs="+", help="a name or an id")
    save.add_argument("-o", "--output", metavar="PATH", default="-", help="default: standard output")
    save.add_argument("--format", choices=("docker-archive", "oci-archive", "oci-dir"), default="docker-archive")
    add_compression(save, "of layers that were built here (default: none, as they are stored)")
    save.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    add_later(save, {"--compress": "", "-m/--multi-image-archive": "", "--platform": "PLATFORM"})
    load = command(commands, "load", "read images from an archive", "do_images:load",
                   description="Reads the images of a docker-archive, an OCI image layout, or one in a tar archive.")
    load.add_argument("-i", "--input", metavar="PATH", default="-", help="default: standard input")
    load.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    add_later(load, {"--platform": "PLATFORM"})


def add_prune(commands: "Commands[Parser]") -> None:
    prune = command(commands, "prune", "free the space of what is no longer used", "do_images:prune",
                    description="Removes containers that have ended and blobs that no image, cached step or running "
                                "build uses.")
    prune.add_argument("-a", "--all", action="store_true", help="also images that no container uses")
    prune.add_argument("--cache", action="store_true",
                       help="also the build cache, with the caches of RUN --mount=type=cache")
    prune.add_argument("--wait", action="store_true",
                       help="on a network file system: stay for the two minutes until what was found can go, and "
                            "do not leave it to the next prune")
    prune.add_argument("-f", "--force", action="store_true",
                       help="for compatibility: nothing is asked, and nothing more is removed")
    add_later(prune, {"--filter": "KEY=VALUE", "--volumes": ""})


def add_all(commands: "Commands[Parser]") -> None:
    add_images(commands)
    add_transfers(commands)
    add_logins(commands)
    add_names(commands)
    add_looking(commands)
    add_archives(commands)
    add_prune(commands)


def add_image_group(commands: "Commands[Parser]") -> None:
    add_images(commands, "ls", ("list",))
    add_transfers(commands)
    add_names(commands, "rm", ("rmi",))
    add_looking(commands)
    add_archives(commands)
    add_prune(commands)
