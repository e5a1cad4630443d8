"""What is compressed has the same bytes on every CPU: programs that choose their code by the CPU they find are run on
emulated ones, from the plainest (no SSE4, no AVX) to one with everything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPUS = {"x86_64": ["qemu64", "Nehalem", "Haswell", "max"], "aarch64": ["cortex-a53", "max"]}
PROGRAM = """
import hashlib, os, random
from rootless_builder.layer.compress import compress
words = random.Random(1)
vocabulary = [words.randbytes(words.randint(2, 12)) for _ in range(300)]
text = b"".join(words.choices(vocabulary, k=200_000))
fd = os.memfd_create("tar")
os.pwrite(fd, text + words.randbytes(1_200_000) + bytes(300_000) + text[:500_000], 0)
for kind, level in (("gzip", None), ("gzip", 1), ("gzip", 6), ("gzip", 9), ("zstd", None), ("zstd", 1), ("zstd", 9)):
    print(kind, level, *compress(fd, lambda piece: None, kind, level=level, jobs=JOBS))
"""


def digests(jobs: int, *emulator: str) -> list[str]:
    done = subprocess.run([*emulator, sys.executable, "-c", PROGRAM.replace("JOBS", str(jobs))], check=True, text=True,
                          capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=280)
    return done.stdout.splitlines()


@pytest.mark.interop
def test_compressed_bytes_are_the_same_on_any_cpu() -> None:
    here = digests(1)
    assert len(set(here)) == 7
    assert digests(3) == here
    machine = os.uname().machine  # whose programs are run
    for cpu in CPUS[machine]:
        assert digests(2, f"qemu-{machine}", "-cpu", cpu) == here, cpu
