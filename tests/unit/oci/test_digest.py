import hashlib

import pytest

from rootless_builder.errors import UnsafeArchive
from rootless_builder.oci.digest import Digest, InvalidDigest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_parse_and_format_are_inverse():
    digest = Digest.parse(EMPTY)
    assert (digest.algorithm, str(digest), digest.short) == ("sha256", EMPTY, "e3b0c44298fc")
    assert Digest.of(b"") == digest == Digest.of_raw(hashlib.sha256().digest())


def test_sha512_is_a_digest_too():
    digest = Digest.of(b"x", "sha512")
    assert Digest.parse(str(digest)) == digest and len(digest.hex) == 128
    hasher = digest.hasher()
    hasher.update(b"x")
    assert hasher.hexdigest() == digest.hex


@pytest.mark.parametrize("text", [
    "", "sha256", "sha256:", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), "md5:" + "a" * 32, "sha256:" + "g" * 64,
    "sha256:" + "../" * 21 + "a", EMPTY + "\n", "sha256:" + "٣" * 64,
])
def test_what_could_not_be_a_digest_is_refused(text):
    with pytest.raises(InvalidDigest) as caught:
        Digest.parse(text)
    assert isinstance(caught.value, UnsafeArchive) and isinstance(caught.value, ValueError)
