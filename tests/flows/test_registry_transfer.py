"""Pull and push against a real docker-registry: round trips, resume, retry, lies."""

import errno
import hashlib
import json
import os
import random
import time
from contextlib import contextmanager

import pytest

from rootless_builder.config import load
from rootless_builder.errors import DiskFull, ImageNotFound, RegistryError, UnsafeArchive, UnsupportedError
from rootless_builder.events import Notice, Transfer
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.platform import Platform
from rootless_builder.oci.reference import Reference
from rootless_builder.registry import transfer
from rootless_builder.registry.auth import Credentials
from rootless_builder.registry.client import RegistryClient
from rootless_builder.registry.transfer import pull, push
from rootless_builder.store.packing import Packing
from rootless_builder.store.store import Store
from rootless_builder.values import replace
from tests.registry_proxy import Fault, serve_faults
from tests.registry_server import serve_registry, skopeo, tiny_layout

NOISE = random.Random(1).randbytes(600_000)  # does not compress: blobs of known size
FILES = [{"etc/os-release": "ID=tiny\n", "noise": NOISE}, {"hello": "hello\n", "etc/.wh.os-release": ""}]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    with serve_registry(folder / "server") as server:
        server.fill(tiny_layout(folder / "layout", FILES, config={"Cmd": ["/hello"], "Env": ["A=B"]}), "team/tiny:1")
        yield server


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as opened:
        yield opened


class Desk:
    """A client with its events and its pauses written down."""

    def __init__(self, tmp_path, config="", **environ):
        path = tmp_path / "config.toml"
        path.write_text(config)
        self.settings = load([path], {"HOME": str(tmp_path), **environ})
        self.events = []
        self.pauses = []
        credentials = Credentials(self.settings.auth_file, self.settings.foreign_auth_files, self.events.append)
        self.client = RegistryClient(self.settings, credentials, self.events.append, pause=self.pauses.append)

    def pull(self, name, store, **more):
        return pull(Reference.parse(name), store, client=self.client, emit=self.events.append, **more)

    def push(self, image, name, store, **more):
        return push(image, Reference.parse(name), store, client=self.client, emit=self.events.append, **more)

    def notices(self):
        return [event.text for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def read(store, image, path):
    node = store.trees.load(image.layers).lookup(path)
    fd, offset = node.content.open()
    try:
        return os.pread(fd, node.size, offset)
    finally:
        os.close(fd)


def blobs_of(store):
    return sorted(path.name for path in (store.layout.root / "blobs/sha256").iterdir())


def leftovers(store):
    return [path.name for path in store.layout.tmp.iterdir()]


def test_a_pulled_image_is_what_was_pushed_byte_for_byte(registry, store, desk):
    image = desk.pull(f"{registry.host}/team/tiny:1", store)
    said = json.loads(skopeo("inspect", "--raw", f"docker://{registry.host}/team/tiny:1", *registry.skopeo_flags()))
    raw = store.blobs.read(image.manifest_descriptor.digest)
    assert json.loads(raw) == said
    assert (image.config.config.cmd, image.config.config.env) == (("/hello",), ("A=B",))
    assert read(store, image, "hello") == b"hello\n" and read(store, image, "noise") == NOISE
    assert store.trees.load(image.layers).lookup("etc/os-release") is None
    assert store.images.get(Reference.parse(f"{registry.host}/team/tiny:1")).id == image.id
    assert all(store.trees.known(layer.diff_id) for layer in image.layers)
    assert leftovers(store) == []


def test_progress_is_told_and_ends_at_the_whole(registry, store, desk):
    image = desk.pull(f"{registry.host}/team/tiny:1", store)
    transfers = [event for event in desk.events if isinstance(event, Transfer)]
    for layer in image.layers:
        told = [event.done for event in transfers if event.digest == str(layer.blob.digest)]
        assert told == sorted(told) and told[-1] == layer.blob.size
    assert {event.verb for event in transfers} == {"pulling"}


def test_a_second_pull_fetches_no_layer(registry, store, desk):
    desk.pull(f"{registry.host}/team/tiny:1", store)
    before = len(registry.requests())
    desk.pull(f"{registry.host}/team/tiny:1", store)
    asked = [request.path for request in registry.requests()[before:]]
    assert [path for path in asked if "/blobs/" in path] == [path for path in asked if "/blobs/" in path][:1]


def test_pull_by_digest(registry, store, desk):
    digest = skopeo("inspect", "--format", "{{.Digest}}", f"docker://{registry.host}/team/tiny:1",
                    *registry.skopeo_flags()).strip()
    image = desk.pull(f"{registry.host}/team/tiny@{digest}", store)
    assert str(image.manifest_descriptor.digest) == digest
    with pytest.raises(ImageNotFound):
        desk.pull(f"{registry.host}/team/tiny@{Digest.of(b'other')}", store)


def test_what_we_push_skopeo_and_we_read_and_the_second_push_sends_no_blob(registry, store, desk, tmp_path):
    image = desk.pull(f"{registry.host}/team/tiny:1", store)
    target = f"{registry.host}/copies/tiny:2"
    pushed = desk.push(image, target, store)
    assert pushed.digest == image.manifest_descriptor.digest
    skopeo("copy", "-q", f"docker://{target}", f"oci:{tmp_path / 'out'}:x", *registry.skopeo_flags("--src-"))
    before = len(registry.requests())
    assert desk.push(image, target, store).digest == pushed.digest
    methods = [request.method for request in registry.requests()[before:]]
    assert methods.count("PUT") == 1 and "POST" not in methods and "PATCH" not in methods


def built_image(store, files=NOISE * 3):
    """An image of ours: one uncompressed layer in the store, as a build leaves it."""
    from rootless_builder.oci.config import ImageConfig
    from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER, Descriptor
    from tests.registry_server import tiny_layer

    tar = tiny_layer({"data": files})
    digest = store.blobs.put(tar)
    layer = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=digest, size=len(tar))
    return store.images.put([layer], ImageConfig(architecture="amd64", os="linux", rootfs_diff_ids=(digest,)))


