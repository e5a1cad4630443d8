"""Images that lie, escape, or want more than they should, through the commands that a user gives, as a plain user."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rootless_builder.errors import ImageNotFound, UnsafeArchive
from rootless_builder.layer.reader import read_layer
from rootless_builder.oci.config import ImageConfig
from rootless_builder.oci.descriptor import Descriptor
from rootless_builder.oci.manifest import Index, Manifest
from rootless_builder.sources.archive import ArchiveSource
from tests import images, provision
from tests.conftest import Person, _person
from tests.hostile.hostile_server import (
    BLOB,
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    TAR,
    config_of,
    described,
    digest_of,
    manifest_of,
    serve,
)
from tests.hostile.measuring import measured
from tests.tarbytes import END, file, folder, gnu_long, hard_link, header, padded, pax, symlink

UNSAFE, MISSING = UnsafeArchive.exit_code, ImageNotFound.exit_code
MIB = 1024  # KiB, as peaks are counted


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """One plain user for all that is refused."""
    for person in _person(provision.PLAIN_USER, "fakeroot"):
        yield person
        assert person.iechor("images", "-q").stdout == ""


# ---- the image spec's own examples -----------------------------------------------------------------------------
# What schema/*_test.go of the image spec declares valid and invalid, rule by rule, in documents of our own.

SHA = "sha256:" + "ab" * 32
DESCRIPTOR: Mapping[str, Any] = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7682, "digest": SHA}
LAYERS = [{"mediaType": LAYER, "size": size, "digest": SHA} for size in (675598, 156, 148)]
IMAGE: Mapping[str, Any] = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": LAYERS,
                            "config": {"mediaType": CONFIG, "size": 1470, "digest": SHA}}
CHOICE: Mapping[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [DESCRIPTOR]}
SETTINGS: Mapping[str, Any] = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [SHA]}}
ARTIFACT = "application/vnd.example+type"
UNKNOWN = ["sha256+b64:" + "ab" * 32, "sha256+foo-bar:" + "ab" * 32, "sha256.foo-bar:" + "ab" * 32, "md5:" + "ab" * 16,
           "multihash+base58:QmRZxt2b1FVZ", "sha256+b64u.unknownlength:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564="]
PPC = {"architecture": "ppc64le", "os": "linux"}


def without(source: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in source.items() if name != key}


VALID = {
    "descriptor": [
        DESCRIPTOR, {**DESCRIPTOR, "size": 0}, {**DESCRIPTOR, "mediaType": "1" * 127 + "/" + "2" * 127},
        {**DESCRIPTOR, "urls": ["https://example.com/foo"]}, {**DESCRIPTOR, "artifactType": MANIFEST},
        {**DESCRIPTOR, "data": "aHR0cHM6Ly9naXRodWIuY29tL29wZW5jb250YWluZXJzCg==", "mediaType": "text/plain"},
        {**DESCRIPTOR, "digest": "sha512:" + "ab" * 64},
        # of algorithms that nobody has registered: they may stand there, and nothing can be verified by them
        *({**DESCRIPTOR, "digest": text} for text in UNKNOWN)],
    "manifest": [
        {**IMAGE, "layers": [{**LAYERS[0], "digest": text} for text in UNKNOWN]},
        IMAGE, {**IMAGE, "annotations": {"key1": "value1", "key2": "value2"}}, {**IMAGE, "subject": DESCRIPTOR},
        {**IMAGE, "config": {**DESCRIPTOR, "mediaType": "application/vnd.example.config+json"},
         "layers": [{**DESCRIPTOR, "mediaType": "application/vnd.example.data+type"}]},
        {**IMAGE, "artifactType": ARTIFACT, "config": {**DESCRIPTOR, "mediaType": "application/vnd.oci.empty.v1+json"}},
        {**IMAGE, "layers": []}],  # the schema wants one; the text says SHOULD, and `FROM scratch` has none
    "index": [
        CHOICE, {**CHOICE, "annotations": {"com.example.key1": "value1"}}, {**CHOICE, "subject": DESCRIPTOR},
        {**CHOICE, "manifests": [{**DESCRIPTOR, "platform": PPC}]}, {**CHOICE, "artifactType": ARTIFACT},
        {**CHOICE, "manifests": [{**DESCRIPTOR, "mediaType": "application/customized.manifest+json"}]}],
    "config": [
        SETTINGS, {**SETTINGS, "created": "2015-10-31T22:22:56.015925234Z", "author": "Ann <ann@example.com>",
                   "variant": "v8", "history": [{"created_by": "x", "empty_layer": True}], "config": {
                       "User": "1:1", "ExposedPorts": {"8080/tcp": {}}, "Env": ["FOO=a", "BAR="], "Cmd": ["--x"],
                       "Entrypoint": ["/bin/sh"], "Volumes": {"/var/a": {}}, "StopSignal": "SIGKILL",
                       "WorkingDir": "/home/ann", "Labels": {"com.example.url": "https://example.com"}}},
        {**SETTINGS, "config": {"Entrypoint": None, "Cmd": None, "Volumes": None, "Labels": None, "OnBuild": None}}],
}
INVALID = {
    "descriptor": [
        *(without(DESCRIPTOR, key) for key in DESCRIPTOR),
        *({**DESCRIPTOR, "size": size} for size in ("7682", -7682, 1 << 63)),
        *({**DESCRIPTOR, "mediaType": text} for text in ("", "application", "invalid", ".foo/bar", "foo/.bar",
                                                         "1" * 128 + "/bar", "foo/" + "1" * 128)),
        *({**DESCRIPTOR, "digest": text} for text in (":" + "ab" * 32, "sha256", "SHA256:" + "ab" * 32,
                                                      "sha256:" + "AB" * 32, "sha256+foo+-b:" + "ab" * 32)),
        {**DESCRIPTOR, "urls": ["value"]}, {**DESCRIPTOR, "artifactType": "foo/.bar"}, {**DESCRIPTOR, "data": "aHR0cA"},
        {**DESCRIPTOR, "digest": "sha256:" + "ab" * 31}, {**DESCRIPTOR, "digest": "sha256+b64:a/b"}],
    "manifest": [
        {**IMAGE, "config": {**IMAGE["config"], "mediaType": "invalid"}}, {**IMAGE, "subject": ".nope"},
        {**IMAGE, "config": {**IMAGE["config"], "size": "1470"}},
        {**IMAGE, "layers": [{**LAYERS[0], "size": "675598"}]},
        {**IMAGE, "layers": [{**LAYERS[0], "digest": "sha256+foo+-b:" + "ab" * 32}]},
        *(without(IMAGE, key) for key in ("schemaVersion", "config")), {**IMAGE, "schemaVersion": 3},
        {**IMAGE, "schemaVersion": "2"}, {**IMAGE, "layers": {}}],
    "index": [
        *({**CHOICE, "manifests": [{**DESCRIPTOR, "mediaType": text}]} for text in ("invalid", "")),
        {**CHOICE, "manifests": [{**DESCRIPTOR, "size": "7682"}]},
        {**CHOICE, "manifests": [without(DESCRIPTOR, "digest")]},
        {**CHOICE, "manifests": [{**DESCRIPTOR, "platform": {"os": "linux"}}]}, {**CHOICE, "subject": "nope"},
        {**CHOICE, "manifests": [{**DESCRIPTOR, "platform": {"architecture": "amd64"}}]}, without(CHOICE, "manifests")],
    "config": [
        {**SETTINGS, "os": 123}, {**SETTINGS, "variant": 123}, {**SETTINGS, "config": {"User": 1234}},
        {**SETTINGS, "history": "should be an array"}, {**SETTINGS, "config": {"Env": [7353]}},
        {**SETTINGS, "config": {"Volumes": ["/var/job-result-data", "/var/log"]}},
        {**SETTINGS, "config": {"Env": ["foo"]}},
        "invalid JSON"],
}
READERS = {"descriptor": lambda data: Descriptor.from_json(json.loads(data)), "manifest": Manifest.from_json,
           "index": Index.from_json, "config": ImageConfig.from_json}


@pytest.mark.parametrize("kind", READERS)
def test_every_example_of_the_image_spec_is_judged_rightly(kind: str) -> None:
    for document in VALID[kind]:
        READERS[kind](json.dumps(document).encode())
    for document in INVALID[kind]:
        with pytest.raises(UnsafeArchive):
            READERS[kind](json.dumps(document).encode())
            pytest.fail(f"this was taken: {document}")


@pytest.mark.parametrize(("marker", "code"), [
    ('{"imageLayoutVersion": "1.0.0"}', 0), ('{"imageLayoutVersion": 1.0.0}', 15), ("[]", 15), ("{}", 15),
    ('{"imageLayoutVersion": "2.0.0"}', 15)])
def test_and_the_layouts_of_it(plain_user: Person, marker: str, code: int) -> None:
    layout = images.layout(plain_user.home / "layout", TAR, {})
    (layout / "oci-layout").write_text(marker)
    plain_user.iechor("load", "-i", layout, code=code)


# ---- layouts and archives --------------------------------------------------------------------------------------

def write_layout(folder: Path, entry: dict[str, Any], *blobs: bytes) -> Path:
    (folder / "blobs/sha256").mkdir(parents=True)
    for data in blobs:
        (folder / "blobs/sha256" / digest_of(data)[7:]).write_bytes(data)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def index_of(data: bytes, kind: str) -> bytes:
    entry = described(data, kind) | {"platform": {"os": "linux", "architecture": images.ARCHITECTURE}}
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()


GOOD = manifest_of(config_of(TAR), (BLOB, LAYER))
CHAIN = [index_of(GOOD, MANIFEST)]
for _ in range(5):
    CHAIN.append(index_of(CHAIN[-1], INDEX))
SHORT = manifest_of(config_of(TAR), (BLOB, LAYER)).replace(b'"size": %d' % len(BLOB), b'"size": 9')
LAYOUTS = {  # name: (entry of index.json, blobs), exit code, cause
    "indexes without end": ((described(CHAIN[-1], INDEX), *CHAIN, GOOD, config_of(TAR), BLOB), MISSING, "cannot find"),
    "a blob that is missing": ((described(GOOD, MANIFEST), GOOD, BLOB), UNSAFE, "is missing"),
    "a blob of another size": ((described(SHORT, MANIFEST), SHORT, config_of(TAR), BLOB), UNSAFE, "instead of 9"),
    "an index called a manifest": ((described(CHAIN[0], MANIFEST), *CHAIN), UNSAFE, "it says it is"),
    "a manifest of another size": ((described(GOOD, MANIFEST) | {"size": 5}, GOOD), UNSAFE, "instead of 5"),
    "a size of many digits": ((described(GOOD, MANIFEST) | {"size": 10 ** 30}, GOOD), UNSAFE, "size"),
    "a digest of an unknown algorithm": ((described(GOOD, MANIFEST) | {"digest": "sha256+b64:" + "ab" * 32}, GOOD),
                                         UNSAFE, "sha256+b64"),
    "a digest that climbs": ((described(GOOD, MANIFEST) | {"digest": "sha256:../../../etc/passwd"}, GOOD), UNSAFE,
                             "digest"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_layout_that_lies_is_refused(person: Person, tmp_path: Path, case: str) -> None:
    (entry, *blobs), code, said = LAYOUTS[case]
    folder = write_layout(person.home / case.replace(" ", "-"), entry, *blobs)
    assert said in person.iechor("load", "-i", folder, code=code).stderr


def docker_archive(layers: list[str], *members: tuple[str, bytes | None, str], config: bytes = b"") -> bytes:
    """members: (name, content or None, target of a symlink)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        manifest = json.dumps([{"Config": "config.json", "RepoTags": ["hostile:1"], "Layers": layers}]).encode()
        members = (("manifest.json", manifest, ""), ("config.json", config or config_of(TAR), ""), *members)
        for name, data, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.SYMTYPE, target) if data is None else (tarfile.REGTYPE, "")
            info.size = len(data or b"")
            archive.addfile(info, io.BytesIO(data or b""))
    return buffer.getvalue()


