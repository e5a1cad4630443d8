"""Run by test_rootfs.py as another user: builds an image of two layers, runs a command on it, prints what changed.

    workload.py MODE FOLDER OVERLAY     OVERLAY: "ask", or an errno that pretends the kernel's answer

The output is JSON: the listing the command itself saw, the changes as lines, the digest of their layer.
"""

import json
import os
import stat
import sys
from pathlib import Path

from rootless_builder.layer.compress import compress
from rootless_builder.layer.writer import WrittenLayer, write_layer
from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER, MEDIA_TYPE_LAYER_GZIP, Descriptor
from rootless_builder.paths import ImagePath
from rootless_builder.sandbox.idmap import IdMap, IdMode, subuid_map
from rootless_builder.sandbox.launcher import Launcher, reexec_mapped
from rootless_builder.sandbox.mounts import standard
from rootless_builder.sandbox.spec import FakerootSpec, SandboxSpec
from rootless_builder.sandbox.supervise import supervise
from rootless_builder.scratch.rootfs import Rootfs
from rootless_builder.scratch.scratch import Scratch
from rootless_builder.store import LayerRef, Store
from rootless_builder.tree.changes import Change, ChangeSet, Opaque, Put, Remove
from rootless_builder.tree.node import Device, Directory, File, Inline, Meta, Symlink

APPLETS = ("sh", "stat", "ls", "test", "echo", "chmod", "chown", "touch", "cat", "mkdir", "ln", "rm", "mv", "sort",
           "mkfifo", "find", "sha256sum")
CLAMP = 1_000_000_000
OLD = 900_000_000 * 10**9 + 123_456_789
SCRIPT = r"""
set -e
stat -c '%n %a %u %g %h %s' /bin/busybox /etc/owned /etc/hidden /etc/hidden/inside /h1 /h2 /su /usr/lib/behind /opq \
    /etc/extra /tmp /sparse | sort
ls -a /opq /usr/lib | sort
test ! -e /old
test ! -e /opq/before
echo changed >> /etc/owned
chmod 0604 /etc/mode
chown 7:8 /etc/owner
touch -d @950000000 /etc/mtime
cat /etc/same > /tmp/copy
chmod 0600 /etc/same; chmod 0644 /etc/same        # copied up, and as it was
mkdir -p /new/deep/er
echo hi > /new/deep/er/file
ln /new/deep/er/file /new/linked
ln -s /nowhere /new/symlink
mkfifo /new/fifo
rm -rf /gone
rm -rf /again && mkdir /again && echo only > /again/only
rm /etc/remove
rm -rf /tree && echo file-now > /tree
ln /etc/link-me /etc/linked-now
echo more >> /h1
mv /etc/mtime /etc/moved
chown -h 12:13 /lib
chmod 3775 /home
"""
SEE = r"""
cd /
skip='( -path ./proc -o -path ./sys -o -path ./dev -o -path ./etc/hosts -o -path ./etc/resolv.conf ) -prune -o'
find . $skip -type d -exec stat -c '%N %f %u %g %Y' {} + | sort       # link counts of folders are the overlay's own
find . $skip ! -type d -exec stat -c '%N %f %u %g %h %Y %t %T' {} + | sort
find . $skip -type f -exec sha256sum {} + | sort
"""


def put(path: str, mode: int, uid: int = 0, gid: int = 0, *, data: bytes | None = None,
        xattrs: tuple[tuple[str, bytes], ...] = ()) -> Put:
    meta = Meta(mode, uid, gid, OLD, xattrs)
    node = Directory(meta) if data is None else File(meta, Inline(data), len(data))
    return Put(ImagePath(path), node)


def base(devices: bool) -> list[Change]:
    busybox = Path("/bin/busybox").read_bytes()
    linked = File(Meta(0o644, 5, 6, OLD), Inline(b"linked"), 6)
    lone = File(Meta(0o640, 9, 9, OLD), Inline(b"link me"), 7)
    sparse = bytearray(4 << 20)
    sparse[3 << 20:(3 << 20) + 5] = b"holey"
    found = [
        *(put(path, 0o755) for path in ("bin", "etc", "gone", "gone/x", "again", "again/sub", "tree", "tree/x", "usr",
                                        "usr/lib", "opq", "home", "var")),
        put("tmp", 0o1777), put("home/app", 0o750, 1000, 1000),
        put("bin/busybox", 0o755, data=busybox), put("su", 0o4755, 3, 4, data=b"su"),
        put("etc/owned", 0o640, 42, 43, data=b"owned\n", xattrs=(("user.note", b"kept"),)),
        put("etc/hidden", 0o000), put("etc/hidden/inside", 0o000, 1, 1, data=b"inside"),
        put("old", 0o644, data=b"old"), put("opq/before", 0o644, data=b"before"),
        put("gone/x/y", 0o644, data=b""), put("again/sub/file", 0o644, data=b"1"), put("again/only", 0o644, data=b"2"),
        put("tree/x/y", 0o644, data=b"3"),
        *(put(f"etc/{name}", 0o644, data=name.encode()) for name in ("mode", "owner", "mtime", "same", "remove")),
        Put(ImagePath("etc/link-me"), lone), Put(ImagePath("h1"), linked), Put(ImagePath("h2"), linked),
        Put(ImagePath("sparse"), File(Meta(0o600, 0, 0, OLD), Inline(bytes(sparse)), len(sparse))),
        Put(ImagePath("lib"), Symlink(Meta(0o777, 0, 0, OLD), "usr/lib")),
        Put(ImagePath(os.fsdecode(b"etc/latin-\xe9")), File(Meta(0o644, 0, 0, OLD), Inline(b"e"), 1)),
        Put(ImagePath("etc/fifo"), Device(Meta(0o600, 2, 2, OLD), stat.S_IFIFO)),
    ]
    if devices:
        found.append(Put(ImagePath("etc/null"), Device(Meta(0o666, 0, 6, OLD), stat.S_IFCHR, 1, 3)))
    return [*found, *(Put(ImagePath(f"bin/{name}"), Symlink(Meta(0o777, 0, 0, OLD), "busybox")) for name in APPLETS)]