@pytest.mark.parametrize(("kind", "media_type"), [
    ("gzip", "application/vnd.oci.image.layer.v1.tar+gzip"), ("zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
    ("none", "application/vnd.oci.image.layer.v1.tar")])
def test_a_built_layer_is_compressed_on_the_way_out(registry, store, desk, kind, media_type):
    image = built_image(store)
    target = f"{registry.host}/built/{kind}:1"
    pushed = desk.push(image, target, store, packing=Packing(compression=kind))
    raw = json.loads(skopeo("inspect", "--raw", f"docker://{target}", *registry.skopeo_flags()))
    assert [layer["mediaType"] for layer in raw["layers"]] == [media_type]
    assert raw["config"]["digest"] == str(image.id)
    again = desk.pull(target, store)
    assert again.id == image.id and again.manifest_descriptor.digest == pushed.digest
    assert read(store, again, "data") == NOISE * 3
    assert leftovers(store) == []


def test_a_second_push_of_a_built_image_neither_compresses_nor_sends(registry, store, desk):
    image = built_image(store, NOISE + b"second")
    target = f"{registry.host}/built/second:1"
    first = desk.push(image, target, store)
    before = len(registry.requests())
    assert desk.push(image, target, store) == first
    assert [request.method for request in registry.requests()[before:]] == ["HEAD", "HEAD", "PUT"]


LARGE = NOISE * 8  # enough to be sent while it is packed


def uploads_left(registry, repository):
    return list((registry.folder / "data").rglob(f"{repository}/_uploads/*/data"))


def test_a_large_layer_is_sent_while_it_is_packed(registry, store, desk):
    image = built_image(store, LARGE)
    target = f"{registry.host}/large/first:1"
    before = len(registry.requests())
    pushed = desk.push(image, target, store)
    sent = [request.method for request in registry.requests()[before:] if "/blobs/uploads/" in request.path]
    assert "PATCH" in sent
    assert desk.push(image, f"{registry.host}/large/second:1", store).digest == pushed.digest  # its digest is known now
    for name in ("first", "second"):
        assert read(store, desk.pull(f"{registry.host}/large/{name}:1", store), "data") == LARGE
        assert uploads_left(registry, f"large/{name}") == []
    assert leftovers(store) == []


def test_what_turns_out_to_be_there_is_not_sent_to_its_end(registry, store, desk, tmp_path, monkeypatch):
    first = desk.push(built_image(store, LARGE + b"there"), f"{registry.host}/large/there:1", store)
    packing = transfer.being_packed

    @contextmanager
    def packed_first(*arguments, **more):
        with packing(*arguments, **more) as making:
            making.wait()
            yield making

    monkeypatch.setattr(transfer, "being_packed", packed_first)
    with Store.open(tmp_path / "other", tars=tmp_path / "other-tars") as other:
        before = len(registry.requests())
        assert desk.push(built_image(other, LARGE + b"there"), f"{registry.host}/large/there:2", other) == first
    asked = registry.requests()[before:]
    assert not [request for request in asked if request.method == "PUT" and "/blobs/" in request.path]
    assert uploads_left(registry, "large/there") == []


@pytest.mark.parametrize("fault", [Fault("PATCH", "/blobs/", status=405), Fault("PATCH", "/blobs/", status=1),
                                   Fault("PUT", "/blobs/", status=400)], ids=["refused", "hangs up", "not believed"])
def test_who_takes_no_blob_of_unknown_length_gets_it_afterwards(registry, store, desk, fault):
    image = built_image(store, LARGE + fault.method.encode() + b"%d" % fault.status)
    target = f"large/afterwards{fault.method.lower()}{fault.status}:1"
    with serve_faults(registry) as proxy:
        proxy.faults.append(fault)
        desk.push(image, f"{proxy.host}/{target}", store)
    assert read(store, desk.pull(f"{registry.host}/{target}", store), "data").startswith(LARGE)


def test_another_release_may_have_packed_it_otherwise(registry, store, desk):
    """What is remembered of it is then no more than an opinion."""
    image = built_image(store, LARGE + b"other")
    (layer,) = image.layers
    for size in (1000, len(LARGE) * 2):
        opinion = replace(layer.blob, digest=Digest.of(b"%d" % size), size=size)
        store.compressed.put(layer.diff_id, "gzip", None, opinion)
        target = f"{registry.host}/large/other:{size}"
        desk.push(image, target, store)
        assert read(store, desk.pull(target, store), "data") == LARGE + b"other"


def test_a_disk_that_fills_while_a_layer_is_sent_is_said(registry, store, desk, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("rootless_builder.store.making.write_all", full)
    with pytest.raises(DiskFull):
        desk.push(built_image(store, LARGE + b"full"), f"{registry.host}/large/full:1", store)
    assert leftovers(store) == []


def test_a_base_of_the_same_registry_is_mounted_and_not_sent(registry, store, desk):
    image = desk.pull(f"{registry.host}/team/tiny:1", store)
    before = len(registry.requests())
    desk.push(image, f"{registry.host}/mounted/here:1", store)
    asked = registry.requests()[before:]
    mounts = [request for request in asked if request.method == "POST" and "from=team%2Ftiny" in request.path]
    assert len(mounts) == 3 and all(request.status == 201 for request in mounts)
    assert not [request for request in asked if request.method == "PUT" and "/blobs/" in request.path]


def test_an_index_gives_the_image_of_the_platform(registry, store, desk, tmp_path):
    manifests = []
    for architecture in ("amd64", "arm64"):
        registry.fill(tiny_layout(tmp_path / architecture, [{"arch": architecture}], architecture=architecture),
                      f"multi/arch:{architecture}")
        raw = skopeo("inspect", "--raw", f"docker://{registry.host}/multi/arch:{architecture}",
                     *registry.skopeo_flags()).encode()
        manifests.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(raw),
                          "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
                          "platform": {"os": "linux", "architecture": architecture}})
    put_raw(registry, "multi/arch", "latest", {"schemaVersion": 2, "manifests": manifests,
                                               "mediaType": "application/vnd.oci.image.index.v1+json"})
    for architecture in ("amd64", "arm64"):
        image = desk.pull(f"{registry.host}/multi/arch", store, platform=Platform("linux", architecture))
        assert image.config.architecture == architecture
    with pytest.raises(ImageNotFound, match="linux/s390x") as caught:
        desk.pull(f"{registry.host}/multi/arch", store, platform=Platform("linux", "s390x"))
    assert "linux/amd64, linux/arm64" in caught.value.hint
    with pytest.raises(ImageNotFound, match="linux/arm64, not for linux/amd64"):
        desk.pull(f"{registry.host}/multi/arch:arm64", store, platform=Platform("linux", "amd64"))


