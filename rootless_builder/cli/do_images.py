"""The commands on images and registries: options → catalog → what is printed."""

import errno
import fnmatch
import getpass
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ContainerError, ImageNotFound, UsageError
from ..values import replace
from . import tables
from .call import Call
from .registry_options import with_access, with_registry

if TYPE_CHECKING:
    from ..config import Settings
    from ..store.images import ImageRecord


def images(call: Call) -> int:
    from .. import catalog

    settings = call.settings()
    with call.store(settings) as store:
        records = catalog.images(store)
    rows = [row for record in records for row in image_rows(record, settings, time.time())]
    if call.options.name:
        rows = [row for row in rows if wanted(row, call.options.name)]
    if call.options.quiet:
        shown = dict.fromkeys(row["Id" if call.options.no_trunc else "ID"] for row in rows)
        print(*shown, sep="\n", end="\n" if shown else "")
        return 0
    columns = {"REPOSITORY": "Repository", "TAG": "Tag", **({"DIGEST": "Digest"} if call.options.digests else {}),
               "IMAGE ID": "Id" if call.options.no_trunc else "ID", "CREATED": "CreatedSince", "SIZE": "Size"}
    print(*tables.show(rows, columns, call.options.format), sep="\n")
    return 0


def image_rows(record: "ImageRecord", settings: "Settings", now: float) -> list[dict[str, Any]]:
    """One for each name, as docker shows them; one of <none> without a name."""
    from ..oci.reference import Reference

    shared = {"ID": record.id.hex[:12], "Id": str(record.id), "Digest": str(record.manifest.digest),
              "CreatedAt": record.created or "", "CreatedSince": since(record.created, now),
              "Size": tables.size(record.size), "VirtualSize": record.size}
    rows = []
    for name in record.names:
        repository, tag = split(Reference.parse(name, default_registry=settings.default_registry).familiar())
        rows.append({"Repository": repository, "Tag": tag, **shared})
    return rows or [{"Repository": "<none>", "Tag": "<none>", **shared}]


def split(name: str) -> tuple[str, str]:
    """repository[:tag][@digest] → (repository, tag or <none>)."""
    plain = name.partition("@")[0]
    repository, colon, tag = plain.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (plain, "<none>")


def wanted(row: dict[str, Any], pattern: str) -> bool:
    """`iechor images NAME`: a repository, repository:tag, or either with wildcards."""
    names = (row["Repository"], f"{row['Repository']}:{row['Tag']}")
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def since(created: str | None, now: float) -> str:
    try:
        return tables.age(max(0.0, now - datetime.fromisoformat(created or "").timestamp()))
    except ValueError:
        return "unknown"


def pull(call: Call) -> int:
    from .. import catalog
    from ..oci.platform import Platform

    settings = with_registry(call, call.settings(), domains(call, call.options.names))
    platform = Platform.parse(call.options.platform) if call.options.platform else None
    with call.store(settings) as store, call.showing() as emit:
        found = [catalog.pull(name, store, settings, platform=platform, emit=emit) for name in call.options.names]
    print(*(image.id for image in found), sep="\n")
    return 0


def push(call: Call) -> int:
    from .. import catalog
    from .output_options import compression_of

    settings = with_registry(call, call.settings(), domains(call, [call.options.destination or call.options.name]))
    with call.store(settings) as store, call.showing() as emit:
        digest = catalog.push(call.options.name, call.options.destination, store, settings, emit=emit,
                              compression=compression_of(call), level=call.options.compression_level)
    if call.options.digestfile:
        Path(call.options.digestfile).write_text(digest)
    print(digest)
    return 0


def domains(call: Call, names: Sequence[str]) -> list[str]:
    """The registries that `names` are on; an ID is on none. Errors: UsageError."""
    from ..oci.reference import Reference

    default = call.settings().default_registry
    found = []
    for name in names:
        with suppress(UsageError):
            found.append(Reference.parse(name, default_registry=default).domain)
    return found


def login(call: Call) -> int:
    from .. import catalog

    settings = with_access(call, auth_settings(call))
    user = call.options.username or _ask(call, "Username: ", input)
    if call.options.password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    else:
        password = call.options.password or _ask(call, "Password: ", getpass.getpass)
    with call.showing() as emit:
        where = catalog.login(call.options.registry, user, password, settings, emit=emit)
    print(f"Login Succeeded: kept in {where}")
    return 0


def _ask(call: Call, prompt: str, how: Callable[[str], str]) -> str:
    if not sys.stdin.isatty():
        raise UsageError("cannot log in: there is no terminal to ask at",
                         hint="give --username and --password-stdin")
    return how(prompt)


def logout(call: Call) -> int:
    from .. import catalog

    settings = auth_settings(call)
    with call.showing() as emit:
        known = catalog.logout(call.options.registry, settings, emit=emit)
    registry = call.options.registry or settings.default_registry
    print(f"Removed the login for {registry}" if known else f"Not logged in to {registry}")
    return 0


def auth_settings(call: Call) -> "Settings":
    settings = call.settings()
    if call.options.authfile:
        return replace(settings, auth_file=Path(call.options.authfile).absolute())
    return settings


def tag(call: Call) -> int:
    from .. import catalog
    from ..events import quiet

    settings = call.settings()
    with call.store(settings) as store:
        catalog.tag(call.options.source, call.options.targets, store, settings, emit=quiet)
    return 0