def sparse_archive(size: int) -> bytes:
    """Whose one layer is a hole of so many bytes."""
    manifest = json.dumps([{"Config": "config.json", "Layers": ["s"]}]).encode()
    return (file(b"manifest.json", manifest) + file(b"config.json", config_of(TAR)) +
            pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % size)) +
            header(b"s", size=512) + padded(b"0\n") + END)


ARCHIVES = {
    "a layer of the host": (docker_archive(["/etc/hostname"]), UNSAFE, "is missing"),
    "a layer that climbs": (docker_archive(["../../../../etc/hostname"]), UNSAFE, "is missing"),
    "a layer by a symlink out": (docker_archive(["l"], ("l", None, "/etc/hostname")), UNSAFE, "is missing"),
    "a layer by a symlink that climbs": (docker_archive(["l"], ("l", None, "../../etc/hostname")), UNSAFE, "missing"),
    "a layer by a loop": (docker_archive(["l"], ("l", None, "m"), ("m", None, "l")), UNSAFE, "missing"),
    "another layer than the config says": (docker_archive(["l"], ("l", TAR + bytes(512), "")), UNSAFE, "digest"),
    "an entry that climbs": (docker_archive(["l"], ("../l", TAR, "")), UNSAFE, "leads out"),
    "tags that are no text": (docker_archive([]).replace(b'["hostile:1"]', b"[1,2,3,4,5,6]"), UNSAFE, "not docker's"),
    "a sparse layer of a petabyte": (sparse_archive(10 ** 15), UNSAFE, "larger than"),
    "a sparse layer of a terabyte": (sparse_archive(10 ** 12), UNSAFE, "sparse file"),
    "a config of many megabytes": (docker_archive([], config=b" " * (5 << 20)), UNSAFE, "at most"),
    "deep JSON": (file(b"manifest.json", b"[" * (4 << 20)) + END, UNSAFE, "not JSON"),
    "no archive": (b"\0" * 5000, UNSAFE, "neither"),
    "half a gzip": (gzip.compress(docker_archive([]))[:-20], UNSAFE, "cut off"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_lies_is_refused(person: Person, case: str) -> None:
    data, code, said = ARCHIVES[case]
    done = person.iechor("load", "-i", person.write("hostile.tar", data), code=code)
    assert done.returncode != 0 and said in done.stderr, done.stderr


@pytest.mark.lean
def test_a_hundred_megabytes_of_index_are_not_read(person: Person) -> None:
    path = person.write("hostile.tar", file(b"index.json", b'{"a": [' + b"1," * (50 << 20)) + END)
    code, errors, peak = measured(person, "load", "-i", path)
    assert code == UNSAFE and "longer than 4194304 bytes" in errors and peak < 120 * MIB


# ---- bombs -----------------------------------------------------------------------------------------------------

def pieces(count: int) -> Iterable[bytes]:
    return (bytes(1 << 20) for _ in range(count))


def zstd_bomb(mebibytes: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join(packer.compress(piece) for piece in pieces(mebibytes)) + packer.flush()


def gzip_bomb(mebibytes: int) -> bytes:
    import zlib

    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(piece) for piece in pieces(mebibytes)) + packer.flush()


@pytest.mark.lean
@pytest.mark.parametrize(("kind", "bomb", "most"), [("gzip", gzip_bomb, 110), ("zstd", zstd_bomb, 180)])
def test_a_layer_that_inflates_without_end_costs_no_memory(person: Person, kind: str, bomb: Any, most: int) -> None:
    """A part of one: it is read once, kept nowhere, and is not what its config says."""
    blob = bomb(256)
    with serve(layer=(blob, LAYER.replace("gzip", kind))) as server:
        code, errors, peak = measured(person, "pull", "--retry", "0", f"{server.host}/some/thing:1")
    assert code == UNSAFE and "Traceback" not in errors and peak < most * MIB and len(blob) < 6 << 20
    assert sum(path.stat().st_blocks for path in person.store.rglob("*")) * 512 < 20 << 20


def test_an_archive_that_inflates_without_end_does_not_fill_the_disk(tmp_path: Path, monkeypatch: Any) -> None:
    """With a smaller allowance than the true one, which is 16 GiB: the disk is not ours alone."""
    monkeypatch.setattr("rootless_builder.sources.archive.INFLATED_FREE", 1 << 20)
    monkeypatch.setattr("rootless_builder.sources.archive.INFLATED_RATIO", 10)
    path = tmp_path / "bomb.tar.gz"
    for bomb in (gzip_bomb(64), zstd_bomb(64)):
        path.write_bytes(bomb)
        with pytest.raises(UnsafeArchive, match="far more than any archive needs"):
            ArchiveSource(os.open(path, os.O_RDONLY), what="it", tmp=tmp_path)
    assert os.listdir(tmp_path) == ["bomb.tar.gz"]


@pytest.mark.lean
def test_a_window_that_wants_gigabytes_is_refused(person: Person) -> None:
    blob = b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00"  # a frame whose window is 2 GiB (RFC 8878 section 3.1.1.1.2)
    with serve(layer=(blob, LAYER.replace("gzip", "zstd"))) as server:
        code, errors, peak = measured(person, "pull", "--retry", "0", f"{server.host}/some/thing:1")
    assert code == UNSAFE and "cannot inflate" in errors and peak < 110 * MIB


def crowd(count: int) -> bytes:
    """A tar of `count` empty files in one folder, made without formatting each header anew."""
    block = bytearray(header(b"d/0000000"))
    base = sum(block[:148]) + 8 * 32 + sum(block[156:]) - 7 * 48
    parts = []
    for number in range(count):
        name = b"%07d" % number
        block[2:9] = name
        block[148:156] = b"%06o\0 " % (base + sum(name))
        parts.append(bytes(block))
    return b"".join(parts) + END


def load_crowd(person: Person, count: int) -> int:
    tar = crowd(count)
    layout = images.layout(person.home / "crowd", tar, {})
    code, errors, peak = measured(person, "load", "-i", layout, timeout=600)
    assert code == 0, errors
    assert len(person.iechor("images", "-q").stdout.split()) == 1
    return peak


@pytest.mark.lean
def test_a_hundred_thousand_entries_in_one_folder(plain_user: Person) -> None:
    assert load_crowd(plain_user, 100_000) < 220 * MIB


@pytest.mark.lean
@pytest.mark.soak
def test_a_million_entries_in_one_folder(plain_user: Person) -> None:
    assert load_crowd(plain_user, 1_000_000) < 1500 * MIB


@pytest.mark.lean
@pytest.mark.parametrize("kind", [b"L", b"K", b"x"])
def test_a_name_of_four_gigabytes_is_not_read(person: Person, kind: bytes) -> None:
    tar = header(b"././@LongLink", kind, size=(4 << 30) - 1) + b"n" * (1 << 20)
    with serve(tar=tar, layer=(gzip.compress(tar), LAYER)) as server:
        code, errors, peak = measured(person, "pull", "--retry", "0", f"{server.host}/some/thing:1")
    assert code == UNSAFE and "a header of 4294967295 bytes" in errors and peak < 110 * MIB


@pytest.mark.lean
def test_many_long_names_are_not_kept_twice(person: Person) -> None:
    """Each of the longest that are allowed, and thousands of them: memory is what they weigh, not more."""
    tar = b"".join(gnu_long((b"%05d" % number + b"n" * 245 + b"/") * 16) + file() for number in range(2000)) + END
    with serve(tar=b"another", layer=(gzip.compress(tar), LAYER)) as server:
        code, _, peak = measured(person, "pull", "--retry", "0", f"{server.host}/some/thing:1")
    assert code == UNSAFE and peak < 400 * MIB


# ---- escapes ---------------------------------------------------------------------------------------------------

NAMES = ["\uff0e\uff0e/x", "..\\x", "..%2fx", "%2e%2e/x", "c:/x", "e\u0301/x", "\u00e9/x", "A/x", "a/x", "x\u202etxt",
         "\u2024\u2024/x", ".../x", ".. /x", " /x", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")]


def test_names_that_only_look_alike_are_names_like_others() -> None:
    """What some file systems fold (case, composed letters, wide dots) is not folded: as bytes they differ."""
    tar = symlink(b"\xc3\x89", b"/etc") + symlink(b"B", b"/etc") + b"".join(
        pax((b"path", name.encode())) + file() for name in [*NAMES, "b/x", "\u00c8/x", "E\u0301/x"]) + END
    paths = {str(change.path) for change in read_layer(io.BytesIO(tar))}
    assert {*NAMES, "b/x", "B", "\u00c9", "E\u0301/x"} <= paths


def loaded(person: Person, *tars: bytes) -> str:
    """The name of an image of these layers, made by no code of ours."""
    blobs = [gzip.compress(tar, 1, mtime=0) for tar in tars]
    config = config_of(*tars)
    manifest = manifest_of(config, *((blob, LAYER) for blob in blobs))
    layout = write_layout(person.home / f"layout-{digest_of(manifest)[7:19]}", described(manifest, MANIFEST), manifest,
                          config, *blobs)
    image = person.iechor("load", "-i", layout).stdout.split()[-1]
    name = f"localhost/hostile:{digest_of(manifest)[7:19]}"
    person.iechor("tag", image, name)
    return name


@pytest.fixture
def victim(plain_user: Person) -> Path:
    """A folder of the user's that no image may touch."""
    path = plain_user.write("victim/mine", "mine\n").parent
    plain_user.write("victim/authorized_keys", "key\n")
    return path


def untouched(victim: Path) -> bool:
    return {path.name: path.read_text() for path in victim.iterdir()} == {"mine": "mine\n", "authorized_keys": "key\n"}


def test_a_symlink_of_a_lower_layer_leads_nowhere(plain_user: Person, victim: Path) -> None:
    """Within one tar the reader refuses it; over two layers the upper folder replaces the link, on disk as well."""
    target = str(victim).encode()
    image = loaded(plain_user,
                   symlink(b"s", target) + symlink(b"t", target) + folder(b"r") + symlink(b"r/u", b"../s") +
                   symlink(b"v", target) + symlink(b"w", target) + END,
                   folder(b"s") + file(b"s/authorized_keys", b"theirs") + file(b"t", b"theirs") + folder(b"r/u") +
                   file(b"r/u/mine", b"theirs") + file(b"w/.wh.mine") + file(b"v/authorized_keys", b"theirs") + END)
    plain_user.write("ctx/iEchorfile", f"FROM {image}\nCOPY --from={image} /s /copied/\n")
    plain_user.iechor("build", "-o", "type=local,dest=out", "-f", "ctx/iEchorfile", "ctx")
    out = plain_user.home / "out"
    assert untouched(victim)
    for path in ("s/authorized_keys", "t", "r/u/mine", "copied/authorized_keys"):
        assert (out / path).read_text() == "theirs" and not (out / path).is_symlink()


def test_nor_does_one_that_an_earlier_export_left(plain_user: Person, victim: Path) -> None:
    target = str(victim).encode()
    first = loaded(plain_user, symlink(b"s", target) + symlink(b"t", target + b"/mine") + END)
    second = loaded(plain_user, folder(b"s", mtime=5) + file(b"s/authorized_keys", b"theirs") + file(b"t", b"theirs") +
                    END)
    for image in (first, second):
        plain_user.write("ctx/iEchorfile", f"FROM {image}\nLABEL a=b\n")
        plain_user.iechor("build", "-o", "type=local,dest=out", "-f", "ctx/iEchorfile", "ctx")
    assert untouched(victim) and (plain_user.home / "out/s/authorized_keys").read_text() == "theirs"
    assert (plain_user.home / "out/t").read_text() == "theirs"


def test_nor_one_that_a_copied_archive_or_folder_meets(plain_user: Person, victim: Path) -> None:
    image = loaded(plain_user, symlink(b"d", str(victim).encode()) + symlink(b"e", b"../../../../.." +
                   str(victim).encode()) + END)
    plain_user.write("ctx/a.tar", file(b"d/mine", b"theirs") + file(b"e/mine", b"theirs") + END)
    plain_user.write("ctx/f/mine", "theirs")
    plain_user.write("ctx/iEchorfile", f"FROM {image}\nADD a.tar /\nCOPY f/ /d/\nCOPY f/mine /e/mine\n")
    plain_user.iechor("build", "-o", "type=local,dest=out", "-f", "ctx/iEchorfile", "ctx")
    assert untouched(victim)


def test_devices_and_set_id_bits_stay_in_the_image(plain_user: Person) -> None:
    """Nothing that the host's kernel would obey lies on the host's disk, wherever we unpack."""
    image = loaded(plain_user, header(b"sda", b"4", major=8, mode=0o666) + header(b"null", b"3", major=1, minor=3) +
                   header(b"pipe", b"6") + file(b"su", b"x", mode=0o6755) + END)
    plain_user.write("ctx/iEchorfile", f"FROM {image}\nCOPY iEchorfile /\n")
    done = plain_user.iechor("build", "-o", "type=local,dest=out", "-f", "ctx/iEchorfile", "ctx")
    assert "2 device nodes (/null, ...) left out" in done.stderr
    for path in plain_user.home.rglob("*"):
        mode = path.lstat().st_mode
        assert not (os.path.stat.S_ISBLK(mode) or os.path.stat.S_ISCHR(mode)) and not mode & 0o6000, path


def test_a_hard_link_of_another_layer_is_refused(person: Person) -> None:
    with serve(tar=hard_link(b"l", b"etc/shadow") + END,
               layer=(gzip.compress(hard_link(b"l", b"etc/shadow") + END), LAYER)) as server:
        done = person.iechor("pull", "--retry", "0", f"{server.host}/some/thing:1", code=UNSAFE)
    assert "no file of it" in done.stderr


# ---- what it says of itself ------------------------------------------------------------------------------------

def test_words_of_an_image_do_not_draw_on_the_terminal(plain_user: Person) -> None:
    """Escape sequences, lone surrogates, NULs, times beyond all calendars: shown, and never obeyed."""
    evil = "\x1b]0;owned\x07\x1b[2J\ud800\0\u202e"
    config = config_of(TAR, author=evil, created="9999999-99-99T00:00:00Z", config={
        "Cmd": ["/bin/" + evil], "Env": ["A=" + evil, "B=c"], "Labels": {evil: evil}, "User": evil,
        "WorkingDir": "/" + evil, "ExposedPorts": {evil: {}}, "StopSignal": evil}, history=[
            {"created": "0001-01-01T00:00:00", "created_by": evil, "comment": evil, "author": evil}])
    manifest = manifest_of(config, (BLOB, LAYER), annotations={evil: evil})
    layout = write_layout(plain_user.home / "layout", described(manifest, MANIFEST) | {
        "annotations": {"org.opencontainers.image.ref.name": evil}}, manifest, config, BLOB)
    image = plain_user.iechor("load", "-i", layout).stdout.split()[-1]
    for words in (["images"], ["history", image], ["history", "--no-trunc", image], ["inspect", image],
                  ["inspect", "-f", "{{.Author}}", image], ["run", "--rm", image], ["run", "--rm", image, "/hello"]):
        done = plain_user.iechor(*words, code=None)
        assert "\x1b" not in done.stdout + done.stderr, words
