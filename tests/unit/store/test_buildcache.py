"""The build cache: hits are worth their layer, misses can be explained."""

from collections.abc import Callable

from rootless_builder.store import Image, NoCache, StepRecord, Store
from rootless_builder.store.compressed import Compressed

Make = Callable[..., Image]


def test_a_record_comes_back_as_it_was(store: Store, make_image: Make) -> None:
    layer = make_image(None, "x").layers[0]
    record = StepRecord(diff_id=layer.diff_id, size=layer.blob.size, created_by="RUN x", facts={"effect": "+1 file"})
    assert store.cache.get("sha256:" + "a" * 64) is None
    store.cache.put("sha256:" + "a" * 64, record)
    assert store.cache.get("sha256:" + "a" * 64) == record
    assert store.cache.get("sha256:" + "b" * 64) is None


def test_a_step_without_a_layer(store: Store) -> None:
    store.cache.put("any text/at all", StepRecord(created_by="WORKDIR /"))
    assert store.cache.get("any text/at all") == StepRecord(created_by="WORKDIR /")


def test_without_its_layer_a_record_is_a_miss(store: Store, make_image: Make) -> None:
    layer = make_image(None, "x").layers[0]
    record = StepRecord(diff_id=layer.diff_id, size=layer.blob.size)
    store.cache.put("key", record)
    store.blobs.path(layer.diff_id).write_bytes(b"cut off")
    assert store.cache.get("key") is None
    store.blobs.remove(layer.diff_id)
    assert store.cache.get("key") is None


def test_a_damaged_record_is_a_miss(store: Store) -> None:
    store.cache.put("key", StepRecord())
    (path,) = (path for path, _, _, _ in store.cache.entries())
    for text in ("", "{", "[]", '{"key": "key"}', '{"key": "other", "size": 0, "created_by": "", "facts": {}}'):
        path.write_text(text)
        assert store.cache.get("key") is None


def test_no_cache_knows_nothing_and_remembers(store: Store) -> None:
    none = NoCache(store.cache)
    none.put("key", StepRecord(created_by="RUN x"))
    assert none.get("key") is None
    assert store.cache.get("key") == StepRecord(created_by="RUN x")


def test_a_miss_is_explained_by_the_first_input_that_differs(store: Store) -> None:
    place = "stage 0 step 3"
    assert store.cache.explain(place, [("RUN", "1")]) == "this step was not built here before"
    store.cache.remember_inputs(place, [("base", "1"), ("hello.py", "2"), ("chown", "")])
    assert store.cache.explain(place, [("base", "1"), ("hello.py", "3"), ("chown", "x")]) == "hello.py changed"
    assert store.cache.explain(place, [("base", "1"), ("other.py", "3")]) == "other.py is here instead of hello.py"
    assert store.cache.explain(place, [("base", "1"), ("hello.py", "2")]) == "chown is gone"
    assert store.cache.explain(place, [("base", "1"), ("hello.py", "2"), ("chown", ""), ("z", "")]) == "z was added"
    assert store.cache.explain(place, [("base", "1"), ("a.py", "2"), ("hello.py", "2")]) == "a.py was added"
    assert store.cache.explain(place, [("hello.py", "3"), ("chown", "x")]) == "base is gone"
    assert store.cache.explain(place, [("hello.py", "2"), ("base", "1"), ("chown", "")]) == "hello.py stands elsewhere"
    assert store.cache.explain(place, [("base", "1"), ("hello.py", "2"), ("chown", "")]) == \
        "its result was removed from the store"


def test_the_compressed_form_of_a_layer_is_remembered(store: Store, make_image: Make) -> None:
    blob = make_image(None, "x").layers[0].blob
    pairs: Compressed = store.compressed
    assert pairs.get(blob.digest, "gzip", None) is None
    pairs.put(blob.digest, "gzip", None, blob)
    pairs.put(blob.digest, "zstd", 3, blob)
    assert pairs.get(blob.digest, "gzip", None) == blob
    assert pairs.get(blob.digest, "gzip", 9) is None
    next(path for path in store.layout.compressed.iterdir() if "zstd" in path.name).write_text("?")
    assert pairs.get(blob.digest, "zstd", 3) is None
