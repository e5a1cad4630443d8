"""Base images for the tests, as OCI layouts, made by tarfile and json alone: no code of ours vouches for itself."""

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tests import provision

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
video:x:44:app
app:x:1000:
nogroup:x:65534:
"""


def busybox(folder: Path, applets: Collection[str] = ()) -> Path:
    """Debian's static busybox with a link for each applet, or for these; four users, /tmp with its sticky bit."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode, owner in (("bin", 0o755, 0), ("dev", 0o755, 0), ("etc", 0o755, 0), ("home", 0o755, 0),
                                  ("home/app", 0o755, 1000), ("proc", 0o755, 0), ("root", 0o700, 0),
                                  ("sys", 0o755, 0), ("tmp", 0o1777, 0), ("usr", 0o755, 0), ("usr/bin", 0o755, 0),
                                  ("var", 0o755, 0)):
            _add(archive, name, tarfile.DIRTYPE, mode=mode, owner=owner)
        _add(archive, "bin/busybox", data=Path("/bin/busybox").read_bytes(), mode=0o755)
        listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout
        for applet in sorted(applets or set(listed.split()) - {"busybox"}):
            _add(archive, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        _add(archive, "etc/passwd", data=PASSWD.encode())
        _add(archive, "etc/group", data=GROUP.encode())
    return layout(folder, buffer.getvalue(), {"Env": [PATH], "Cmd": ["sh"]})


def _add(archive: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, *, data: bytes = b"", mode: int = 0o644,
         owner: int = 0, link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.size = kind, mode, link, len(data)
    info.uid = info.gid = owner
    archive.addfile(info, io.BytesIO(data))


def debian() -> Path:
    """Today's base (tests/provision.py) as a layout, kept beside it: compressing it takes seconds."""
    tar = provision.base()
    kept = tar.with_suffix(".oci")
    if not kept.exists():
        half = Path(f"{kept}.{os.getpid()}")
        shutil.rmtree(half, ignore_errors=True)
        layout(half, tar.read_bytes(), {"Env": [PATH], "Cmd": ["bash"]})
        half.rename(kept)
    return kept


def layout(folder: Path, tar: bytes, config: Mapping[str, Any]) -> Path:
    """An OCI image layout with one unnamed image of one gzip layer."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layer = put(gzip.compress(tar, 1, mtime=0), "layer.v1.tar+gzip")
    described = put(json.dumps({
        "architecture": ARCHITECTURE, "os": "linux", "config": dict(config), "created": "2026-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "tests"}],
    }).encode(), "config.v1+json")
    manifest = put(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described, "layers": [layer],
    }).encode(), "manifest.v1+json")
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return folder
