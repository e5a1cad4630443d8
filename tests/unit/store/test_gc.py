"""What prune removes and what it never touches: leases of living processes, the cache, names, the unlucky moment."""

import os
import signal
from collections.abc import Callable

from rootless_builder.oci.digest import Digest
from rootless_builder.oci.reference import Reference
from rootless_builder.store import Image, Policy, StepRecord, Store
from rootless_builder.store.gc import Collector
from rootless_builder.store.owner import GRACE

Make = Callable[..., Image]
DAY = 24 * 3600 * 10**9


def blobs(store: Store) -> set[str]:
    return set(os.listdir(store.layout.blobs / "sha256"))


def parts(image: Image) -> set[str]:
    return {image.id.hex, image.manifest_descriptor.digest.hex, *(layer.blob.digest.hex for layer in image.layers)}


def test_only_what_nothing_names_goes(store: Store, make_image: Make) -> None:
    kept = make_image("kept", "shared", "one")
    gone = make_image("gone", "shared", "two")
    store.images.remove("gone", default_registry="docker.io")
    report = store.collect()
    assert blobs(store) == parts(kept)
    assert report.blobs == len(parts(gone) - parts(kept))
    assert report.bytes > 0
    assert not store.trees.known(gone.layers[1].diff_id)
    assert store.trees.known(kept.layers[0].diff_id)
    assert store.collect().blobs == 0


def test_an_image_without_a_name_stays_until_it_is_asked_for(store: Store, make_image: Make) -> None:
    old = make_image("test", "old")
    new = make_image("test", "new")
    assert store.collect().images == ()
    assert parts(old) <= blobs(store)
    assert store.collect(Policy(dangling=True)).images == ((old.id, ()),)
    assert blobs(store) == parts(new)


def test_all_images_but_those_of_containers(store: Store, make_image: Make) -> None:
    used = make_image("used", "1")
    make_image("unused", "2")
    report = store.collect(Policy(unused=True, keep=frozenset({used.id})))
    assert [names for _, names in report.images] == [("docker.io/library/unused:latest",)]
    assert store.images.get(Reference.parse("used")) == used


def test_an_age_spares_the_young(store: Store, make_image: Make) -> None:
    make_image("test", "1")
    store.cache.put("key", StepRecord())
    assert store.collect(Policy(unused=True, cache=True, older_than=DAY)).images == ()
    assert store.cache.get("key") is not None
    assert len(store.collect(Policy(unused=True, cache=True)).images) == 1
    assert store.cache.get("key") is None


def test_layers_of_the_build_cache_stay_until_the_cache_goes(store: Store, make_image: Make) -> None:
    image = make_image("test", "layer")
    layer = image.layers[0]
    store.cache.put("key", StepRecord(diff_id=layer.diff_id, size=layer.blob.size))
    store.images.remove("test", default_registry="docker.io")
    store.collect()
    assert blobs(store) == {layer.blob.digest.hex}
    store.collect(Policy(cache=True))
    assert blobs(store) == set()


def test_a_limit_takes_the_least_recently_used_records(store: Store, make_image: Make) -> None:
    layers = [make_image(None, str(number)).layers[0] for number in range(3)]
    for number, layer in enumerate(layers):
        store.cache.put(str(number), StepRecord(diff_id=layer.diff_id, size=layer.blob.size))
    os.utime(next(path for path, record, _, _ in store.cache.entries() if record.diff_id == layers[1].diff_id), (1, 1))
    store.collect(Policy(dangling=True, cache_limit=2 * layers[0].blob.size))
    assert [store.cache.get(str(number)) is not None for number in range(3)] == [True, False, True]


def test_what_a_running_process_uses_or_writes_stays(store: Store, others, make_image: Make) -> None:  # type: ignore[no-untyped-def]
    image = make_image("base", "base")
    old = store.blobs.put(b"old, and used again")
    child = others.start(f"""
        store.images.get(Reference.parse("base"))
        assert store.blobs.use(Digest.parse("{old}"))
        new = store.blobs.put(b"just written, named by nobody")
        print(new, flush=True)
        sys.stdin.read()
    """)
    new = Digest.parse(child.stdout.readline().strip())
    store.images.remove("base", default_registry="docker.io")
    assert store.collect(Policy(dangling=True, unused=True, cache=True)).blobs == 0
    assert blobs(store) == {*parts(image), old.hex, new.hex}
    child.send_signal(signal.SIGKILL)
    child.wait()
    store.collect()
    assert blobs(store) == set()
    assert os.listdir(store.layout.leases) == []


def test_a_lease_of_another_host_counts_until_it_is_old(store: Store) -> None:
    digest = store.blobs.put(b"used elsewhere")
    store.close()
    lease = store.layout.leases / "0123456789ab-1-1.abcdef"
    lease.write_text('{"host": "node7", "pid": 1, "began": ' + str(2**62) + '}\nblob ' + str(digest) + "\n")
    store.collect()
    assert store.blobs.has(digest)
    old = lease.stat().st_mtime_ns - GRACE - 10**9
    os.utime(lease, ns=(old, old))
    store.collect()
    assert not store.blobs.has(digest)
    assert not lease.exists()


