"""Blobs: whole or not there, verified, resumable, and a full disk leaves nothing behind."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from rootless_builder.errors import DiskFull, IechorError, StoreError, UnsafeArchive
from rootless_builder.oci.digest import Digest
from rootless_builder.store import Store

DATA = bytes(range(256)) * 1000
DIGEST = Digest.of(DATA)


def leftovers(store: Store) -> list[str]:
    return sorted(os.listdir(store.layout.tmp))


def test_what_is_put_is_read_back(store: Store) -> None:
    assert store.blobs.put(DATA) == DIGEST
    assert store.blobs.has(DIGEST, len(DATA))
    assert not store.blobs.has(DIGEST, len(DATA) - 1)
    assert store.blobs.read(DIGEST) == DATA
    assert leftovers(store) == []


def test_the_name_of_a_blob_is_its_digest(store: Store) -> None:
    store.blobs.put(DATA)
    path = store.layout.root / "blobs" / "sha256" / hashlib.sha256(DATA).hexdigest()
    assert path.read_bytes() == DATA


def test_damage_is_seen_when_read_and_the_message_names_the_file(store: Store) -> None:
    store.blobs.put(DATA)
    store.blobs.path(DIGEST).write_bytes(DATA[:-1] + b"?")
    with pytest.raises(StoreError, match="do not have this digest") as caught:
        store.blobs.read(DIGEST)
    assert str(store.blobs.path(DIGEST)) in caught.value.message


def test_a_blob_longer_than_asked_for_is_refused(store: Store) -> None:
    store.blobs.put(DATA)
    with pytest.raises(StoreError, match="longer than 10 bytes"):
        store.blobs.read(DIGEST, 10)


def test_an_absent_blob(store: Store) -> None:
    assert not store.blobs.has(DIGEST)
    with pytest.raises(StoreError, match="not in the store"):
        store.blobs.open(DIGEST)


def test_bytes_that_are_not_what_was_promised_are_not_kept(store: Store) -> None:
    with store.blobs.writer() as writer:
        writer.write(b"something else")
        with pytest.raises(UnsafeArchive, match="have the digest"):
            writer.commit(DIGEST)
    with store.blobs.partial(DIGEST) as writer:
        writer.write(DATA)
        with pytest.raises(UnsafeArchive, match="bytes long instead of"):
            writer.commit(DIGEST, len(DATA) + 1)
    assert leftovers(store) == []
    assert not store.blobs.has(DIGEST)


def test_who_writes_to_the_descriptor_may_leave_the_digest_to_us(store: Store) -> None:
    with store.blobs.writer() as writer:
        os.write(writer.fd, DATA)
        assert writer.commit() == DIGEST
    assert store.blobs.read(DIGEST) == DATA


def test_an_abandoned_writer_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.blobs.writer() as writer:
        writer.write(DATA)
        raise RuntimeError
    assert leftovers(store) == []


def test_a_download_goes_on_where_it_ended(store: Store) -> None:
    with pytest.raises(ConnectionError), store.blobs.partial(DIGEST) as writer:
        writer.write(DATA[:1000])
        raise ConnectionError
    with store.blobs.partial(DIGEST) as writer:
        assert writer.size == 1000
        writer.write(DATA[1000:])
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA
    assert leftovers(store) == []


def test_a_server_without_ranges_starts_the_download_again(store: Store) -> None:
    with store.blobs.partial(DIGEST) as writer:
        writer.write(b"half of it")
        writer.restart()
        assert writer.size == 0
        writer.write(DATA)
        assert writer.commit(size=len(DATA)) == DIGEST


def test_a_download_outlives_the_kill_of_its_process(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    child = others.start(f"""
        writer = store.blobs.partial(Digest.parse("{DIGEST}"))
        writer.write({DATA[:500]!r})
        print("written", flush=True)
        time.sleep(60)
    """)
    assert child.stdout.readline() == "written\n"
    with store.blobs.partial(DIGEST) as writer:
        assert writer.size == 0  # it is still being written there: two never share a file
    child.send_signal(signal.SIGKILL)
    child.wait()
    with store.blobs.partial(DIGEST) as writer:
        assert writer.size == 500
        writer.write(DATA[500:])
        writer.commit()
    assert store.blobs.read(DIGEST) == DATA


def test_two_processes_may_download_the_same_blob(store: Store, others) -> None:  # type: ignore[no-untyped-def]
    code = f"""
        data = {DATA[:4096]!r} * 200
        with store.blobs.partial(Digest.of(data)) as writer:
            for start in range(writer.size, len(data), 4096):
                writer.write(data[start:start + 4096])
            print(writer.commit())
    """
    children = [others.start(code) for _ in range(4)]
    expected = f"{Digest.of(DATA[:4096] * 200)}\n"
    assert [child.communicate(timeout=60)[0] for child in children] == [expected] * 4
    assert store.blobs.read(Digest.parse(expected.strip())) == DATA[:4096] * 200


def test_a_full_disk_is_named_and_nothing_stays(tmp_path: Path, others) -> None:  # type: ignore[no-untyped-def]
    mount = tmp_path / "small"
    mount.mkdir()
    others.root = mount / "store"
    script = f'mount -t tmpfs -o size=512k none {mount} && exec "$@"'
    out = others.run("""
        for number, write in enumerate((
                lambda writer: writer.write(bytes(10 << 20)),
                lambda writer: [os.write(writer.fd, bytes(10 << 16)) for _ in range(9)])):
            for make in (store.blobs.writer, lambda: store.blobs.partial(Digest.of(b"x"))):
                try:
                    with make() as writer:
                        write(writer)
                except DiskFull as error:
                    print(error.message, "|", error.hint)
                assert not os.listdir(store.layout.tmp)
        try:
            store.cache.put("key", StepRecord(created_by="x" * (1 << 20)))
        except DiskFull:
            print("cache")
        assert not os.listdir(store.layout.tmp)
        print(store.blobs.put(b"small things still fit"))
    """, "unshare", "-m", "sh", "-c", script, "sh")
    *full, cache, digest = out.splitlines()
    assert len(full) == 4
    for line in full:
        assert line.startswith("cannot write a blob: no space is left on the file system at ")
        assert str(mount) in line
        assert "IECHOR_HOME" in line
    assert cache == "cache"
    assert digest.startswith("sha256:")


def test_a_promised_blob_is_fetched_by_whoever_opens_it_and_not_before(store: Store) -> None:
    data, asked = b"promised", []
    digest = Digest.of(data)

    def fetch() -> None:
        asked.append(1)
        store.blobs.put(data)

    store.blobs.promise(digest, fetch)
    assert not store.blobs.has(digest) and store.blobs.size(digest) is None and asked == []
    assert store.blobs.read(digest) == data and store.blobs.read(digest) == data
    store.blobs.claim(digest)
    store.blobs.claim(Digest.of(b"nobody's"))
    assert asked == [1]


def test_what_another_thread_writes_can_be_ended(store: Store) -> None:
    with store.blobs.writer() as done:
        done.write(b"done")
        digest = done.commit()
    with pytest.raises(DiskFull), store.blobs.writer() as writer:
        writer.write(b"begun")
        store.blobs.abort()
        writer.write(b"more")
    with pytest.raises(IechorError), store.blobs.writer() as writer:
        writer.write(b"whole")
        store.blobs.abort()
        writer.commit()
    assert store.blobs.read(digest) == b"done" and list(store.layout.tmp.iterdir()) == []
    with store.blobs.writer() as writer:  # the next one is not concerned
        writer.write(b"after")
        assert store.blobs.read(writer.commit()) == b"after"
