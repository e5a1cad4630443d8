from measure import check

from rootless_builder._layercore import KERNELS, sha256

check(lambda: sha256(b"data"), lambda: sha256(b"data", "vax"), lambda: sha256("text"), lambda: sha256(b"", 5),
      *(lambda kernel=kernel: sha256(b"data" * 100, kernel) for kernel in KERNELS))
