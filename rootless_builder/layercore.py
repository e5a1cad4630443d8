"""The door to C: the layer core, compiled (`_layercore`) or in Python (`_layercore_py`), one surface.

    scan(root_fd) -> Snapshot              every path below a folder, with its lstat; len(), get(path)
    diff(before, after) -> [(kind, path)]  ADDED, CHANGED or REMOVED, canonical order
    hash_files(root_fd, paths) -> [sha256]
    sha256(data) -> digest
    TarSink(out_fd)                        add, add_many, add_range, add_bytes, finish: writes, pads and hashes a tar
    survey, recall, learn, tell, remember
                                           what COPY takes from a folder (sources/survey.py); TarSink.add_survey too
    read_headers, arrange                  the ordinary entries of a tar; rows of an index in order (layer/reader.py)
    make_files                             small files of an unpacked layer (scratch/unpack.py)
    NATIVE, KERNEL                         whether C is in use, and what computes SHA-256: "sha-ni", "openssl", …

Paths are bytes, relative to a folder given by descriptor; no symlink is followed. Errors are OSError, and
ESTALE means that a file changed while it was read. IECHOR_NO_NATIVE=1 asks for the Python twin: read here and
nowhere else, because the choice is made once, at import, in every process alike.
"""

import os

try:
    if os.environ.get("IECHOR_NO_NATIVE", "") not in ("", "0"):
        raise ImportError("IECHOR_NO_NATIVE is set")
    from ._layercore import (
        ADDED,
        CHANGED,
        KERNEL,
        REMOVED,
        Snapshot,
        TarSink,
        arrange,
        diff,
        hash_files,
        learn,
        make_files,
        read_headers,
        recall,
        remember,
        scan,
        sha256,
        survey,
        tell,
    )

    NATIVE = True
except ImportError:  # asked for, or installed without a compiler
    from ._layercore_py import (  # type: ignore[assignment]
        ADDED,
        CHANGED,
        KERNEL,
        REMOVED,
        Snapshot,
        TarSink,
        arrange,
        diff,
        hash_files,
        learn,
        make_files,
        read_headers,
        recall,
        remember,
        scan,
        sha256,
        survey,
        tell,
    )

    NATIVE = False

if KERNEL == "scalar":  # no instructions for SHA-256 and no libcrypto.so, but Python has OpenSSL in itself
    from ._layercore_py import (  # type: ignore[assignment]
        KERNEL,
        TarSink,
        hash_files,
        learn,
        recall,
        remember,
        sha256,
        survey,
        tell,
    )

__all__ = ["ADDED", "CHANGED", "KERNEL", "NATIVE", "REMOVED", "Snapshot", "TarSink", "arrange", "diff", "hash_files",
           "learn", "make_files", "read_headers", "recall", "remember", "scan", "sha256", "survey", "tell"]
