"""--cache-to and --cache-from: what one user has built, another one with an empty store need not build."""

import hashlib
import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Person
from tests.flows.test_build import config, context, ran
from tests.registry_proxy import Fault, serve_faults
from tests.registry_server import Registry, serve_registry

TEXT = """\
FROM busybox AS tools
RUN mkdir /t && echo tool > /t/tool && chown 42:43 /t/tool
RUN head -c 3000 /dev/urandom > /t/noise
FROM busybox
WORKDIR /app
COPY f .
COPY --from=tools /t/tool /usr/bin/
RUN cat f > g && chown app g
RUN true
"""


@pytest.fixture
def one(subuid_user: Person, registry: Registry, busybox: str) -> Person:
    subuid_user.mirror(registry)
    return subuid_user


@pytest.fixture
def two(user: Person) -> Person:
    return user


@pytest.fixture
def own(shared: Path, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry for one test: what it was asked is looked at."""
    with serve_registry(shared / f"cache-{request.node.name[:40]}") as server:
        yield server


def build(person: Person, *options: str, text: str = TEXT, code: int = 0, env: dict[str, str] | None = None) -> str:
    return person.iechor("build", "--progress=plain", "-t", "x", *options, context(person, text, f="hello\n"),
                         code=code, env=env).stderr


def image_id(person: Person) -> str:
    return str(config(person)["Id"])


def diff_ids(person: Person) -> list[str]:
    found: Any = config(person)
    return list(found["RootFS"]["Layers"])


def blobs_fetched(server: Registry) -> set[str]:
    return {one.path.rpartition("/")[2] for one in server.requests()
            if one.method == "GET" and "/blobs/sha256:" in one.path and one.status == 200}


def manifest(server: Registry, name: str, tag: str = "latest") -> dict[str, Any]:
    kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    asked = urllib.request.Request(f"{server.url}/v2/{name}/manifests/{tag}", headers={"Accept": kinds})
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def test_every_step_of_another_user_hits_and_only_what_the_image_needs_is_fetched(
        one: Person, two: Person, own: Registry) -> None:
    shown = build(one, "--cache-to", f"type=registry,ref={own.host}/c/app,mode=max")
    assert "build cache: 8 records and 6 layers" in shown
    written = manifest(own, "c/app")
    layers = {layer["annotations"]["containerd.io/uncompressed"]: layer["digest"] for layer in written["layers"]}
    shown = build(two, "--cache-from", f"{own.host}/c/app")
    assert ran(shown) == []
    assert image_id(one) == image_id(two)
    needed = {layers[diff_id] for diff_id in diff_ids(two) if diff_id in layers}
    assert len(layers) == 6 and len(needed) == 4
    assert blobs_fetched(own) == {*needed, written["config"]["digest"]}
    assert two.iechor("run", "--rm", "x", "sh", "-c", "ls -l g; cat g /usr/bin/tool").stdout.split()[2::6][0] == "app"
    assert ran(build(two)) == ["RUN", "RUN"]  # what was fetched is the store's own now; the stage's layers were not


def test_a_build_for_its_cache_alone_fetches_no_layer(one: Person, two: Person, own: Registry) -> None:
    build(one, "--cache-to", f"type=registry,ref={own.host}/c/app,mode=max")
    config = manifest(own, "c/app")["config"]["digest"]
    assert ran(build(two, "--cache-from", f"{own.host}/c/app", "-o", "type=cacheonly", "--iidfile", "id")) == []
    assert blobs_fetched(own) == {config} and (two.home / "id").read_text() == image_id(one)
    build(two, "--cache-from", f"{own.host}/c/app")
    assert len(blobs_fetched(own)) == 5 and image_id(two) == image_id(one)


def test_a_later_step_fetches_what_it_runs_on(one: Person, two: Person, own: Registry) -> None:
    build(one, "--cache-to", f"type=registry,ref={own.host}/c/app,mode=max,compression=zstd,compression-level=9")
    assert {layer["mediaType"].rpartition("+")[2] for layer in manifest(own, "c/app")["layers"]} == {"zstd"}
    more = TEXT.replace("FROM busybox\nW", "RUN cat /t/noise /t/tool > /both\n"
                                           "FROM busybox\nCOPY --from=tools /both /\nW")
    assert ran(build(two, "--cache-from", f"type=registry,ref={own.host}/c/app", text=more))[0] == "RUN"
    assert two.iechor("run", "--rm", "x", "tail", "-n1", "/both").stdout.endswith("tool\n")


def test_mode_min_holds_the_steps_of_the_image_alone(one: Person, two: Person, own: Registry) -> None:
    epoch = {"SOURCE_DATE_EPOCH": "1700000000"}
    text = TEXT.replace("head -c 3000 /dev/urandom", "echo noise")
    build(one, "--cache-to", f"{own.host}/c/app:min", text=text, env=epoch)
    assert len(manifest(own, "c/app", "min")["layers"]) == 4
    assert ran(build(two, "--cache-from", f"{own.host}/c/app:min", text=text, env=epoch)) == ["RUN", "RUN"]
    assert image_id(one) == image_id(two)


def test_a_cache_is_written_on_from_what_came_out_of_it(one: Person, two: Person, own: Registry) -> None:
    """Layers that were never fetched stay where they are, and are named again."""
    place = f"type=registry,ref={own.host}/c/app,mode=max"
    build(one, "--cache-to", place)
    first = manifest(own, "c/app")
    build(two, "--cache-from", place.removesuffix(",mode=max"), "--cache-to", place)
    second = manifest(own, "c/app")
    assert {layer["digest"] for layer in first["layers"]} == {layer["digest"] for layer in second["layers"]}
    assert len(blobs_fetched(own)) == 5  # four layers, and the records


def test_a_folder_is_a_cache_and_an_image_layout(one: Person, two: Person, shared: Path) -> None:
    place = one.home / "cache"
    build(one, "--cache-to", f"type=local,dest={place},mode=max", "--cache-to", f"type=local,dest={place},tag=min")
    tags = [entry["annotations"]["org.opencontainers.image.ref.name"]
            for entry in json.loads((place / "index.json").read_bytes())["manifests"]]
    assert tags == ["latest", "min"]
    [entry, _] = json.loads((place / "index.json").read_bytes())["manifests"]
    assert ran(build(two, "--cache-from", f"type=local,src={place},digest={entry['digest']}")) == []
    assert image_id(one) == image_id(two)
    build(one, "--cache-to", f"type=local,dest={place},reset=true", text="FROM busybox\nRUN echo other > /o\n")
    # two manifests, two configs, four layers of the one and one of the other
    assert len(list((place / "blobs" / "sha256").iterdir())) == 2 + 2 + 5
    (place / "index.json").write_text("{")  # as a full disk might have left another tool's
    build(one, "--cache-to", f"type=local,dest={place}")
    [entry] = json.loads((place / "index.json").read_bytes())["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "latest"


def test_an_image_carries_its_own_cache(one: Person, two: Person, own: Registry) -> None:
    build(one, "--cache-to", "type=inline")
    told = image_id(one)
    one.iechor("push", "x", f"{own.host}/team/app:1")
    shown = build(two, "--cache-from", f"{own.host}/team/app:1", "--cache-to", "type=inline")
    assert ran(shown) == ["RUN", "RUN"], "what the image copied of them has the same content"
    plain = "FROM busybox\nWORKDIR /app\nCOPY f .\nRUN cat f > g && chown app g\n"
    build(one, "--cache-to", "type=inline", text=plain)
    one.iechor("push", "x", f"{own.host}/team/app:2")
    shown = build(two, "--cache-from", f"{own.host}/team/app:2", "--cache-to", "type=inline",
                  text=plain)
    assert ran(shown) == []
    assert image_id(one) == image_id(two) != told
    build(one, text=plain)
    assert image_id(one) != image_id(two), "the records are part of the config"


def test_sources_that_cannot_be_read_are_told_and_the_build_goes_on(two: Person, own: Registry, registry: Registry,
                                                                    busybox: str) -> None:
    shown = build(two, "--cache-from", "127.0.0.1:1/no/one", "--cache-from", f"{own.host}/not/there",
                  "--cache-from", "type=local,src=/nowhere", "--cache-from", f"{registry.host}/library/busybox",
                  text="FROM busybox\nRUN true\n")
    told = [line for line in shown.splitlines() if "is not used" in line]
    assert [[word in line for word in ("127.0.0.1:1/no/one", "not/there", "/nowhere", "library/busybox")].index(True)
            for line in told] == [0, 1, 2, 3]
    assert "Connection refused" in told[0] and "no such image" in told[1] and "No such file" in told[2]
    assert "no build cache" in told[3]


def test_a_layer_with_other_bytes_is_not_believed(one: Person, two: Person) -> None:
    place = one.home / "cache"
    build(one, "--cache-to", f"type=local,dest={place},mode=max")
    for blob in (place / "blobs" / "sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-9] + b"tampered!")
    shown = build(two, "--cache-from", f"type=local,src={place}")
    assert "begins again without it" in shown
    assert two.iechor("run", "--rm", "x", "cat", "g").stdout == "hello\n"
    blobs = two.store / "blobs" / "sha256"
    wanted = {diff_id.removeprefix("sha256:") for diff_id in diff_ids(two)}
    for path in blobs.iterdir():
        if path.name in wanted:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


LIES: dict[str, Callable[[Any], object]] = {
    "another layer's bytes": lambda found: [one.update(diff_id="sha256:" + "a" * 64) for one in found["records"]],
    "a size too small": lambda found: [one.update(size=512) for one in found["records"] if one["diff_id"]],
    "a size too large": lambda found: [one.update(size=1 << 40) for one in found["records"] if one["diff_id"]],
    "no records": lambda found: found.update(records={"a": 1}),
    "odd records": lambda found: found.update(records=[{"key": 1}, {"key": "a" * 64, "size": -1, "facts": {}},
                                                       {"key": "../../x", "size": 1, "facts": {}, "diff_id": "x"}]),
    "another version": lambda found: found.update(version=99),
}


def test_records_that_lie_cost_a_rebuild_and_nothing_else(one: Person, two: Person) -> None:
    """The document of records is rewritten, with digests that are right: a cache written by an enemy."""
    place, text = one.home / "cache", "FROM busybox\nRUN echo right > /r\nRUN cat /r > /s\n"
    build(one, "--cache-to", f"type=local,dest={place}", text=text)
    for number, (lie, tell) in enumerate(LIES.items()):
        lying = shutil.copytree(place, two.home / f"lie{number}")
        rewrite(lying, tell)
        store = {"IECHOR_HOME": str(two.home / f"store{number}")}
        shown = build(two, "--cache-from", f"type=local,src={lying}", text=text, env=store)
        assert ran(shown.rpartition("begins again")[2]) == ["RUN", "RUN"], lie
        done = two.iechor("run", "--rm", "x", "cat", "/r", "/s", env=store)
        assert done.stdout == "right\nright\n", lie


def rewrite(place: Path, change: Callable[[Any], object]) -> None:
    """The records of a cache in a folder, changed, under names that are right."""
    blobs = place / "blobs" / "sha256"
    index = json.loads((place / "index.json").read_bytes())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())
    records = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
    change(records)
    manifest["config"].update(put(blobs, records))
    index["manifests"][0].update(put(blobs, manifest))
    (place / "index.json").write_text(json.dumps(index))


def put(blobs: Path, value: object) -> dict[str, object]:
    data = json.dumps(value).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def test_a_source_that_dies_in_the_midst_is_left_out(one: Person, two: Person, own: Registry) -> None:
    build(one, "--cache-to", f"type=registry,ref={own.host}/c/app,mode=max")
    with serve_faults(own) as proxy:
        layers = [layer["digest"] for layer in manifest(own, "c/app")["layers"]]
        proxy.faults += [Fault("GET", digest, status=404, times=99) for digest in layers]
        for more in ("", "RUN cat g > h\n"):  # the image needs the layers, or a step of a stage before it does
            shown = build(two, "--cache-from", f"{proxy.host}/c/app", text=TEXT + more)
            assert "begins again without it" in shown
            assert two.iechor("run", "--rm", "x", "cat", "g").stdout == "hello\n"
            shutil.rmtree(two.store)


def test_what_cannot_be_written_is_an_error_unless_it_may_be(two: Person) -> None:
    text = "FROM busybox\nRUN true\n"
    shown = build(two, "--cache-to", "type=registry,ref=127.0.0.1:1/c/app", text=text, code=8)
    assert "cannot write the build cache 127.0.0.1:1/c/app" in shown
    shown = build(two, "--cache-to", "type=registry,ref=127.0.0.1:1/c/app,ignore-error=true", text=text)
    assert "is not written" in shown
    two.write("file", "")
    assert "cannot write the build cache" in build(two, "--cache-to", f"type=local,dest={two.home}/file", text=text,
                                                   code=14)


MISTAKES = [
    ("--cache-to=type=gha", "cannot carry out --cache-to type=gha", 4),
    ("--cache-to=type=disk", 'there is no type "disk"', 2),
    ("--cache-to=type=local,src=a", 'has no attribute "src"', 2),
    ("--cache-to=type=local", "it says no dest", 2),
    ("--cache-to=type=registry,ref=a,mode=most", 'no mode "most"', 2),
    ("--cache-to=type=registry,ref=a,compression=lzma", 'no compression "lzma"', 2),
    ("--cache-from=type=registry", "it says no ref", 2),
    ("--cache-from=type=local,src=a,digest=b", "digest", 2),
    ("--cache-ttl=soon", "--cache-ttl", 2),
]


def test_what_is_misspelled_is_refused_before_anything_is_done(two: Person) -> None:
    for option, said, code in MISTAKES:
        assert said in build(two, option, text="FROM busybox\n", code=code)
    assert not (two.store / "images").exists() or not list((two.store / "images").iterdir())


def test_steps_older_than_the_limit_are_built_again(two: Person) -> None:
    text = "FROM busybox\nRUN true > /a\n"
    build(two, text=text)
    assert ran(build(two, "--cache-ttl", "1h", text=text)) == []
    assert ran(build(two, "--cache-ttl", "0", text=text)) == ["RUN"]
    for record in (two.store / "cache").glob("??/*"):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"facts": {"made": "1600000000"}}))
    assert ran(build(two, "--cache-ttl", "1h", text=text)) == ["RUN"]
    assert ran(build(two, "--cache-ttl", "1h", text=text)) == []


def test_a_pull_of_the_cache_that_broke_off_is_no_image(one: Person, two: Person, own: Registry) -> None:
    """After the store of the first is gone, its cache still serves, as often as one likes."""
    build(one, "--cache-to", f"type=registry,ref={own.host}/c/app,mode=max")
    told = image_id(one)
    shutil.rmtree(one.store)
    for person in (one, two):
        assert ran(build(person, "--cache-from", f"{own.host}/c/app")) == []
        assert image_id(person) == told
        person.iechor("prune")
        assert image_id(person) == told
