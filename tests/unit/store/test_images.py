"""Names and images: what tag, rmi and images mean, as podman has it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rootless_builder.errors import ImageNotFound, StoreError, UsageError
from rootless_builder.oci.descriptor import Descriptor
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.reference import Reference
from rootless_builder.store import Image, Store

Make = Callable[..., Image]
DOCKER = "docker.io"


def ref(text: str) -> Reference:
    return Reference.parse(text)


def index_names(store: Store) -> list[str | None]:
    manifests = json.loads((store.layout.root / "index.json").read_text())["manifests"]
    return [entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in manifests]


def test_an_image_is_found_by_name_and_by_the_beginning_of_its_id(store: Store, make_image: Make) -> None:
    image = make_image("test", "one", "two")
    found = store.images.get(ref("test"))
    assert found == image
    assert [layer.diff_id for layer in image.layers] == list(image.config.rootfs_diff_ids)
    assert store.images.by_id(image.id.hex[:12]) == image
    assert store.images.by_id(str(image.id)) == image
    assert store.images.find(image.id.hex[:6], default_registry=DOCKER) == image
    assert store.images.get(ref("other")) is None
    assert store.images.find("other", default_registry=DOCKER) is None


def test_an_unknown_and_an_ambiguous_id(store: Store, make_image: Make) -> None:
    ids = [make_image(None, str(number)).id.hex for number in range(17)]  # two of them begin with the same digit
    twice = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    with pytest.raises(UsageError, match="IDs begin so"):
        store.images.by_id(twice)
    with pytest.raises(ImageNotFound):
        store.images.by_id("0" * 40)
    with pytest.raises(ImageNotFound):
        store.images.by_id("")


def test_a_name_moves_to_the_new_image_and_the_old_one_stays_without(store: Store, make_image: Make) -> None:
    old = make_image("test", "old")
    new = make_image("test", "new")
    assert {image.id: image.names for image in store.images.list()} == {
        old.id: (), new.id: ("docker.io/library/test:latest",)}
    assert index_names(store) == ["docker.io/library/test:latest", None]
    assert store.images.by_id(old.id.hex).id == old.id


def test_a_list_tells_size_and_the_newest_first(store: Store, make_image: Make) -> None:
    first = make_image("first", "same")
    second = make_image("second", "same", "more")
    listed = store.images.list()
    assert [image.id for image in listed] == [second.id, first.id]
    assert listed[1].size == first.manifest.config.size + first.manifest.layers[0].size


def test_rmi_by_name_takes_the_image_with_its_last_name(store: Store, make_image: Make) -> None:
    image = make_image("one", "x")
    store.images.tag(ref("two"), image.manifest_descriptor)
    assert store.images.remove("one", default_registry=DOCKER).deleted == ()
    assert store.images.get(ref("two")) == image
    removed = store.images.remove("two", default_registry=DOCKER)
    assert (removed.untagged, removed.deleted) == (("docker.io/library/two:latest",), (image.id,))
    assert store.images.list() == []
    assert index_names(store) == []


def test_rmi_by_id_asks_for_force_where_there_are_several_names(store: Store, make_image: Make) -> None:
    image = make_image("one", "x")
    store.images.tag(ref("two"), image.manifest_descriptor)
    with pytest.raises(UsageError, match="several names") as caught:
        store.images.remove(image.id.hex[:8], default_registry=DOCKER)
    assert caught.value.hint is not None and "--force" in caught.value.hint
    removed = store.images.remove(image.id.hex[:8], default_registry=DOCKER, force=True)
    assert len(removed.untagged) == 2
    assert store.images.list() == []


def test_rmi_of_nothing(store: Store) -> None:
    with pytest.raises(ImageNotFound):
        store.images.remove("test", default_registry=DOCKER)


def test_an_image_of_missing_parts_is_not_added(store: Store, make_image: Make) -> None:
    image = make_image("test", "x")
    store.blobs.remove(image.layers[0].blob.digest)
    with pytest.raises(StoreError, match="is not in the store"):
        store.images.tag(ref("again"), image.manifest_descriptor)
    assert store.images.get(ref("again")) is None


def test_a_name_with_a_digest(store: Store, make_image: Make) -> None:
    image = make_image("test", "x")
    digest = image.manifest_descriptor.digest
    assert store.images.get(ref(f"test@{digest}")) == image
    other = Digest.of(b"an index that the image was pulled by")
    store.images.tag(ref(f"test@{other}"), image.manifest_descriptor)
    assert store.images.get(ref(f"test@{other}")) == image


def test_names_of_any_length_and_kind(store: Store, make_image: Make) -> None:
    image = make_image(None, "x")
    names = [f"localhost:5000/{'a/' * 100}b:{'t' * 128}", "example.org/a.b__c-d:V1.0", "localhost/x:_y",
             f"docker.io/{'n' * 240}:latest"]
    for name in names:
        store.images.tag(ref(name), image.manifest_descriptor)
    assert sorted(store.images.list()[0].names) == sorted(map(str, map(ref, names)))
    assert all(store.images.get(ref(name)) == image for name in names)


def test_a_damaged_name_hides_no_other(store: Store, make_image: Make) -> None:
    make_image("one", "1")
    make_image("two", "2")
    next(path for path in store.layout.refs.iterdir() if "one" in path.name).write_text("{")
    assert [image.names for image in store.images.list()] == [("docker.io/library/two:latest",), ()]
    with pytest.raises(StoreError, match="is damaged"):
        store.images.get(ref("one"))


def test_processes_that_tag_at_once_lose_no_name(store: Store, others, make_image: Make) -> None:  # type: ignore[no-untyped-def]
    image = make_image("base", "x")
    children = [others.start(f"""
        image = store.images.get(Reference.parse("base"))
        for number in range(8):
            store.images.tag(Reference.parse(f"name{process}-{{number}}"), image.manifest_descriptor)
    """) for process in range(4)]
    assert [child.wait(timeout=60) for child in children] == [0] * 4
    names = ["base", *(f"name{process}-{number}" for process in range(4) for number in range(8))]
    expected = sorted(f"docker.io/library/{name}:latest" for name in names)
    assert sorted(store.images.list()[0].names) == expected
    assert index_names(store) == expected
    assert image.id == store.images.list()[0].id


def test_annotations_of_the_index_it_came_from_are_not_kept(store: Store, make_image: Make, tmp_path: Path) -> None:
    image = make_image(None, "x")
    plain = image.manifest_descriptor
    dressed = Descriptor(media_type=plain.media_type, digest=plain.digest, size=plain.size,
                         annotations={"org.opencontainers.image.ref.name": "their-name"})
    store.images.tag(ref("ours"), dressed)
    assert index_names(store) == ["docker.io/library/ours:latest"]


def test_the_same_again_writes_nothing_and_mends_a_stale_index(store: Store, make_image: Make) -> None:
    image = make_image("test", "x")
    before = {path: path.stat().st_mtime_ns for path in store.layout.root.rglob("*") if path.is_file()}
    assert store.images.add(image.manifest_descriptor, reference=ref("test")) == image
    after = {path: path.stat().st_mtime_ns for path in store.layout.root.rglob("*") if path.is_file()}
    assert {path.parent.name for path in after if after[path] != before.get(path)} <= {"leases"}
    store.layout.index.write_text("{}")
    store.images.add(image.manifest_descriptor, reference=ref("test"))
    assert index_names(store) == ["docker.io/library/test:latest"]
