import pytest

from rootless_builder.errors import UsageError
from rootless_builder.oci.descriptor import MEDIA_TYPE_IMAGE_MANIFEST, Descriptor
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.platform import Platform, best, host_platform


@pytest.mark.parametrize(("text", "normal"), [
    ("linux/amd64", "linux/amd64"), ("Linux/X86_64", "linux/amd64"), ("linux/aarch64", "linux/arm64"),
    ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"), ("linux/arm/6", "linux/arm/v6"),
    ("linux/armhf", "linux/arm/v7"), ("linux/armel", "linux/arm/v6"), ("i686", "linux/386"), ("s390x", "linux/s390x"),
    ("linux/amd64/v1", "linux/amd64"), ("linux/amd64/v3", "linux/amd64/v3"), ("windows/amd64", "windows/amd64"),
])
def test_platforms_have_one_spelling(text, normal):
    assert str(Platform.parse(text)) == normal


def test_linux_alone_means_this_machine():
    assert Platform.parse("linux") == host_platform()
    assert host_platform().os == "linux"


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "pdp11"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(UsageError, match="platform"):
        Platform.parse(text)


def test_which_machine_runs_what():
    amd64, arm64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
    assert amd64.matches(amd64) and not amd64.matches(arm64)
    assert amd64.matches(Platform("linux", "386")) and not amd64.matches(Platform("linux", "amd64", "v2"))
    assert Platform("linux", "amd64", "v3").matches(Platform("linux", "amd64", "v2"))
    assert arm64.matches(Platform("linux", "arm64", "v8")) and arm64.matches(Platform("linux", "arm", "v7"))
    assert not Platform.parse("linux/arm/v6").matches(Platform.parse("linux/arm/v7"))


def _offer(*names: str | None) -> list[Descriptor]:
    return [Descriptor(media_type=MEDIA_TYPE_IMAGE_MANIFEST, digest=Digest.of((name or "").encode()), size=1,
                       platform=Platform(*name.split("/")) if name else None) for name in names]


def test_the_best_of_an_index():
    offered = _offer("linux/386", "linux/arm64/v8", "linux/amd64", "unknown/unknown", "linux/arm/v5", "linux/arm/v6")
    chosen = {text: best(offered, Platform.parse(text)) for text in (
        "linux/amd64", "linux/amd64/v4", "linux/arm64", "linux/arm/v7", "linux/s390x")}
    assert {text: descriptor and str(descriptor.platform) for text, descriptor in chosen.items()} == {
        "linux/amd64": "linux/amd64", "linux/amd64/v4": "linux/amd64", "linux/arm64": "linux/arm64/v8",
        "linux/arm/v7": "linux/arm/v6", "linux/s390x": None,
    }


def test_one_manifest_that_says_nothing_is_taken():
    assert best(_offer(None), Platform.parse("linux/amd64")) is not None
    assert best(_offer(None, None), Platform.parse("linux/amd64")) is None
    assert best([], Platform.parse("linux/amd64")) is None