def rmi(call: Call) -> int:
    from .. import catalog

    settings = call.settings()
    with call.store(settings) as store:
        for removed in catalog.rmi(call.options.names, store, settings, force=call.options.force):
            for name in removed.untagged:
                print(f"Untagged: {name}")
            for image_id in removed.deleted:
                print(f"Deleted: {image_id}")
    return 0


def inspect(call: Call) -> int:
    import json

    settings = call.settings()
    found = [_inspected(call, name, settings) for name in call.options.names]
    template = call.options.format
    if template and template != "json":
        for item in found:
            print(tables.fill(template, item))
    else:
        print(json.dumps(found, indent=4, default=str))
    return 0


def _inspected(call: Call, name: str, settings: "Settings") -> dict[str, Any]:
    """A container before an image of the same name, as docker has it."""
    from .. import catalog
    from .do_run import described

    kind = call.options.type
    if kind in ("all", "container"):
        try:
            return described(call.containers(settings).get(name))
        except ContainerError:
            if kind == "container":
                raise
    try:
        with call.store(settings) as store:
            return catalog.inspect(name, store, settings)
    except ImageNotFound as error:
        if kind == "image":
            raise
        raise ImageNotFound(f"cannot inspect {name}: no image or container has this name",
                            hint="iechor images and iechor ps -a list what there is") from error


def history(call: Call) -> int:
    from .. import catalog

    settings = call.settings()
    with call.store(settings) as store:
        found = catalog.history(call.options.name, store, settings)
    whole, human = call.options.no_trunc, call.options.human
    rows = [{"ID": row.layer or "<none>" if whole else row.layer.removeprefix("sha256:")[:12] or "<none>",
             "CreatedAt": row.created or "", "CreatedSince": since(row.created, time.time()),
             "CreatedBy": row.created_by if whole else shortened(row.created_by, 45),
             "Size": tables.size(row.size) if human else str(row.size), "Comment": row.comment} for row in found]
    if call.options.quiet:
        print(*(row["ID"] for row in rows), sep="\n")
        return 0
    columns = {"LAYER": "ID", "CREATED": "CreatedSince" if human else "CreatedAt", "CREATED BY": "CreatedBy",
               "SIZE": "Size", "COMMENT": "Comment"}
    print(*tables.show(rows, columns, call.options.format), sep="\n")
    return 0


def shortened(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def save(call: Call) -> int:
    from .. import catalog
    from .output_options import compression_of

    settings, options = call.settings(), call.options
    save = partial(catalog.save, options.names, settings=settings, compression=compression_of(call),
                   level=options.compression_level)
    with call.store(settings) as store, ExitStack() as stack:
        if options.format == "oci-dir":
            if options.output == "-":
                raise UsageError("cannot write a folder to standard output", hint="name it with --output")
            save(store=store, folder=Path(options.output))
        elif options.output == "-":
            if sys.stdout.isatty():
                raise UsageError("cannot write an archive to a terminal", hint="name a file with --output, or redirect")
            save(store=store, out_fd=1)
        else:
            save(store=store, out_fd=stack.enter_context(WholeFile(Path(options.output))))
    return 0


class WholeFile:
    """A file that is there whole or not at all: written beside its place, renamed onto it at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._half = path.with_name(f".{path.name}.{os.getpid()}")
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise  # of the disk, not of the name
            raise UsageError(f"cannot write {self._path}: {error.strerror}", hint="name another file") from error
        return self._fd

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        os.close(self._fd)
        if kind is None:
            self._half.rename(self._path)
        else:
            self._half.unlink()


def load(call: Call) -> int:
    from .. import catalog

    settings = call.settings()
    source: Path | int = 0 if call.options.input == "-" else Path(call.options.input)
    if source == 0 and sys.stdin.isatty():
        raise UsageError("cannot read an archive from a terminal", hint="name a file with --input, or redirect")
    with call.store(settings) as store, call.showing() as emit:
        found = catalog.load(source, store, settings, tmp=call.tmp(), emit=emit)
    for name, image in found:
        print(f"Loaded image: {name or image.id}")
    return 0


def prune(call: Call) -> int:
    """Containers first: what they use is no longer in use then."""
    settings = call.settings()
    scratch = call.scratch(settings)()
    from .. import catalog
    from ..oci.digest import Digest
    from .do_run import remove_ended

    for container in remove_ended(call, settings):
        print(f"Removed container: {container}")
    containers = call.containers(settings)
    keep = frozenset(Digest.parse(container.config.image_id) for container in containers.newest_first())
    with call.store(settings) as store:
        report = catalog.prune(store, images=call.options.all, cache=call.options.cache, keep=keep)
        freed, blobs = report.bytes, report.blobs
        if report.waiting and call.options.wait:
            print(f"iechor: waiting {report.wait:.0f} s until no other host sees what is to go; the next prune goes on "
                  "where this one is interrupted", file=sys.stderr, flush=True)
            time.sleep(report.wait)
            later = catalog.prune(store, images=False, cache=False)
            freed, blobs = freed + later.bytes, blobs + later.blobs
    unpacked = scratch.prune() + (scratch.caches.prune() if call.options.cache else 0)
    for image_id, names in report.images:
        print(f"Deleted: {', '.join(names) or image_id}")
    print(f"Freed {tables.size(freed)} in the store ({blobs} blobs, {report.cache_records} cached steps) "
          f"and {tables.size(unpacked)} in the scratch folder")
    if report.waiting and not call.options.wait:
        print(f"{tables.size(report.waiting)} more are on a network file system, where others may still see them; "
              f"a prune {report.wait:.0f} s from now or later frees them, or one with --wait")
    return 0
