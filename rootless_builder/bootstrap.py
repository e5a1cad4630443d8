"""`iechor bootstrap`: a base image from the machine's Debian archive, made by an mmdebstrap that believes itself root.

    bootstrap.sh, under `unshare` ──▶ tar ──▶ the one layer of an image ──▶ names

Everything temporary lies in one folder below the caller's, and goes with it, however this ends.
"""

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from .building.committing import rfc3339
from .config import Settings
from .errors import ImageNotFound, StepFailed, UsageError
from .events import Emit, ImageBuilt, ImageTagged, StepFinished, StepOutput, StepStarted
from .layer.writer import write_layer
from .oci.config import History, ImageConfig, RunConfig
from .oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
from .oci.platform import host_platform
from .oci.reference import Reference
from .plan.lower import DEFAULT_PATH
from .sandbox.idmap import IdMode
from .sources.archive import ArchiveSource
from .store.images import Image
from .store.store import Store
from .tree.changes import ChangeSet, Put
from .unshare import UnshareRequest, unshare
from .values import dataclass

SCRIPT = Path(__file__).with_name("bootstrap.sh")
LAST_LINES = 20
REFUSED = 3  # what the script ends with when it has said why in its last line
OFFICIAL = "docker.io/library/"
PASSED_ON = ("LANG", "HOME", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
             "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SOURCE_DATE_EPOCH")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapRequest:
    """base: "debian:SUITE". tags: as typed; none: base itself. variant, include: mmdebstrap's own words.

    environ: the caller's. tmp: a folder on a disk. now: nanoseconds since the epoch.
    """

    base: str
    tags: tuple[str, ...]
    variant: str
    include: tuple[str, ...]
    mode: IdMode
    environ: Mapping[str, str]
    tmp: Path
    now: int


def bootstrap(request: BootstrapRequest, store: Store, settings: Settings, *, emit: Emit,
              clock: Callable[[], float]) -> Image:
    """The image, in the store under its names.

    Errors: UsageError, ImageNotFound (no such suite), StepFailed, and those of `unshare`.
    """
    suite = suite_of(request.base)
    names = [name_of(text, suite, settings) for text in request.tags or (request.base,)]
    with tempfile.TemporaryDirectory(prefix="iechor-bootstrap-", dir=request.tmp, ignore_cleanup_errors=True) as work:
        tar = Path(work) / "base.tar"
        began = clock()
        emit(StepStarted(step=1, stage="", number=1, total=1, text=f"BOOTSTRAP {request.base}"))
        make(request, suite, Path(work), tar, emit)
        emit(StepFinished(step=1, seconds=clock() - began))
        image = image_of(tar, request, store)
    emit(ImageBuilt(image_id=str(image.id), manifest=str(image.manifest_descriptor.digest), seconds=clock() - began))
    for name in names:
        store.images.tag(name, image.manifest_descriptor)
        emit(ImageTagged(name=name.familiar(), image_id=str(image.id)))
    return image


def suite_of(base: str) -> str:
    """Errors: UsageError."""
    distribution, _, suite = base.partition(":")
    if distribution != "debian" or not re.fullmatch(r"[a-z][a-z0-9.-]*", suite):
        raise UsageError(f'cannot make "{base}": only Debian can be made, from this machine\'s archive',
                         hint="write debian:SUITE, for instance debian:bookworm")
    return suite


def name_of(text: str, suite: str, settings: Settings) -> Reference:
    """Nothing is called what it is not: the official names of other images stay theirs. Errors: UsageError."""
    name = Reference.parse(text, default_registry=settings.default_registry).with_default_tag()
    if str(name).startswith(OFFICIAL) and not str(name).startswith(f"{OFFICIAL}debian:{suite}"):
        raise UsageError(f"cannot call it {name.familiar()}: it is debian:{suite}, and that name is another image's",
                         hint=f"leave --tag out and build with --build-context {text}=docker-image://debian:{suite}, "
                              "or take a name such as localhost/base")
    return name


def make(request: BootstrapRequest, suite: str, work: Path, tar: Path, emit: Emit) -> None:
    """Errors: ImageNotFound, StepFailed, and those of `unshare`."""
    kept = {key: request.environ[key] for key in PASSED_ON if key in request.environ}
    kept.setdefault("SOURCE_DATE_EPOCH", str(request.now // 10**9))
    kept |= {"PATH": DEFAULT_PATH, "TMPDIR": str(work)}
    lines: deque[bytes] = deque((b"",), maxlen=LAST_LINES)

    def heard(stream: int, data: bytes) -> None:
        first, *more = data.split(b"\n")
        lines[-1] += first
        lines.extend(more)
        emit(StepOutput(step=1, stream=stream, data=data))

    argv = ("bash", str(SCRIPT), str(tar), suite, request.variant, ",".join(request.include))
    # Not synced: what it makes is thrown away or packed as a whole.
    code = unshare(UnshareRequest(argv=argv, cwd=str(work), environ=kept, mode=request.mode, fsync=False),
                   on_output=heard)
    if not code:
        return
    told = [line.decode("utf-8", "replace") for line in lines if line]
    if code == REFUSED:
        raise ImageNotFound(f"cannot make {request.base}: {told[-1] if told else 'refused'}",
                            hint="name a suite of this machine's archive; mmdebstrap and curl have to be there "
                                 "(sudo apt install mmdebstrap curl)")
    raise StepFailed(f"cannot make {request.base}: mmdebstrap ended with exit code {code}",
                     notes=tuple(f"  {line}" for line in told))


def image_of(tar: Path, request: BootstrapRequest, store: Store) -> Image:
    """One layer, packed anew: deterministic, whatever tar wrote it. Errors: DiskFull, UnsafeArchive."""
    with ArchiveSource(os.open(tar, os.O_RDONLY | os.O_CLOEXEC), what=tar.name, tmp=request.tmp) as archive:
        changes = ChangeSet.of(Put(path, node) for path, node in archive.tree().walk())
        with store.blobs.writer() as writer:
            written = write_layer(changes, writer.fd)
            writer.commit(written.diff_id, written.size)
        store.trees.remember(written.diff_id, written.entries)
    platform = host_platform()
    epoch = request.environ.get("SOURCE_DATE_EPOCH", "")
    created = rfc3339(int(epoch) if epoch.isdecimal() else request.now // 10**9)
    config = ImageConfig(
        architecture=platform.architecture, os=platform.os, variant=platform.variant, created=created,
        config=RunConfig(env=(f"PATH={DEFAULT_PATH}",), cmd=("bash",)), rootfs_diff_ids=(written.diff_id,),
        history=(History(created=created, created_by=f"iechor bootstrap {request.base}"),))
    layer = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=written.diff_id, size=written.size)
    return store.images.put([layer], config)
