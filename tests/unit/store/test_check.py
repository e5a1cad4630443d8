"""`iechor check`: what it finds in a damaged store, and what --repair leaves. The files themselves are damaged."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rootless_builder.cli.main import main
from rootless_builder.oci.config import ImageConfig
from rootless_builder.oci.descriptor import MEDIA_TYPE_LAYER_GZIP, Descriptor
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.reference import Reference
from rootless_builder.store import Image, LayerRef, StepRecord, Store

from .conftest import layer_of, text_file

Make = Callable[..., Image]
Check = Callable[..., tuple[int, dict]]


@pytest.fixture
def check(store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Check:
    """(exit code, what --format json says) of the command."""
    def run(*options: str) -> tuple[int, dict]:
        capsys.readouterr()
        code = main(["--store", str(store.layout.root), "--scratch", str(tmp_path / "scratch"), "check", "--format",
                     "json", *options])
        return code, json.loads(capsys.readouterr().out)
    return run


def blob_of(store: Store, layer: LayerRef) -> Path:
    return store.layout.blob(layer.blob.digest)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damaged(told: dict) -> set[str]:
    return {os.path.basename(one["Path"]) for one in told["Damages"]}


def test_a_sound_store(store: Store, make_image: Make, check: Check) -> None:
    make_image("one", "a", "b")
    make_image(None, "c")
    store.cache.put("k" * 64, StepRecord(created_by="RUN true"))
    code, told = check()
    assert (code, told["Sound"], told["Damages"]) == (0, True, [])
    assert (told["Images"], told["Blobs"], told["Steps"]) == (2, 7, 1)


def test_a_flipped_bit_in_a_layer_costs_its_image_and_no_other(store: Store, make_image: Make, check: Check) -> None:
    bad = make_image("bad", "a", "shared")
    make_image("good", "b")
    flip(blob_of(store, bad.layers[0]))
    assert check("--quick")[0] == 0  # sizes are right
    code, told = check()
    assert code == 14
    assert damaged(told) == {bad.layers[0].blob.digest.hex, bad.manifest_descriptor.digest.hex}
    code, told = check("--repair")
    assert (code, told["Lost"]) == (14, ["docker.io/library/bad:latest"])
    assert check() == (0, {**check()[1], "Sound": True, "Damages": []})
    assert [image.names for image in store.images.list()] == [("docker.io/library/good:latest",)]
    assert make_image("bad", "a", "shared").id == bad.id
    assert check()[0] == 0


def test_a_missing_layer_is_found_without_reading_any(store: Store, make_image: Make, check: Check) -> None:
    bad = make_image("bad", "a")
    blob_of(store, bad.layers[0]).unlink()
    code, told = check("--quick")
    assert (code, damaged(told)) == (14, {bad.manifest_descriptor.digest.hex})
    assert check("--repair")[1]["Lost"] == ["docker.io/library/bad:latest"]
    assert check()[0] == 0


def test_a_layer_that_is_cut_off(store: Store, make_image: Make, check: Check) -> None:
    bad = make_image("bad", "a")
    with blob_of(store, bad.layers[0]).open("r+b") as blob:
        blob.truncate(512)
    assert check("--quick")[0] == 14
    assert check("--repair")[0] == 14
    assert check()[0] == 0


def test_what_is_derived_is_made_again_and_costs_nothing(store: Store, make_image: Make, check: Check) -> None:
    image = make_image("kept", "a")
    other = layer_of(store, [text_file("other", "b")])
    tree = store.layout.tree(image.layers[0].diff_id)
    tree.write_bytes(store.layout.tree(other.diff_id).read_bytes())  # readable, and of another layer
    (store.layout.images / image.manifest_descriptor.digest.hex).write_text("{")
    store.layout.index.write_text("nonsense")
    store.cache.put("k" * 64, StepRecord(created_by="RUN true"))
    record = next(path for path in store.layout.cache.rglob("*") if path.is_file())
    record.write_text("")
    code, told = check()
    assert (code, told["Lost"]) == (14, [])
    assert damaged(told) == {image.manifest_descriptor.digest.hex, "index.json", record.name}
    assert check("--repair")[0] == 0
    code, told = check()  # now that the record can be read, the layer's index is looked at
    assert (code, damaged(told)) == (14, {tree.name})
    assert check("--repair")[0] == 0
    assert check()[0] == 0
    assert store.trees.load(image.layers).lookup("a") is not None
    assert [one.names for one in store.images.list()] == [("docker.io/library/kept:latest",)]


def test_a_name_that_cannot_be_read_is_taken_from_the_index(store: Store, make_image: Make, check: Check) -> None:
    image = make_image("one", "a")
    make_image("two", "b")
    os.utime(store.layout.index, (2**32, 2**32))  # younger than the folders, so not written anew
    name = next(path for path in store.layout.refs.iterdir() if "one" in path.name)
    name.write_text('{"name": 3}')
    assert damaged(check()[1]) >= {name.name}
    assert check("--repair")[0] == 0
    assert check()[0] == 0
    assert store.images.get(Reference.parse("one")) == image


def test_a_name_that_stands_nowhere_else_is_lost_and_its_image_stays(store: Store, make_image: Make,
                                                                     check: Check) -> None:
    image = make_image("one", "a")
    name = next(store.layout.refs.iterdir())
    name.write_text('{"name": 3}')
    store.layout.index.unlink()
    code, told = check("--repair")
    assert (code, told["Lost"]) == (14, ["docker.io/library/one:latest"])
    assert check()[0] == 0
    assert store.images.by_id(image.id.hex[:12]).id == image.id


def test_a_name_whose_image_lost_its_record_gets_it_back(store: Store, make_image: Make, check: Check) -> None:
    image = make_image("one", "a")
    (store.layout.images / image.manifest_descriptor.digest.hex).unlink()
    assert check()[0] == 14
    assert check("--repair")[0] == 0
    assert [one.names for one in store.images.list()] == [("docker.io/library/one:latest",)]


def test_a_compressed_layer_that_is_not_the_tar_its_config_names(store: Store, check: Check, make_image: Make) -> None:
    import gzip

    layer = make_image("good", "a").layers[0]
    digest = store.blobs.put(gzip.compress(b"\0" * 1024))
    blob = Descriptor(media_type=MEDIA_TYPE_LAYER_GZIP, digest=digest, size=store.blobs.size(digest) or 0)
    config = ImageConfig(architecture="amd64", os="linux", rootfs_diff_ids=(layer.diff_id,))
    liar = store.images.put([blob], config)
    assert check("--quick")[0] == 0
    assert damaged(check()[1]) == {liar.manifest_descriptor.digest.hex}
    assert check("--repair")[1]["Lost"] == [str(liar.id)]
    assert check()[0] == 0
    assert not store.blobs.has(Digest("sha256", "0" * 64))


def test_what_a_killed_process_left_goes_with_the_next_command(store: Store, others, check: Check) -> None:  # type: ignore[no-untyped-def]
    process = others.start("""
        store.blobs.writer().write(b'half')
        store.blobs.partial(Digest.of(b'all')).write(b'a')
        print('ready', flush=True); time.sleep(60)""")
    assert process.stdout.readline() == "ready\n"
    check()
    assert len(os.listdir(store.layout.tmp)) == 2  # it lives
    process.kill()
    process.wait()
    assert check()[1]["Left"] == 0
    assert [name.partition(".")[0] for name in os.listdir(store.layout.tmp)] == ["partial"]  # the next pull resumes it
    assert os.listdir(store.layout.leases) == []
    old = store.layout.tmp / "blob.0123456789ab-1-1.ffff"  # of another host, long ago
    old.write_bytes(b"half")
    os.utime(old, (1, 1))
    code, told = check()
    assert (code, told["Sound"], told["Left"]) == (0, True, 1)
    assert check("--repair")[0] == 0
    assert not old.exists()


def test_people_are_told_what_to_do(store: Store, make_image: Make, capsys: pytest.CaptureFixture[str],
                                    tmp_path: Path) -> None:
    bad = make_image("bad", "a")
    flip(blob_of(store, bad.layers[0]))
    command = ["--store", str(store.layout.root), "--scratch", str(tmp_path / "scratch"), "check"]
    assert main(command) == 14
    out, err = capsys.readouterr()
    assert f"damaged blob: {blob_of(store, bad.layers[0])}: its bytes do not have this digest" in out
    assert "check --repair" in err
    assert main([*command, "--repair"]) == 14
    assert "lost: docker.io/library/bad:latest: pull or build it again" in capsys.readouterr().out
