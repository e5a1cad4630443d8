"""Content digests: `algorithm:hex`, the image spec's descriptor.md#digests."""

import hashlib
import re

from ..errors import UnsafeArchive
from ..values import dataclass

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_LOWER_HEX = re.compile(r"[0-9a-f]+")
_ANY = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{1,255}")  # the image spec's grammar


class InvalidDigest(UnsafeArchive, ValueError):
    """Not `sha256:<64 lower-case hex digits>` (or sha384, sha512 likewise)."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A checked digest. Safe as a path component: `algorithm` is one of three, `hex` is lower-case hex."""

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = _HEX_LENGTHS.get(self.algorithm)
        if length is None or len(self.hex) != length or not _LOWER_HEX.fullmatch(self.hex):
            raise InvalidDigest(f"cannot use {f'{self.algorithm}:{self.hex}'[:150]!r} as a digest: "
                                "it is not sha256:, sha384: or sha512: and lower-case hex of the right length")

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """`sha256:…` → Digest. Errors: InvalidDigest, which is both UnsafeArchive and ValueError."""
        algorithm, _, digits = text.partition(":")
        return cls(algorithm, digits)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> "Digest":
        """Errors: InvalidDigest for another algorithm than those we know."""
        _check_known(algorithm)
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def of_raw(cls, raw: bytes) -> "Digest":
        """From the 32 bytes a SHA-256 kernel returned."""
        return cls("sha256", raw.hex())

    def hasher(self) -> "hashlib._Hash":
        """An empty hash object of this algorithm, to check a stream against the digest."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 hex digits, as tables show it."""
        return self.hex[:12]


class UnknownDigest(Digest):
    """One of right form whose algorithm we do not know. It may stand in a document, and names nothing that we take: to
    ask for its `hasher` is an InvalidDigest. Safe as a path component, as its grammar is.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        if not _ANY.fullmatch(str(self)) or len(self.algorithm) > 100:
            raise InvalidDigest(f"cannot use {str(self)[:150]!r} as a digest: it is not ALGORITHM:ENCODED")

    def hasher(self) -> "hashlib._Hash":
        _check_known(self.algorithm)
        return super().hasher()


def described(text: str) -> Digest:
    """The digest of a descriptor, which may be one that only others can verify. Errors: InvalidDigest."""
    algorithm, _, encoded = text.partition(":")
    return (Digest if algorithm in _HEX_LENGTHS else UnknownDigest)(algorithm, encoded)


def _check_known(algorithm: str) -> None:
    if algorithm not in _HEX_LENGTHS:
        raise InvalidDigest(f"cannot verify anything by the digest algorithm {algorithm[:100]!r}: "
                            "it is not sha256, sha384 or sha512")