def put_raw(registry, repository, tag, value):
    import urllib.request

    data = json.dumps(value).encode()
    request = urllib.request.Request(f"{registry.url}/v2/{repository}/manifests/{tag}", data, method="PUT",
                                     headers={"Content-Type": value["mediaType"]})
    assert urllib.request.urlopen(request).status == 201


def test_dockers_own_manifests_are_pulled_and_pushed_byte_for_byte(registry, store, desk, tmp_path):
    registry.fill(tiny_layout(tmp_path / "docker"), "docker/tiny:1", "--format=v2s2")
    image = desk.pull(f"{registry.host}/docker/tiny:1", store)
    assert image.manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert read(store, image, "hello") == b"hello\n"
    assert desk.push(image, f"{registry.host}/docker/copy:1", store).digest == image.manifest_descriptor.digest


def test_schema_1_is_refused_in_so_many_words(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/manifests/", headers={"Docker-Content-Digest": ""},
                                  body=lambda data: b'{"schemaVersion": 1, "fsLayers": []}'))
        with pytest.raises(UnsafeArchive, match="schema 1"):
            desk.pull(f"{proxy.host}/team/tiny:1", store)


def test_what_is_not_there_is_not_found(registry, store, desk):
    for name in ("team/tiny:none", "no/such:1"):
        with pytest.raises(ImageNotFound, match=f"cannot pull {registry.host}/{name}: .* has no such image"):
            desk.pull(f"{registry.host}/{name}", store)