def test_a_torn_lease_keeps_everything(store: Store) -> None:
    digest = store.blobs.put(b"x")
    store.close()
    (store.layout.leases / "0123456789ab-1-1.abcdef").write_bytes(b'{"ho')
    store.collect()
    assert store.blobs.has(digest)


def test_a_blob_on_its_way_out_is_taken_back_by_who_needs_it(store: Store, make_image: Make) -> None:
    """As if prune had been interrupted between its two looks at the leases."""
    image = make_image("test", "x")
    layer = image.layers[0].blob.digest
    os.rename(store.blobs.path(layer), store.layout.trash / f"sha256-{layer.hex}")
    assert store.blobs.has(layer)
    os.rename(store.blobs.path(layer), store.layout.trash / f"sha256-{layer.hex}")
    os.close(store.blobs.open(layer))
    os.rename(store.blobs.path(layer), store.layout.trash / f"sha256-{layer.hex}")
    store.collect()  # finds the trash of the killed one
    assert store.blobs.has(layer)
    (store.layout.trash / ("sha256-" + "0" * 64)).write_bytes(b"nobody's")
    assert store.collect().bytes > 0
    assert os.listdir(store.layout.trash) == []


def test_who_comes_and_goes_between_prunes_two_looks(store: Store, others, make_image: Make) -> None:  # type: ignore[no-untyped-def]
    """It made an image of a layer that nothing needed at the first look, and has no lease any more at the second."""
    layer = make_image("old", "x").layers[0]
    store.images.remove("old", default_registry="docker.io")

    class Slow(Collector):
        def _empty_trash(self):  # type: ignore[no-untyped-def]
            assert blobs(store) == set()
            others.run(f"""
                from rootless_builder.oci.descriptor import *
                digest = Digest.parse("{layer.diff_id}")
                layer = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=digest, size={layer.blob.size})
                assert store.blobs.use(digest)
                config = ImageConfig(architecture="amd64", os="linux", rootfs_diff_ids=(digest,))
                store.images.put([layer], config, reference=Reference.parse("new"))
                os.rename(store.blobs.path(digest), store.layout.trash / f"sha256-{{digest.hex}}")  # one more prune
                store.close()
            """)
            return super()._empty_trash()

    Slow(store.layout, store.blobs, store.images, store._records, store.leases).collect(Policy())
    image = store.images.get(Reference.parse("new"))
    assert image is not None and store.blobs.has(layer.diff_id)


def test_partial_writes_of_the_dead_are_swept_and_of_the_living_not(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    child = others.start("""
        writer = store.blobs.writer()
        writer.write(b"x" * 100000)
        print("written", flush=True)
        sys.stdin.read()
    """)
    child.stdout.readline()
    store.collect()
    assert len(os.listdir(store.layout.tmp)) == 1
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert store.collect().bytes >= 100000
    assert os.listdir(store.layout.tmp) == []


def test_builds_and_prunes_at_once_never_lose_an_image(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    builders = [others.start(f"""
        from rootless_builder.oci.descriptor import *
        for number in range(25):
            data = f"layer {{number % 5}}".encode()   # the same layers again and again, here and in the other process
            digest = store.blobs.put(data)
            layer = Descriptor(media_type=MEDIA_TYPE_LAYER, digest=digest, size=len(data))
            config = ImageConfig(architecture="amd64", os="linux", author=f"{process} {{number}}",
                                 rootfs_diff_ids=(digest,))
            image = store.images.put([layer], config, reference=Reference.parse("test{process}"))
            assert store.blobs.read(image.layers[0].blob.digest) == data
        print(image.id)
    """) for process in range(2)]
    pruner = others.start("""
        while not (store.layout.root / "stop").exists():
            store.collect(Policy(dangling=True, cache=True))
    """)
    done = [builder.communicate(timeout=120) for builder in builders]
    (store.layout.root / "stop").touch()
    assert (pruner.communicate(timeout=60)[1], pruner.returncode) == ("", 0)
    assert [err for _, err in done] == ["", ""]
    (store.layout.root / "stop").unlink()
    for process, (out, _) in enumerate(done):
        image = store.images.get(Reference.parse(f"test{process}"))
        assert image is not None and str(image.id) == out.strip()
        assert all(store.blobs.has(layer.blob.digest, layer.blob.size) for layer in image.layers)


def test_a_prune_killed_at_any_moment_leaves_a_store_that_is_right(store: Store, others, make_image: Make) -> None:  # type: ignore[no-untyped-def]
    kept = make_image("kept", "kept")
    store.close()
    for delay in (0, 0.002, 0.005, 0.01, 0.02):
        for number in range(30):
            store.blobs.put(f"{delay} {number}".encode())
        store.close()
        child = others.start(f"""
            import threading
            print("ready", flush=True)
            threading.Timer({delay}, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            store.collect()
            time.sleep(1)
        """)
        assert child.wait(timeout=60) == -signal.SIGKILL
        assert store.images.get(Reference.parse("kept")) == kept
        store.close()
    store.collect()
    assert blobs(store) == parts(kept)
    assert os.listdir(store.layout.trash) == os.listdir(store.layout.tmp) == os.listdir(store.layout.leases) == []
