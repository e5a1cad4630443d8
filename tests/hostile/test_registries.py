"""Registries that lie, stall, lead astray. The command ends with a cause and its exit code, soon, in little memory."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rootless_builder.config import RegistryAccess, load
from rootless_builder.errors import IechorError, RegistryError, UnsafeArchive
from rootless_builder.oci.reference import Reference
from rootless_builder.registry.auth import Credentials
from rootless_builder.registry.client import RegistryClient
from rootless_builder.registry.transfer import pull
from rootless_builder.store.store import Store
from rootless_builder.values import replace
from tests import provision
from tests.conftest import Person, _person
from tests.hostile.hostile_server import (
    BLOB,
    INDEX,
    LAYER,
    MANIFEST,
    TAR,
    Server,
    config_of,
    described,
    digest_of,
    manifest_of,
    redirects,
    response,
    sends,
    serve,
)
from tests.hostile.measuring import measured

ELSEWHERE = "registry.invalid"  # a host that is not this machine: reached through a proxy that is
MANY = b"9" * 5000  # more digits than Python makes a number of
REGISTRY, UNSAFE = RegistryError.exit_code, UnsafeArchive.exit_code


@pytest.fixture(scope="module")
def person() -> Iterator[Person]:
    """One plain user for all that is refused: nothing of it may be named, or half-written, in their store."""
    for person in _person(provision.PLAIN_USER, "fakeroot"):
        yield person
        assert person.iechor("images", "-q").stdout == ""
        assert person.iechor("check").stdout
        assert not [path for path in (person.store / "tmp").iterdir() if not path.name.startswith("partial.")]


def pulled(person: Person, server: Server, code: int, said: str, *, name: str = "", **env: str) -> str:
    """What `iechor pull` says on standard error as it is refused."""
    done = person.iechor("pull", "--retry", "0", name or f"{server.host}/some/thing:1", code=code, env=env)
    assert said in done.stderr and done.stderr.startswith("iechor: cannot pull"), done.stderr
    return done.stderr


def refused(folder: Path, server: Server, code: int, said: str) -> str:
    """The same in this process, for the many: any other error than one of ours would be a traceback."""
    with Store.open(folder / "store") as store, pytest.raises(IechorError) as caught:
        pull(Reference.parse(f"{server.host}/some/thing:1"), store, client=client_of(folder, 0))
    with Store.open(folder / "store") as store:
        assert store.images.list() == [] and len(list((folder / "store/blobs/sha256").iterdir())) == 0
    assert caught.value.exit_code == code and caught.value.message.startswith("cannot pull"), caught.value
    assert said in caught.value.message
    return caught.value.message


def client_of(folder: Path, retries: int, **environ: str) -> RegistryClient:
    access = RegistryAccess(retries=retries, retry_delay=0.0)
    settings = replace(load([], {"HOME": str(folder), **environ}), access=access)
    return RegistryClient(settings, Credentials(settings.auth_file, ()), pause=lambda seconds: None)


def through(server: Server, **more: str) -> dict[str, str]:
    return {"http_proxy": f"http://{server.host}", "https_proxy": f"http://{server.host}",
            "IECHOR_INSECURE_REGISTRIES": ELSEWHERE, **more}


def test_the_server_of_these_tests_is_a_registry(plain_user: Person) -> None:
    with serve() as server:
        plain_user.iechor("pull", f"{server.host}/some/thing:1")
        plain_user.iechor("pull", "--retry", "0", f"{ELSEWHERE}/some/thing:1", env=through(server))


# ---- where it sends us -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/x", "gopher://127.0.0.1/x", "data:,x",
                                    "unix:///var/run/docker.sock"])
def test_only_http_is_followed(person: Person, target: str) -> None:
    with serve({"GET /v2/some/thing/manifests/": redirects(target)}) as server:
        assert "redirects to" in pulled(person, server, REGISTRY, target[:4])


@pytest.mark.parametrize(("host", "what"), [
    ("127.0.0.1:{}", "/manifests/"), ("127.9.9.9:{}", "/blobs/" + digest_of(config_of(TAR))),
    ("localhost:{}", "/blobs/" + digest_of(BLOB)), ("[::1]:{}", "/manifests/"), ("169.254.169.254", "/manifests/"),
    ("[::ffff:127.0.0.1]:{}", "/manifests/"), ("0.0.0.0:{}", "/manifests/"), ("[fe80::1]:{}", "/manifests/")])
def test_a_registry_elsewhere_does_not_send_us_to_this_machine(person: Person, host: str, what: str) -> None:
    with serve() as service, serve({what: redirects(f"http://{host.format(service.port)}/secret")}) as server:
        pulled(person, server, REGISTRY, f"{ELSEWHERE} sends us to {host.format(service.port)}: that is this machine",
               name=f"{ELSEWHERE}/some/thing:1", **through(server))
        assert service.requests == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1"])
def test_nor_by_a_name_that_only_turns_out_to_mean_it(person: Person, host: str) -> None:
    with serve() as service, serve({"/manifests/": redirects(f"http://{host}:{service.port}/secret")}) as server:
        pulled(person, server, REGISTRY, "that is this machine", name=f"{ELSEWHERE}/some/thing:1",
               **through(server, no_proxy=host))
        assert service.requests == []


def test_nor_by_the_place_where_tokens_are(person: Person) -> None:
    with serve() as service:
        challenge = response(status="401 Unauthorized",
                             WWW_Authenticate=f'Bearer realm="http://{service.host}/token",service="x"')
        with serve({"/v2/": sends(challenge)}) as server:
            pulled(person, server, REGISTRY, "that is this machine", name=f"{ELSEWHERE}/some/thing:1",
                   **through(server))
        assert service.requests == []


def test_nor_does_it_take_an_upload_there(plain_user: Person) -> None:
    with serve() as service, serve({"POST ": sends(response(
            status="202 Accepted", Location=f"http://{service.host}/containers/create"))}) as server:
        plain_user.iechor("pull", f"{server.host}/some/thing:1")
        server.blobs.clear()  # it has nothing: it wants all of it
        done = plain_user.iechor("push", "--retry", "0", f"{server.host}/some/thing:1", f"{ELSEWHERE}/some/thing:1",
                                 code=REGISTRY, env=through(server))
        assert "that is this machine" in done.stderr and service.requests == []


def test_who_is_named_in_the_configuration_may_be_sent_to(plain_user: Person) -> None:
    with serve() as service, serve() as server:
        server.answers["/blobs/"] = lambda sock, request: sock.sendall(
            response(status="302 Found", Location=service.url(request.path)))
        plain_user.write(".config/iechor/config.toml", f'[registries."{service.host}"]\n')
        plain_user.iechor("pull", "--retry", "0", f"{ELSEWHERE}/some/thing:1", env=through(server))
        assert service.requests


def login(person: Person, host: str, entry: dict[str, str]) -> None:
    person.write(".config/iechor/auth.json", json.dumps({"auths": {host: entry}}), mode=0o600)


def test_another_host_gets_the_request_but_never_our_credentials(plain_user: Person) -> None:
    secret = base64.b64encode(b"ann:pass-of-ann").decode()
    wants = response(status="401 Unauthorized", WWW_Authenticate='Basic realm="x"')
    with serve() as other, serve() as server:
        def moved(sock, request) -> None:
            known = "authorization" in request.headers
            (redirects(f"http://{other.host}{request.path}") if known else sends(wants))(sock, request)

        server.answers = {"/v2/some/": moved, "/v2/": sends(wants)}
        login(plain_user, server.host, {"auth": secret})
        plain_user.iechor("pull", f"{server.host}/some/thing:1")
        assert any(secret in request.headers.get("authorization", "") for request in server.requests)
        assert len(other.requests) == 3
        assert not [request for request in other.requests if "authorization" in request.headers or "cookie" in
                    request.headers or b"pass" in request.body]


def test_a_token_server_that_moves_does_not_take_the_identity_token_along(person: Person) -> None:
    with serve() as other, serve() as server:
        server.answers = {"POST /token": redirects(f"http://{other.host}/token"), "GET /token": sends(response(b"{}")),
                          "/v2/": sends(response(status="401 Unauthorized", WWW_Authenticate=
                                                 f'Bearer realm="http://{server.host}/token",service="x"'))}
        login(person, server.host, {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": "tok-of-ann"})
        pulled(person, server, REGISTRY, "answered 307")
        assert b"tok-of-ann" in b"".join(request.body for request in server.requests) and other.requests == []
    login(person, "nobody.example", {})


ADDED = {"file": (redirects("file:///etc/passwd"), "redirects to"),
         "cut": (sends(response(b"half", Content_Length=8)), "broke off"),
         "another range": (sends(response(b"x", "206 Partial Content", Content_Range="bytes 5-5/9")), "answers 206"),
         "no HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "no connection"),
         "trouble": (sends(response(b"\x1b[2J", "500 \x1b[2J")), "500")}


@pytest.mark.parametrize("case", [*ADDED, "this machine", "silence"])
def test_nor_does_a_server_of_add_or_of_a_context(person: Person, case: str) -> None:
    """The same walls stand around what a build fetches; half a file is none."""
    with serve() as service, serve() as server:
        answer, said = ADDED.get(case, (server.silent, "timed out"))
        if case == "this machine":
            answer, said = redirects(f"http://{service.host}/secret"), "that is this machine"
        server.answers["/f"] = answer
        person.write("c/iEchorfile", f"FROM scratch\nADD http://{ELSEWHERE}/f /\n")
        for context in ("c", f"http://{ELSEWHERE}/f"):
            done = person.iechor("build", "--retry", "0", context, code=5, env=through(server, IECHOR_TIMEOUT="1"))
            assert said in done.stderr and "\x1b" not in done.stderr, done.stderr
        assert service.requests == []


def test_redirects_end(person: Person) -> None:
    with serve({"/manifests/": redirects("/v2/some/thing/manifests/2")}) as server:
        pulled(person, server, REGISTRY, "redirects without end")
        assert len(server.requests) < 20


# ---- what it says ----------------------------------------------------------------------------------------------

OTHER = config_of(TAR, author="somebody else")
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000

ANSWERS = {  # name: where, answer, exit code, cause
    "hangs up": ("/manifests/", b"", REGISTRY, "no connection"),
    "no HTTP": ("/manifests/", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", REGISTRY, "no connection"),
    "no HTTP at the door": ("/v2/", b"\0" * 100, REGISTRY, "no safe connection"),
    "a status of words": ("/manifests/", b"HTTP/1.1 fine\r\n\r\n", REGISTRY, "no connection"),
    "a line without end": ("/manifests/", b"HTTP/1.1 200 " + b"x" * 200_000, REGISTRY, "no connection"),
    "headers without end": ("/manifests/", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000, REGISTRY, "no connection"),
    "a length of many digits": ("/manifests/", response(b"{}", Content_Length=MANY.decode()), UNSAFE, "cannot pull"),
    "a length far beyond": ("/manifests/", response(b"{}", Content_Length="9" * 15), REGISTRY, "longer than"),
    "a negative length": ("/manifests/", response(b"{}", Content_Length=-5), UNSAFE, "the manifest"),
    "two lengths": ("/manifests/", response(b"{}", Content_Length="2, 3"), REGISTRY, "cannot pull"),
    "a shorter body": ("/manifests/", response(b"{}", Content_Length=200), REGISTRY, "broke off"),
    "chunks that lie": ("/manifests/", response(b"FFFFFFFF\r\nabc", Transfer_Encoding="chunked", Content_Length=None),
                        REGISTRY, "broke off"),
    "a chunk of words": ("/manifests/", response(b"xyz\r\nabc", Transfer_Encoding="chunked", Content_Length=None),
                         REGISTRY, "broke off"),
    "a chunk of many digits": ("/manifests/", response(b"F" * 60_000 + b"\r\nabc", Transfer_Encoding="chunked",
                                                       Content_Length=None), REGISTRY, "broke off"),
    "another manifest": ("/manifests/", response(b"{}", Docker_Content_Digest=digest_of(b"")), UNSAFE, "the digest"),
    "no JSON": ("/manifests/", response(b"<html>"), UNSAFE, "not JSON"),
    "deep JSON": ("/manifests/", response(DEEP), UNSAFE, "not JSON"),
    "another blob for the config": ("/blobs/" + digest_of(config_of(TAR)), response(OTHER), UNSAFE, "other bytes"),
    "another blob for a layer": ("/blobs/" + digest_of(BLOB), response(bytes(len(BLOB))), UNSAFE, "cannot inflate"),
    "another blob that looks right": ("/blobs/" + digest_of(BLOB), response(BLOB[:4] + b"\1" + BLOB[5:]), UNSAFE,
                                      "with the digest"),
    "a longer layer": ("/blobs/" + digest_of(BLOB), response(BLOB + b"x", Content_Length=None), UNSAFE, "longer than"),
    "a range of many digits": ("/blobs/" + digest_of(BLOB), response(
        BLOB, "206 Partial Content", Content_Range=f"bytes {MANY.decode()}-1/2"), UNSAFE, "asked for from 0"),
    "a range from elsewhere": ("/blobs/" + digest_of(BLOB), response(
        BLOB[5:], "206 Partial Content", Content_Range=f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}"), UNSAFE, "from 5 of"),
    "too many requests": ("/manifests/", response(status="429 Slow Down", Retry_After=3600), REGISTRY, "too often"),
    "trouble": ("/manifests/", response(b"oops", "500 Oops"), REGISTRY, "answered 500"),
    "trouble at the gate": ("/v2/", response(b"oops", "503 Oops"), REGISTRY, "answered 503"),
    "trouble in deep JSON": ("/manifests/", response(b"[" * 900_000, "500 Oops"), REGISTRY, "answered 500"),
    "an error that draws": ("/manifests/", response(b'{"errors":[{"message":"\\u001b[2Jgone"}]}', "400 Bad"), REGISTRY,
                            "gone"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_that_makes_no_sense_is_refused(tmp_path: Path, case: str) -> None:
    where, answer, code, said = ANSWERS[case]
    with serve({where: sends(answer)}) as server:
        refused(tmp_path, server, code, said)


def test_the_command_says_it_with_its_exit_code_and_draws_nothing(person: Person) -> None:
    for case in ("a shorter body", "deep JSON", "another blob that looks right", "an error that draws"):
        where, answer, code, said = ANSWERS[case]
        with serve({where: sends(answer)}) as server:
            assert "\x1b" not in pulled(person, server, code, said)


TOKENS = {
    "deep": b"[" * 900_000, "no token": b"{}", "a list": b"[]", "two lines": b'{"token":"a\\r\\nHost: b"}',
    "ages": b'{"token":"t","expires_in":' + b"9" * 400 + b"}", "infinite": b'{"token":"t","expires_in":1e999}',
    "long": b'{"token":"' + b"x" * (2 << 20) + b'"}',
}


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    with serve() as server:
        server.answers = {"/token": sends(response(TOKENS[case])), "/v2/": sends(response(
            status="401 Unauthorized", WWW_Authenticate=f'Bearer realm="http://{server.host}/token"'))}
        refused(tmp_path, server, REGISTRY, "longer than" if case == "long" else "does not answer with a token")


def index_of(*documents: bytes, kind: str = INDEX) -> bytes:
    entries = [described(data, kind) | {"platform": {"os": "linux", "architecture": "amd64"}} for data in documents]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def test_an_index_in_an_index_is_refused(tmp_path: Path) -> None:
    """No index can hold its own digest: the longest way round is a chain of them."""
    inner = manifest_of(config_of(TAR), (BLOB, LAYER))
    with serve(manifest=index_of(index_of(inner, kind=MANIFEST)), media_type=INDEX) as server:
        server.add(index_of(inner, kind=MANIFEST))
        refused(tmp_path, server, UNSAFE, "names another index")


def test_an_index_that_leads_back_to_its_tag_is_a_lie_about_a_digest(tmp_path: Path) -> None:
    index = index_of(b"what is not there")
    with serve({"/manifests/": sends(response(index, Content_Type=INDEX))}) as server:
        refused(tmp_path, server, UNSAFE, "does not have the digest")


KINDS = {
    "a manifest called an index": (manifest_of(config_of(TAR), (BLOB, LAYER)), INDEX, UNSAFE, "it says it is"),
    "an index called a manifest": (index_of(b""), MANIFEST, UNSAFE, "it says it is"),
    "both": (json.dumps(json.loads(index_of(b"")) | {"layers": []}).encode(), INDEX, UNSAFE, "either"),
    "a layer of no known kind": (manifest_of(config_of(TAR), (BLOB, "application/x-rar")), MANIFEST, 4, "is not a"),
    "a config of no known kind": (manifest_of(config_of(TAR), (BLOB, LAYER), config=described(
        config_of(TAR), "application/vnd.cncf.helm.config.v1+json")), MANIFEST, 4, "helm"),
    "gzip called zstd": (manifest_of(config_of(TAR), (BLOB, LAYER.replace("gzip", "zstd"))), MANIFEST, UNSAFE, "zstd"),
    "gzip called a tar": (manifest_of(config_of(TAR), (BLOB, LAYER.removesuffix("+gzip"))), MANIFEST, UNSAFE,
                          "the archive"),
    "more layers than the config has": (manifest_of(config_of(TAR), (BLOB, LAYER), (BLOB, LAYER)), MANIFEST, UNSAFE,
                                        "1 layers, its manifest 2"),
    "a config of another size": (manifest_of(config_of(TAR), (BLOB, LAYER)).replace(
        b'"size": %d' % len(config_of(TAR)), b'"size": 7'), MANIFEST, UNSAFE, "config"),
    "a layer of another size": (manifest_of(config_of(TAR), (BLOB, LAYER)).replace(
        b'"size": %d' % len(BLOB), b'"size": 7'), MANIFEST, UNSAFE, "which has 7"),
    "a layer by an unknown digest": (manifest_of(config_of(TAR), (BLOB, LAYER)).replace(
        digest_of(BLOB).encode(), b"sha256+b64:LCa0a2j"), MANIFEST, UNSAFE, "by the digest algorithm 'sha256+b64'"),
    "a layer of no size at all": (manifest_of(config_of(TAR), (BLOB, LAYER)).replace(
        b'"size": %d' % len(BLOB), b'"size": 1' + b"0" * 40), MANIFEST, UNSAFE, "size"),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_contradicts_itself_is_refused(tmp_path: Path, case: str) -> None:
    manifest, media_type, code, said = KINDS[case]
    with serve(manifest=manifest, media_type=media_type) as server:
        refused(tmp_path, server, code, said)


def test_a_digest_that_only_others_can_verify_is_no_matter_where_it_is_not_ours(tmp_path: Path) -> None:
    """The image spec: digests of unknown algorithms are valid where they stand."""
    manifest = manifest_of(config_of(TAR), (BLOB, LAYER))
    index = json.loads(index_of(manifest, kind=MANIFEST))
    index["manifests"].insert(0, index["manifests"][0] | {
        "digest": "sha256+b64:LCa0a2j", "platform": {"os": "linux", "architecture": "s390x"}})
    given = json.dumps(index).encode()
    with serve(manifest=given, media_type=INDEX) as server, Store.open(tmp_path / "store") as store:
        server.answers[digest_of(manifest)] = sends(response(manifest, Content_Type=MANIFEST))
        pull(Reference.parse(f"{server.host}/some/thing:1"), store, client=client_of(tmp_path, 0))
        assert len(store.images.list()) == 1


def test_a_digest_that_proves_nothing_is_none(tmp_path: Path) -> None:
    """MD5 of the very bytes that are sent, which a forger could match."""
    config = config_of(TAR)
    weak = f"md5:{hashlib.md5(config).hexdigest()}"
    manifest = manifest_of(config, (BLOB, LAYER)).replace(digest_of(config).encode(), weak.encode())
    with serve(manifest=manifest) as server:
        server.blobs[weak] = config
        refused(tmp_path, server, UNSAFE, "by the digest algorithm 'md5'")


# ---- how much, how long ----------------------------------------------------------------------------------------

def flood(piece: bytes, length: int | None = None):
    def answer(sock, request) -> None:
        sock.sendall(response(b"", Content_Length=length, Content_Type=MANIFEST))
        for _ in range((100 << 20) // len(piece)):
            sock.sendall(piece)
    return answer


@pytest.mark.lean
@pytest.mark.parametrize("where", ["/manifests/", "/blobs/" + digest_of(config_of(TAR))])
def test_a_hundred_megabytes_of_json_are_not_read(person: Person, where: str) -> None:
    with serve({where: flood(b'{"a":1},' * 8192)}) as server:
        code, errors, peak = measured(person, "pull", "--retry", "0", f"{server.host}/some/thing:1")
        assert code in (REGISTRY, UNSAFE) and "longer than 4194304 bytes" in errors and "Traceback" not in errors
        assert peak < 120 << 10


@pytest.mark.lean
@pytest.mark.parametrize("data", [b"[" + b"{}," * 1_390_000 + b"{}]", b'{"a":' * 830_000, b"[" * (4 << 20),
                                  b'{"schemaVersion":2,"manifests":[' + b"{}," * 1_390_000 + b"{}]}"])
def test_the_worst_json_of_the_size_that_is_read_stays_small(person: Person, data: bytes) -> None:
    with serve({"/manifests/": sends(response(data[:4 << 20]))}) as server:
        code, errors, peak = measured(person, "pull", "--retry", "0", f"{server.host}/some/thing:1")
        assert code == UNSAFE and "Traceback" not in errors and peak < 300 << 10


def test_silence_is_not_waited_out(person: Person) -> None:
    def quiet(part: str, *before: bytes) -> str:
        with serve() as server:
            def answer(sock, request) -> None:
                sock.sendall(b"".join(before))
                server.silent(sock, request)

            server.answers |= {part: answer, "TLS": answer}
            return pulled(person, server, REGISTRY, "it does not answer (timed out)", IECHOR_TIMEOUT="1")

    ways = [("/v2/",), ("/manifests/",), ("/manifests/", response(Content_Length=100)),
            ("/blobs/" + digest_of(BLOB), response(BLOB)[:-50])]
    began = time.monotonic()
    with ThreadPoolExecutor(len(ways)) as pool:
        assert len(list(pool.map(lambda way: quiet(*way), ways))) == 4
    assert time.monotonic() - began < 60  # four times nothing, not four times 90 seconds


def test_who_sends_a_byte_now_and_then_does_not_hold_us(tmp_path: Path) -> None:
    """Each alone would keep a read timeout from ever coming. All at once, for each takes its six seconds."""
    head = b"HTTP/1.1 200 OK\r\n"
    ways = {"headers": (b"x", head + b"a: "), "a body": (b" ", response(Content_Length=10_000)),
            "a body without length": (b" ", response(Content_Length=None)),
            "continue": (b"HTTP/1.1 100 Continue\r\n\r\n", b""),
            "chunks": (b"1\r\nx\r\n", response(Content_Length=None, Transfer_Encoding="chunked")),
            "trailers": (b"a: b\r\n", response(b"2\r\n{}\r\n0\r\n", Content_Length=None, Transfer_Encoding="chunked"))}
    said: dict[str, str] = {}

    def ask(way: str, piece: bytes, before: bytes) -> None:
        with serve() as server, Store.open(tmp_path / way) as store:
            server.answers["/manifests/"] = server.drips(piece, before)
            try:
                pull(Reference.parse(f"{server.host}/a:1"), store, client=client_of(tmp_path, 0, IECHOR_TIMEOUT="1"))
            except IechorError as error:
                said[way] = error.message

    threads = [threading.Thread(target=ask, args=(way, *what), daemon=True) for way, what in ways.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(said) == set(ways) and all("timed out" in text for text in said.values()), said


# ---- cut at every byte -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("part", ["/manifests/", "config", "layer"])
def test_a_connection_cut_at_every_byte_is_an_error_or_no_matter(tmp_path: Path, part: str) -> None:
    """The same answer, cut one byte later each time, and the next attempt too: never a wrong image, never a bug."""
    client, kinds = client_of(tmp_path, retries=1), {"whole": 0, "refused": 0}
    with serve() as server:
        truth = {"/manifests/": response(server.manifest, Content_Type=MANIFEST), "config": response(config_of(TAR)),
                 "layer": response(BLOB)}[part]
        where = {"config": "/blobs/" + digest_of(config_of(TAR)), "layer": "/blobs/" + digest_of(BLOB)}.get(part, part)
        for end in range(len(truth) + 1):
            server.answers[where] = sends(truth[:end])
            with Store.open(tmp_path / "store") as store:
                try:
                    pull(Reference.parse(f"{server.host}/some/thing:{end}"), store, client=client)
                    kinds["whole"] += 1
                    assert end >= len(truth)
                except (RegistryError, UnsafeArchive) as error:
                    assert error.message.startswith(f"cannot pull {server.host}/some/thing:{end}: ")
                    kinds["refused"] += 1
                    assert not store.images.list()
    assert kinds == {"whole": 1, "refused": len(truth)}


def test_a_layer_that_comes_a_byte_at_a_time_is_given_up(tmp_path: Path) -> None:
    """Each attempt brings one byte more: that is no progress one should wait for."""
    client, blob = client_of(tmp_path, retries=5), "/blobs/" + digest_of(BLOB)
    with serve() as server, Store.open(tmp_path / "store") as store:
        def one_byte(sock, request) -> None:
            head, _, body = server.truth(request).partition(b"\r\n\r\n")
            sock.sendall(head + b"\r\n\r\n" + body[:1])

        server.answers[blob] = one_byte
        with pytest.raises((RegistryError, UnsafeArchive)):
            pull(Reference.parse(f"{server.host}/some/thing:1"), store, client=client)
        assert len([request for request in server.requests if blob in request.path]) == 6