def second() -> list[Change]:
    """No /etc and no /usr/lib of its own; one entry below a symlink of the first layer."""
    return [Remove(ImagePath("old")), Opaque(ImagePath("opq")), put("opq", 0o711, 20, 20),
            put("opq/after", 0o644, data=b"after"), put("etc/extra", 0o600, 30, 31, data=b"extra"),
            put("lib/behind", 0o644, data=b"behind")]


def add_layer(store: Store, changes: list[Change], *, gzip: bool) -> LayerRef:
    with store.blobs.writer() as writer:
        written = write_layer(ChangeSet.of(changes), writer.fd)
        writer.commit(written.diff_id, written.size)
    plain = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=written.diff_id, size=written.size)
    if not gzip:
        store.trees.remember(written.diff_id, written.entries)
        return LayerRef(diff_id=written.diff_id, blob=plain)
    source = store.blobs.open(written.diff_id)
    with store.blobs.writer() as writer:
        digest, size = compress(source, writer.write, "gzip")
        writer.commit(digest, size)
    os.close(source)
    store.blobs.remove(written.diff_id)
    return LayerRef(diff_id=written.diff_id,
                    blob=Descriptor(media_type=MEDIA_TYPE_LAYER_GZIP, digest=digest, size=size))


def line(change: Change) -> str:
    path = os.fsencode(change.path).decode("ascii", "backslashreplace")
    if not isinstance(change, Put):
        return f"{type(change).__name__} {path}"
    node, meta = change.node, change.node.meta
    more = node.size if isinstance(node, File) else getattr(node, "target", "")
    return f"{type(node).__name__} {path} {meta.mode:o} {meta.uid}:{meta.gid} {more} {dict(meta.xattrs)}"


def run(launcher: Launcher, rootfs: Rootfs, script: str) -> tuple[int, str, bytes | None, tuple[str, ...]]:
    """Exit code, output, the owner table at the end, mount points made."""
    mode = rootfs.places.mode
    mounts = standard(resolv_conf="", hosts="")
    if rootfs.overlay is not None:
        mounts = (rootfs.overlay, *mounts)
    fakeroot = FakerootSpec(table=str(rootfs.owner_table), dev=0) if rootfs.owner_table else None
    ids = {IdMode.FAKEROOT: lambda: IdMap.single(os.getuid(), os.getgid()), IdMode.SUBUID: IdMap.nested,
           IdMode.HOST: lambda: None}[mode]()
    spec = SandboxSpec(root=str(rootfs.root), mounts=mounts, argv=("/bin/sh", "-c", script), env=("PATH=/bin",),
                       ids=ids, init=True, fakeroot=fakeroot)
    output: list[bytes] = []
    sandbox = launcher.launch(spec)
    status = supervise(sandbox, on_output=lambda stream, data: output.append(data))
    return status.code, b"".join(output).decode(errors="replace"), sandbox.final_table(), sandbox.created


def write(store: Store, changes: ChangeSet) -> tuple[WrittenLayer, LayerRef]:
    with store.blobs.writer() as writer:
        written = write_layer(changes, writer.fd, clamp=CLAMP)
        writer.commit(written.diff_id, written.size)
    store.trees.remember(written.diff_id, written.entries)
    blob = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=written.diff_id, size=written.size)
    return written, LayerRef(diff_id=written.diff_id, blob=blob)


def main() -> None:
    mode, folder, overlay = IdMode(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    if mode is IdMode.SUBUID and os.geteuid() != 0:
        import pwd

        user = pwd.getpwuid(os.getuid())
        maps, helpers = subuid_map(user.pw_name, user.pw_uid, user.pw_gid)
        reexec_mapped(maps, helpers, [sys.executable, *sys.argv], dict(os.environ))
    store = Store.open(folder / "store")
    scratch = Scratch.open(folder / "scratch", mode=mode, overlay=None if overlay == "ask" else int(overlay))
    layers = (add_layer(store, base(devices=False), gzip=False), add_layer(store, second(), gzip=True))
    with Launcher() as launcher:
        with scratch.rootfs(layers, store) as rootfs:
            code, output, table, created = run(launcher, rootfs, SCRIPT)
            changes = rootfs.changes(table, created)
            written, layer = write(store, changes)
            result = {"code": code, "output": output, "overlay": rootfs.overlay is not None, "created": created,
                      "changes": [line(change) for change in changes], "diff_id": str(written.diff_id)}
            adopted = rootfs.adopt(clamp=CLAMP)
            result["adopted"] = adopted is not None
        if adopted is not None:
            adopted.publish(written.diff_id, [below.diff_id for below in layers])
            adopted.discard()
        seen = []
        for _ in range(2):  # as it was adopted, and unpacked from its tar
            with scratch.rootfs((*layers, layer), store) as rootfs:
                seen.append(run(launcher, rootfs, SEE))
                result["again"] = [line(change) for change in rootfs.changes(*seen[-1][2:])]
            result["pruned"] = scratch.prune() > 0
        result["same"] = seen[0][:2] == seen[1][:2]
        result["seen"] = seen[1][1]
    print(json.dumps(result))
    left = [*scratch.places.runs.iterdir(), *scratch.places.gone.iterdir(), *scratch.places.tmp.iterdir()]
    assert not left, left
    store.close()


if __name__ == "__main__":
    main()
