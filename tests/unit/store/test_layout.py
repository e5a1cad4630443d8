"""What a store is, what it refuses to become, and that many may make it at once."""

import json
from pathlib import Path

import pytest

from rootless_builder.errors import StoreError
from rootless_builder.store import Store


def test_a_new_store_is_an_image_layout_of_our_own(store: Store) -> None:
    root = store.layout.root
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((root / "index.json").read_text())["manifests"] == []
    assert (root / "format").read_text() == "iechor-store 1\n"
    folders = [path for path in (root, *root.rglob("*")) if path.is_dir()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_a_later_format_is_refused_with_the_remedy(store: Store) -> None:
    (store.layout.root / "format").write_text("iechor-store 2\n")
    with pytest.raises(StoreError, match="format 2, and this iechor reads formats up to 1") as caught:
        Store.open(store.layout.root)
    assert caught.value.hint is not None and "update iechor" in caught.value.hint


def test_a_damaged_format_file_is_refused(store: Store) -> None:
    (store.layout.root / "format").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="`format` is damaged"):
        Store.open(store.layout.root)


def test_a_folder_with_other_files_does_not_become_a_store(tmp_path: Path) -> None:
    """Those that the file system itself makes do not count: of what another host has just removed, for one."""
    for name in (".nfs00000000000000010000001f", ".fuse_hidden0000001300000001", "lost+found", "thesis.tex"):
        (tmp_path / name).touch()
    with pytest.raises(StoreError, match=r"holds other files \(thesis.tex\)"):
        Store.open(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_layout_of_another_tool_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (tmp_path / "index.json").write_text('{"schemaVersion": 2, "manifests": [{"digest": "sha256:0"}]}')
    with pytest.raises(StoreError, match="layout of another tool"):
        Store.open(tmp_path)
    assert "sha256:0" in (tmp_path / "index.json").read_text()


def test_a_store_is_only_made_where_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is none"):
        Store.open(tmp_path / "store", create=False)
    assert not (tmp_path / "store").exists()


def test_many_processes_may_make_it_at_once(tmp_path: Path, others) -> None:  # type: ignore[no-untyped-def]
    code = "print(store.images.put((), ImageConfig(architecture='amd64', os='linux')).id)"
    children = [others.start(code) for _ in range(6)]
    answers = [child.communicate(timeout=60) for child in children]
    assert {(out, err) for out, err in answers} == {answers[0]}
    assert answers[0][0].startswith("sha256:")


def test_a_file_in_the_way_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make the store"):
        Store.open(tmp_path / "file" / "store")


def test_a_read_only_store_can_be_read_and_says_so_when_written(store: Store, others,  # type: ignore[no-untyped-def]
                                                                make_image) -> None:
    image = make_image("test", "text")
    script = f'mount --bind {others.root} {others.root} && mount -o remount,bind,ro {others.root} && exec "$@"'
    out = others.run("""
        image = store.images.get(Reference.parse("test"))
        print(image.id)
        print(len(list(store.trees.load(image.layers).walk())))
        try:
            store.images.tag(Reference.parse("other"), image.manifest_descriptor)
        except StoreError as error:
            print(error.message)
    """, "unshare", "-m", "sh", "-c", script, "sh").splitlines()
    assert out[0] == str(image.id)
    assert out[1] == "2"
    assert "is read-only" in out[2]
