import json

import pytest

from rootless_builder.errors import UnsafeArchive
from rootless_builder.oci import descriptor as media
from rootless_builder.oci.descriptor import Descriptor, compression_of, is_layer
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.manifest import MANIFEST_LIMIT, Index, Manifest, parse_manifest
from rootless_builder.oci.platform import Platform


def _descriptor(media_type: str, data: bytes = b"x", **more) -> Descriptor:
    return Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data), **more)


CONFIG = _descriptor(media.MEDIA_TYPE_IMAGE_CONFIG, b"config")
LAYER = _descriptor(media.MEDIA_TYPE_LAYER_GZIP, b"layer", annotations={"k": "v"}, urls=("https://x.example/l",))
MANIFEST = Manifest(config=CONFIG, layers=(LAYER,), annotations={"b": "2", "a": "1"}, subject=CONFIG)


def _json(**keys) -> bytes:
    return json.dumps({"schemaVersion": 2} | keys).encode()


def test_a_manifest_survives_the_way_out_and_in():
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert MANIFEST.descriptor() == Descriptor(media_type=media.MEDIA_TYPE_IMAGE_MANIFEST,
                                               digest=Digest.of(MANIFEST.to_json()), size=len(MANIFEST.to_json()))


def test_the_bytes_of_a_manifest_are_canonical_and_frozen():
    assert Manifest(config=CONFIG, layers=()).to_json() == (
        b'{"config":{"digest":"sha256:b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910",'
        b'"mediaType":"application/vnd.oci.image.config.v1+json","size":6},"layers":[],'
        b'"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}')


def test_an_index_survives_and_keeps_platforms():
    platform = Platform("linux", "arm", "v7", "1.2", ("a",))
    index = Index(manifests=(_descriptor(media.MEDIA_TYPE_IMAGE_MANIFEST, platform=platform),))
    assert Index.from_json(index.to_json()) == index
    assert json.loads(index.to_json())["manifests"][0]["platform"] == {
        "architecture": "arm", "os": "linux", "variant": "v7", "os.version": "1.2", "os.features": ["a"]}


def test_dockers_media_types_stay_dockers():
    data = _json(mediaType=media.DOCKER_MANIFEST, config=CONFIG.to_json(), layers=[])
    parsed = parse_manifest(data, media.DOCKER_MANIFEST + "; charset=utf-8")
    assert isinstance(parsed, Manifest) and parsed.media_type == media.DOCKER_MANIFEST
    assert json.loads(parsed.to_json())["mediaType"] == media.DOCKER_MANIFEST


def test_a_manifest_without_a_media_type_is_what_it_was_announced_as():
    data = _json(config=CONFIG.to_json(), layers=[])
    assert parse_manifest(data, media.DOCKER_MANIFEST).media_type == media.DOCKER_MANIFEST
    assert parse_manifest(data, "text/plain").media_type == media.MEDIA_TYPE_IMAGE_MANIFEST
    assert parse_manifest(data, None).media_type == media.MEDIA_TYPE_IMAGE_MANIFEST


@pytest.mark.parametrize(("data", "media_type", "said"), [
    (b"", None, "not JSON"), (b"[]", None, "not a JSON object"), (b"\xff", None, "not JSON"),
    (b'{"config":' * 100_000, None, "not JSON"), (b"1" * 5000, None, "JSON"),
    (b" " * (MANIFEST_LIMIT + 1), None, "longer than"),
    (_json(), None, "either"),
    (_json(config=CONFIG.to_json(), layers=[], manifests=[]), None, "either"),
    (_json(config=CONFIG.to_json(), layers=[]), media.MEDIA_TYPE_IMAGE_INDEX, "is not"),
    (_json(manifests=[], mediaType=media.MEDIA_TYPE_IMAGE_MANIFEST), None, "is not"),
    (_json(manifests=[], mediaType=media.DOCKER_MANIFEST_LIST), media.MEDIA_TYPE_IMAGE_INDEX, "announced"),
    (_json(layers=[]), None, "size"),
    (_json(config=CONFIG.to_json(), layers=[{"digest": "x"}]), None, "size"),
    (_json(config=CONFIG.to_json(), layers={"a": 1}), None, "list"),
    (_json(config=CONFIG.to_json() | {"size": -1}, layers=[]), None, "length"),
    (_json(config=CONFIG.to_json() | {"size": True}, layers=[]), None, "whole number"),
    (_json(config=CONFIG.to_json() | {"digest": "sha256:../../x"}, layers=[]), None, "digest"),
    (_json(config=CONFIG.to_json() | {"mediaType": 7}, layers=[]), None, "string"),
    (_json(config=CONFIG.to_json(), layers=[], annotations={"a": 1}), None, "strings"),
])
def test_a_manifest_that_lies_is_refused(data, media_type, said):
    with pytest.raises(UnsafeArchive, match=said):
        parse_manifest(data, media_type)


@pytest.mark.parametrize("data", [b'{"schemaVersion": 1, "fsLayers": []}', _json(mediaType=media.DOCKER_MANIFEST_V1)])
def test_schema_1_is_refused_in_so_many_words(data):
    with pytest.raises(UnsafeArchive, match="schema 1"):
        parse_manifest(data, None)


def test_manifest_and_index_do_not_pass_for_each_other():
    with pytest.raises(UnsafeArchive, match="index"):
        Manifest.from_json(_json(manifests=[]))
    with pytest.raises(UnsafeArchive, match="one image"):
        Index.from_json(MANIFEST.to_json())


def test_layers_and_their_compression():
    assert [compression_of(kind) for kind in (media.MEDIA_TYPE_LAYER, media.DOCKER_LAYER_GZIP,
                                              media.MEDIA_TYPE_LAYER_ZSTD)] == ["none", "gzip", "zstd"]
    assert not is_layer(media.MEDIA_TYPE_IMAGE_CONFIG)
    with pytest.raises(UnsafeArchive, match="layer we can read"):
        compression_of("application/vnd.cncf.helm.chart")