def test_a_registry_that_is_down_is_named_with_the_cause(registry, tmp_path, store, desk):
    with serve_registry(tmp_path / "down") as down:
        down.stop()
        started = time.monotonic()
        with pytest.raises(RegistryError, match=f"cannot pull {down.host}/a:1: no connection to {down.host}: "
                                                "Connection refused") as caught:
            desk.pull(f"{down.host}/a:1", store)
        assert "network" in caught.value.hint and time.monotonic() - started < 5
        image = built_image(store)
        with pytest.raises(RegistryError, match="cannot push"):
            desk.push(image, f"{down.host}/a:1", store)
    with pytest.raises(RegistryError, match="no connection to nowhere.invalid"):
        desk.pull("nowhere.invalid/a:1", store)


def noise_layer(image):
    return max(image.layers, key=lambda layer: layer.blob.size)


def test_a_connection_that_breaks_is_taken_up_where_it_ended(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/blobs/", times=9, cut=200_000))
        image = desk.pull(f"{proxy.host}/team/tiny:1", store)
        ranges = [seen.headers["Range"] for seen in proxy.requests if "Range" in seen.headers]
        assert ranges == ["bytes=200000-", "bytes=400000-", "bytes=600000-"][:len(ranges)] and len(ranges) >= 2
    assert read(store, image, "noise") == NOISE


def test_a_registry_without_ranges_is_read_again_from_the_start(registry, store, desk):
    with serve_faults(registry) as proxy:
        size = max(layer["size"] for layer in json.loads(skopeo(
            "inspect", "--raw", f"docker://{registry.host}/team/tiny:1", *registry.skopeo_flags()))["layers"])
        proxy.faults.append(Fault("GET", "/blobs/", times=3, cut=size - 1000))
        proxy.faults.append(Fault("GET", "/blobs/", times=9, no_range=True))
        assert read(store, desk.pull(f"{proxy.host}/team/tiny:1", store), "noise") == NOISE


def test_the_next_pull_goes_on_where_a_failed_one_ended(registry, tmp_path, store):
    with serve_faults(registry) as proxy:
        desk = Desk(tmp_path)
        proxy.faults += [Fault("GET", "/blobs/", times=3, cut=250_000), Fault("GET", "/blobs/", times=99, status=404)]
        with pytest.raises(RegistryError):
            desk.pull(f"{proxy.host}/team/tiny:1", store)
        assert store.images.get(Reference.parse(f"{proxy.host}/team/tiny:1")) is None
        proxy.faults.clear()
        proxy.requests.clear()
        image = Desk(tmp_path).pull(f"{proxy.host}/team/tiny:1", store)
        assert "bytes=250000-" in [seen.headers.get("Range") for seen in proxy.requests]
    assert read(store, image, "noise") == NOISE and leftovers(store) == []


def test_busy_registries_are_asked_again_as_they_wish(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults += [Fault("GET", "/v2/", status=503), Fault("GET", "/manifests/", status=429, times=2,
                                                                  headers={"Retry-After": "17"}),
                         Fault("GET", "/blobs/", status=500)]
        desk.pull(f"{proxy.host}/team/tiny:1", store)
    assert desk.pauses.count(17.0) == 2 and len(desk.pauses) == 4
    assert [text for text in desk.notices() if "429" in text and "17 s" in text]


def test_who_hangs_up_is_called_again(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults += [Fault("GET", part, status=1) for part in ("/manifests/", "/blobs/", "/blobs/")]
        assert desk.pull(f"{proxy.host}/team/tiny:1", store)
    assert len(desk.pauses) == 3


def test_a_proxy_is_used_where_the_environment_names_one(registry, tmp_path, store):
    with serve_faults(registry) as proxy:
        desk = Desk(tmp_path, '[registries."registry.invalid"]\ninsecure = true\n', http_proxy=proxy.host,
                    https_proxy=f"http://{proxy.host}")
        assert desk.pull("registry.invalid/team/tiny:1", store)
        assert [seen.path for seen in proxy.requests if "manifests" in seen.path] == [
            "http://registry.invalid/v2/team/tiny/manifests/1"]


def test_who_asks_for_an_hour_is_not_waited_for(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/manifests/", status=429, times=99, headers={"Retry-After": "3600"}))
        with pytest.raises(RegistryError, match="asked too often") as caught:
            desk.pull(f"{proxy.host}/team/tiny:1", store)
    assert desk.pauses == [] and "mirrors" in caught.value.hint


def test_retries_end(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/manifests/", status=502, times=99))
        with pytest.raises(RegistryError, match="answered 502"):
            desk.pull(f"{proxy.host}/team/tiny:1", store)
    assert 1 < len(desk.pauses) < 10


def test_an_upload_that_breaks_is_begun_anew(registry, store, desk):
    image = built_image(store, NOISE + b"upload")
    with serve_faults(registry) as proxy:
        proxy.faults += [Fault("PUT", "/blobs/", status=502), Fault("PUT", "/blobs/", status=404)]
        desk.push(image, f"{proxy.host}/built/broken:1", store)
    assert read(store, desk.pull(f"{registry.host}/built/broken:1", store), "data") == NOISE + b"upload"


def test_a_blob_too_large_for_one_request_goes_in_pieces(registry, store, desk, monkeypatch):
    monkeypatch.setattr("rootless_builder.registry.client._UPLOAD_CHUNK", 100_000)
    image = built_image(store, NOISE + b"pieces")
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("PUT", "/blobs/", status=413))
        desk.push(image, f"{proxy.host}/built/pieces:1", store)
        ranges = [seen.headers["Content-Range"] for seen in proxy.requests if seen.method == "PATCH"]
    assert ranges[:2] == ["0-99999", "100000-199999"] and len(ranges) >= 6
    assert read(store, desk.pull(f"{registry.host}/built/pieces:1", store), "data") == NOISE + b"pieces"


@pytest.mark.parametrize("change", [
    lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:300] + b"?" + data[301:],
    lambda data: data + b"more", lambda data: data[:-10], lambda data: b"", lambda data: b"\0" * len(data)])
@pytest.mark.parametrize("what", ["manifest", "config", "layer"])
def test_a_registry_that_lies_leaves_nothing(registry, store, desk, what, change):
    raw = skopeo("inspect", "--raw", f"docker://{registry.host}/team/tiny:1", *registry.skopeo_flags())
    layer = max(json.loads(raw)["layers"], key=lambda layer: layer["size"])["digest"]
    part = {"manifest": "/manifests/", "config": json.loads(raw)["config"]["digest"], "layer": layer}[what]
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", part, times=999, body=change))
        with pytest.raises((UnsafeArchive, RegistryError), match="cannot pull"):
            desk.pull(f"{proxy.host}/team/tiny:1", store)
    assert store.images.list() == [] and layer[7:] not in blobs_of(store) and len(blobs_of(store)) <= 1
    assert not [name for name in leftovers(store) if layer[7:] in name]


def test_a_manifest_that_is_too_long_is_not_read(registry, store, desk):
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/manifests/", body=lambda data: b" " * (5 << 20)))
        with pytest.raises(RegistryError, match="longer than 4194304 bytes"):
            desk.pull(f"{proxy.host}/team/tiny:1", store)


def lying_image(registry, tmp_path, name, change):
    """An image whose config or manifest `change` has touched before it was put (its digests are right)."""
    layout = tiny_layout(tmp_path / "lying", [{"a": NOISE[:5000]}])
    blobs = layout / "blobs/sha256"
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())
    change(manifest, config)

    def put(value):
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    manifest["config"] |= put(config)
    index["manifests"][0] |= put(manifest)
    (layout / "index.json").write_text(json.dumps(index))
    registry.fill(layout, name)


def test_a_config_that_lies_about_a_layer_is_refused_even_if_the_blob_is_here(registry, store, desk, tmp_path):
    def lie(manifest, config):
        config["rootfs"]["diff_ids"] = [str(Digest.of(b"something else"))]

    lying_image(registry, tmp_path, "lying/diff:1", lie)
    for _ in range(2):
        with pytest.raises(UnsafeArchive, match="diff|digest"):
            desk.pull(f"{registry.host}/lying/diff:1", store)
        assert store.images.list() == [] and leftovers(store) == []
        honest = tiny_layout(tmp_path / f"honest{_}", [{"a": NOISE[:5000]}])
        for blob in (honest / "blobs/sha256").iterdir():  # the second time, the layer's blob is in the store
            store.blobs.put(blob.read_bytes())


def test_a_config_with_too_few_layers_is_refused(registry, store, desk, tmp_path):
    def lie(manifest, config):
        config["rootfs"]["diff_ids"] *= 2

    lying_image(registry, tmp_path, "lying/count:1", lie)
    with pytest.raises(UnsafeArchive, match="2 layers"):
        desk.pull(f"{registry.host}/lying/count:1", store)


def test_what_is_no_image_is_said_to_be_none(registry, store, desk, tmp_path):
    def lie(manifest, config):
        manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"

    lying_image(registry, tmp_path, "charts/thing:1", lie)
    with pytest.raises(UnsupportedError, match="helm"):
        desk.pull(f"{registry.host}/charts/thing:1", store)


def test_a_mirror_answers_for_docker_hub_under_its_short_names(registry, tmp_path, store):
    registry.fill(tiny_layout(tmp_path / "base", [{"etc/os-release": "ID=ubuntu\n"}]), "library/ubuntu:22.04")
    desk = Desk(tmp_path, f'[registries."docker.io"]\nmirrors = ["127.0.0.1:1", "{registry.host}"]\n')
    image = desk.pull("ubuntu:22.04", store)
    assert read(store, image, "etc/os-release") == b"ID=ubuntu\n"
    assert store.images.get(Reference.parse("ubuntu:22.04")).id == image.id
    assert any(f"mirror {registry.host}" in text for text in desk.notices())


def test_a_mirror_with_a_prefix(registry, tmp_path, store):
    registry.fill(tiny_layout(tmp_path / "base"), "hub/library/alpine:3")
    desk = Desk(tmp_path, f'[registries."docker.io"]\nmirrors = ["http://{registry.host}/hub"]\n')
    assert desk.pull("alpine:3", store).config.config.cmd == ("/hello",)


def test_mirrors_that_do_not_have_it_are_passed_over_and_named_if_all_fail(registry, tmp_path, store):
    desk = Desk(tmp_path, f'[registries."{registry.host}"]\nmirrors = ["127.0.0.1:1/nothing"]\n')
    assert desk.pull(f"{registry.host}/team/tiny:1", store)
    with pytest.raises(ImageNotFound, match=f"{registry.host} has no such image") as caught:
        desk.pull(f"{registry.host}/team/tiny:none", store)
    assert any("mirror 127.0.0.1:1" in note for note in caught.value.notes)


def test_the_default_registry_serves_short_names(registry, tmp_path, store):
    desk = Desk(tmp_path, f'default_registry = "{registry.host}"\n')
    reference = Reference.parse("team/tiny:1", default_registry=desk.settings.default_registry)
    assert pull(reference, store, client=desk.client).config.config.cmd == ("/hello",)
