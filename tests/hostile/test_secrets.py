"""A secret given by any door is found nowhere but where the user put it: every byte that a build leaves is read, and
the command lines and environments of every process while a step runs.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Person
from tests.registry_server import Registry, serve_registry
from tests.servers import git, guarded, repository


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    plain_user.mirror(registry)
    return plain_user


@pytest.fixture
def planted() -> str:
    """Long enough that no chance makes it, and that half of it is no chance either."""
    return "planted" + secrets.token_hex(24)


def forms(secret: str) -> list[bytes]:
    """As it is, and as a program would write it down without meaning to show it."""
    plain = secret.encode()
    encoded = base64.b64encode(plain)
    return [plain, plain[:24], plain[-24:], encoded[4:-4], plain.hex().encode()]


def found_in(user: Person, secret: str, *allowed: Path) -> list[str]:
    """Every file of the user's that holds it, but `allowed`: in the home (store, scratch, logs, caches, layers
    inflated), and wherever programs leave temporary files.
    """
    wanted = forms(secret)
    hits = []
    for path in [*user.home.rglob("*"), *temporary_files(user)]:
        if path.is_file() and not path.is_symlink() and path not in allowed:
            data = path.read_bytes()
            if any(form in data or form in os.fsencode(path.name) for form in wanted):
                hits.append(str(path.relative_to(user.home) if path.is_relative_to(user.home) else path))
    return hits


def temporary_files(user: Person) -> Iterator[Path]:
    """Of the user's, outside of the homes that tests give him."""
    for place in map(Path, ("/tmp", "/var/tmp", "/dev/shm")):
        for path in place.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_uid == user.uid and not path.name.startswith("iechor-test-"):
                    yield path
                    yield from path.rglob("*") if path.is_dir() and not path.is_symlink() else ()


def shown_by_processes(user: Person, secret: str) -> list[str]:
    """Processes whose command line or environment shows it."""
    hits = []
    for process in user.processes():
        for part in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{process.pid}/{part}").read_bytes()
                name = process.name()
            except (OSError, psutil.Error):
                continue
            if secret.encode() in data:
                hits.append(f"{process.pid} {part} {name}")
    return hits


def watched(user: Person, secret: str, *words: str, code: int = 0, parts: tuple[str, ...] = ("cmdline", "environ"),
            **start: Any) -> str:
    """What the command says, and that no process of the user's shows the secret in these parts while it runs."""
    process = user.start(*user.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **start)
    reading = threading.Thread(target=lambda: said.append(process.stdout.read()))
    said: list[str] = []
    reading.start()
    while process.poll() is None:
        assert [one for one in shown_by_processes(user, secret) if one.split()[1] in parts] == []
    reading.join()
    assert process.returncode == code, said[0]
    return said[0]


def images(user: Person, *names: str) -> list[str]:
    """Saves them; their archives are below the home, for `found_in` to read."""
    for name in names:
        user.iechor("save", "-o", f"{name}.tar", name)
    return list(names)


def while_it_runs(user: Person, *words: str, env: dict[str, str] | None = None) -> Iterator[None]:
    """Yields once a RUN has said "ready"; ends when the build has."""
    process = user.start(*user.command(*words), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.rstrip().endswith(" ready"):
            break
    yield
    said += process.stdout.read()
    assert process.wait(60) == 0, said
    (user.home / "said").write_text(said)


def test_secrets_of_run(user: Person, planted: str) -> None:
    """As a file and as a variable; the step reads both and does not write them."""
    user.write("c/iEchorfile", """FROM busybox
RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=TOKEN,required \\
    test -s /run/secrets/file && test -n "$TOKEN" && echo ready && sleep 1 && echo x > /x
RUN ! test -e /run/secrets/file && ! env | grep planted
""")
    given = user.write("elsewhere/secret", planted, mode=0o600)
    words = ("build", "--progress=plain", "--secret", f"id=file,src={given}", "--secret", "id=env,env=GIVEN",
             "-t", "app", "--metadata-file", "metadata.json", "--cache-to", "type=local,dest=exported", "c")
    for _ in while_it_runs(user, *words, env={"GIVEN": planted}):
        shown = shown_by_processes(user, planted)
        # the variable is iechor's own environment, where the user put it, and that of the command it is meant for
        assert not [one for one in shown if "cmdline" in one]
        assert len([one for one in shown if "environ" in one and "sh" not in one and "sleep" not in one]) <= 2, shown
    images(user, "app")
    assert found_in(user, planted, given) == []


def test_a_failed_step_shows_none(user: Person, planted: str) -> None:
    user.write("c/iEchorfile", "FROM busybox\nRUN --mount=type=secret,id=s,env=TOKEN false\n")
    done = user.iechor("build", "--secret", "id=s,env=GIVEN", "c", env={"GIVEN": planted}, code=6)
    assert planted not in done.stderr
    assert found_in(user, planted) == []


def test_keys_for_ssh(user: Person, planted: str) -> None:
    key = user.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", planted, "-f", key], check=True)
    os.chown(key, user.uid, user.gid)
    body = "".join(key.read_text().splitlines()[2:4])[:40]
    user.write("c/iEchorfile", """FROM busybox
RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && echo ready && sleep 1
RUN echo after > /x
""")
    for _ in while_it_runs(user, "build", "--progress=plain", "--ssh", f"default={key}", "-t", "app", "c"):
        assert shown_by_processes(user, body) == []
    images(user, "app")
    assert found_in(user, body, key) == []
    assert found_in(user, planted, key, user.home / "key.pub") == []


def test_a_build_argument_that_no_step_declares(user: Person, planted: str) -> None:
    user.write("c/iEchorfile", "FROM busybox\nRUN echo x > /x\n")
    user.iechor("build", "--build-arg", f"TOKEN={planted}", "-t", "app", "--metadata-file", "m.json", "c")
    images(user, "app")
    assert found_in(user, planted) == []


def test_a_build_argument_is_where_the_file_puts_it(user: Person, planted: str) -> None:
    """History shows the arguments of a RUN, as BuildKit's does; layers and logs do not, and the user is warned."""
    user.write("c/iEchorfile", "FROM busybox\nARG API_TOKEN\nRUN test -n \"$API_TOKEN\" && echo x > /x\n")
    done = user.iechor("build", "--build-arg", f"API_TOKEN={planted}", "-t", "app", "c")
    assert "SecretsUsedInArgOrEnv" in done.stderr
    for path in found_in(user, planted):
        data = (user.home / path).read_bytes()
        assert data[:1] == b"{", f"{path} is neither a config nor a record"


def test_proxies_with_credentials(user: Person, planted: str) -> None:
    """Taken from the environment, seen by RUN, and kept nowhere."""
    proxy = f"http://me:{planted}@proxy.example:3128"
    user.write("c/iEchorfile", "FROM busybox\nRUN env | grep -q planted && echo x > /x\nRUN echo \"$no_proxy\" > /y\n")
    user.iechor("build", "-t", "app", "c", env={"https_proxy": proxy, "HTTPS_PROXY": proxy, "no_proxy": "127.0.0.1"})
    images(user, "app")
    assert found_in(user, planted) == []


def test_a_password_of_a_registry(user: Person, planted: str, shared: Path) -> None:
    folder = shared / f"secret-registry-{time.monotonic_ns()}"
    folder.mkdir()
    with serve_registry(folder, users={"ann": planted}) as private:
        user.write(".config/iechor/config.toml", f'[registries."{private.host}"]\ninsecure = true\n')
        user.write("c/iEchorfile", "FROM scratch\nCOPY iEchorfile /\n")
        user.iechor("login", "-u", "ann", "--password-stdin", private.host, input=planted)
        kept = next(path for path in (user.home / ".config/iechor").iterdir() if path.name == "auth.json")
        assert kept.stat().st_mode & 0o077 == 0
        user.iechor("build", "-t", f"{private.host}/app:1", "--push", "c")
        user.iechor("rmi", f"{private.host}/app:1")
        watched(user, planted, "pull", f"{private.host}/app:1")
        user.iechor("save", "-o", "app.tar", f"{private.host}/app:1")
        assert found_in(user, planted, kept) == []
        user.iechor("logout", private.host)
        assert found_in(user, planted) == []


def test_a_crash_leaves_no_core(user: Person, planted: str) -> None:
    """A step that dies with a secret in its memory: nothing of it is on disk, whatever the caller's limit says."""
    user.write("c/iEchorfile", """FROM busybox
RUN --mount=type=secret,id=s,env=TOKEN cd /tmp; ulimit -c unlimited; sh -c 'kill -SEGV $$'; ! ls /tmp | grep core
""")
    words = user.command("build", "--secret", "id=s,env=GIVEN", "-t", "app", "c")
    done = user.run("sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh", *words, env={"GIVEN": planted})
    assert done.returncode == 0, done.stderr
    assert found_in(user, planted) == []
    user.write("c/iEchorfile", "FROM busybox\nRUN grep core /proc/self/limits > /limit\n")
    user.iechor("build", "--ulimit", "core=7", "-t", "app", "c")
    assert user.iechor("run", "--rm", "app", "cat", "/limit").stdout.split()[4:6] == ["7", "7"]


def test_iechor_itself_leaves_no_core(user: Person, planted: str) -> None:
    user.write("c/iEchorfile", "FROM busybox\nRUN --mount=type=secret,id=s sleep 60\n")
    words = user.command("build", "--progress=plain", "--secret", "id=s,env=GIVEN", "c")
    process = user.start("sh", "-c", 'ulimit -c unlimited && exec "$@"', "sh", *words, env={"GIVEN": planted},
                         stderr=subprocess.PIPE)
    assert process.stderr is not None
    while "not cached" not in process.stderr.readline():
        pass
    for victim in user.processes():
        with contextlib.suppress(psutil.Error):
            victim.send_signal(signal.SIGABRT)  # makes a core, and is no finding of a sanitizer
    process.communicate(timeout=30)
    assert found_in(user, planted) == []


def test_an_auth_file_for_everything_a_build_asks_a_registry(user: Person, planted: str, locked: Registry) -> None:
    """FROM, a named context, --cache-from, --cache-to and --push, by --authfile."""
    login = json.dumps({"auths": {locked.host: {"auth": base64.b64encode(f"ann:{planted}".encode()).decode()}}})
    asked(user, planted, locked, "--authfile", given := user.write("elsewhere/auth.json", login, mode=0o600))
    assert found_in(user, planted, given) == []


def test_a_credential_helper(user: Person, planted: str, locked: Registry) -> None:
    answer = json.dumps({"ServerURL": locked.host, "Username": "ann", "Secret": planted})
    helper = user.write("bin/docker-credential-planted", f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n", mode=0o755)
    user.write(".config/iechor/auth.json", json.dumps({"credHelpers": {locked.host: "planted"}}), mode=0o600)
    path = user.environment()["PATH"]
    asked(user, planted, locked, env={"PATH": f"{helper.parent}:{path}"})
    assert found_in(user, planted, helper) == []


@pytest.fixture
def locked(planted: str, user: Person, shared: Path, busybox: str) -> Iterator[Registry]:
    """A registry that lets in ann with the planted password alone, and holds a base."""
    with serve_registry(shared / f"locked-{planted[-8:]}", users={"ann": planted}) as registry:
        registry.credentials = ("ann", planted)
        registry.fill(shared / "busybox", "base:1")
        user.write(".config/iechor/config.toml", f'[registries."{registry.host}"]\ninsecure = true\n')
        yield registry


def asked(user: Person, planted: str, locked: Registry, *more: str | Path, env: dict[str, str] | None = None) -> None:
    """Two builds: the second has its steps from the first one's cache."""
    user.write("c/iEchorfile", f"FROM {locked.host}/base:1\nCOPY --from=other /bin/sh /other\nRUN echo x > /x\n")
    cache = f"type=registry,ref={locked.host}/cache:1"
    words = ("build", "--progress=plain", "--build-context", f"other=docker-image://{locked.host}/base:1",
             "--cache-from", cache, "-t", f"{locked.host}/app:1", "--push", "--logfile", "log", "--metadata-file",
             "metadata.json", *map(str, more))
    for number in range(2):
        assert planted not in watched(user, planted, *words, "--cache-to", f"{cache},mode=max", "c", env=env)
        user.iechor("save", "-o", f"{number}.tar", f"{locked.host}/app:1")
        user.iechor("prune", "--all", "--force")
    assert "/v2/cache/manifests/1" in {request.path for request in locked.requests()}
    refused = watched(user, planted, "pull", *map(str, more), f"{locked.host}/none:1", code=7, env=env)
    assert "none" in refused and planted not in refused


def test_a_proxy_that_fails(user: Person, planted: str) -> None:
    """Its password is in no message of those who talk through it."""
    proxy = f"http://me:{planted}@127.0.0.1:9"
    for words in (("pull", "registry.example/x:1"), ("build", "http://files.example/c.tar"),
                  ("build", "http://files.example/c.git")):
        told = user.iechor(*words, "--retry", "0", code=None, env={"http_proxy": proxy, "https_proxy": proxy})
        assert told.returncode and planted not in told.stdout + told.stderr
    user.iechor("info", env={"http_proxy": proxy, "https_proxy": proxy})
    assert found_in(user, planted) == []


def test_proxies_and_hosts_of_the_command_line(user: Person, planted: str) -> None:
    proxy = f"http://me:{planted}@proxy.example:3128"
    user.write("c/iEchorfile", 'FROM busybox\nRUN test -n "$HTTP_PROXY" && grep -q planted /etc/hosts && echo x > /x\n')
    said = user.iechor("build", "--progress=plain", "--build-arg", f"HTTP_PROXY={proxy}", "--add-host",
                       f"{planted}.example:10.1.2.3", "-t", "app", "--metadata-file", "m.json", "--logfile", "log", "c")
    assert planted not in said.stderr
    images(user, "app")
    assert found_in(user, planted) == []


def test_passwords_in_urls_of_contexts(user: Person, planted: str) -> None:
    """The main context, named ones, and their errors."""
    with guarded() as web:
        web.files = {"/iEchorfile": b"FROM busybox\nCOPY --from=other context /\nRUN echo x > /x\n", "/f": b"guarded"}
        base = web.opened_by("me", planted)
        words = ("build", "--progress=plain", "--build-context", f"other={base}/f", "--logfile", "log")
        said = user.iechor(*words, "-t", "app", "--metadata-file", "m.json", f"{base}/iEchorfile").stderr
        images(user, "app")
        for missing in (f"{base}/none.tar", f"{base}/none.git", f"{base}/iEchorfile.git#x:y?z"):
            said += user.iechor(*words, missing, code=5).stderr
        other = f"other={base}/none.tar"
        said += user.iechor(*words[:2], "--build-context", other, f"{base}/iEchorfile", code=5).stderr
    assert planted not in said
    assert found_in(user, planted) == []


def test_passwords_in_urls_of_add(user: Person, planted: str) -> None:
    """They stay in the iEchorfile, where the user put them: the history has a mask in their place."""
    with guarded() as web:
        web.files = {"/f": b"guarded", "/g": b"guarded too"}
        base = web.opened_by("me", planted)
        checksum = hashlib.sha256(b"guarded too").hexdigest()
        given = user.write("c/iEchorfile", f"FROM busybox\nARG BASE={base}\nADD {base}/f $BASE/f /to/\n"
                                           f"ADD --checksum=sha256:{checksum} {base}/g /\nRUN cat /g; : {base}\n")
        words = ("build", "--progress=plain", "-t", "app", "--cache-to", "type=local,dest=cache", "--metadata-file",
                 "m.json", "c")
        said = [watched(user, planted, *words) for _ in range(2)]
        user.iechor(*words, "--logfile", "log", "--no-cache")
        assert "CACHED" in said[1] and "ADD http://xxxxx@127.0.0.1" in said[0] and planted not in "".join(said)
        shown = user.iechor("history", "--no-trunc", "app").stdout
        assert f"ADD http://xxxxx@127.0.0.1:{web.port}/f http://xxxxx@" in shown and planted not in shown
        images(user, "app")
        token = user.write("c/token.iEchorfile", f"FROM scratch\nADD http://{planted}@127.0.0.1:{web.port}/f /\n")
        refused = user.iechor("build", "-f", token, "c", code=5).stderr
        wrong = user.write("c/wrong.iEchorfile", f"FROM scratch\nCOPY {base}/f /\nADD --checksum=x {base}/f /\n")
        refused += user.iechor("build", "-f", wrong, "c", code=3).stderr
        refused += user.iechor("build", "--check", "-f", wrong, "c", code=None).stderr
    assert "xxxxx" in refused and planted not in refused
    assert found_in(user, planted, given, token, wrong) == []


def test_passwords_in_urls_of_repositories(user: Person, planted: str, tmp_path: Path) -> None:
    """git learns them through its environment: they are neither on its command line nor in .git/config."""
    repository(tmp_path / "work")
    git(tmp_path, "clone", "-q", "--bare", "work", "bare")
    git(tmp_path / "bare", "update-server-info")
    with guarded() as web:
        base = web.opened_by("me", planted)
        web.files = {f"/w.git/{path.relative_to(tmp_path / 'bare')}": path.read_bytes()
                     for path in (tmp_path / "bare").rglob("*") if path.is_file()}
        remote = f"{base}/w.git"
        user.write(".gitconfig", "[credential]\n\thelper = store\n")
        user.write("elsewhere/x", "")
        given = user.write("c/iEchorfile", f"FROM busybox\nADD --keep-git-dir {remote} /w\n"
                                           "COPY --from=other / /o\nRUN cat /w/.git/config\n")
        said = watched(user, planted, "build", "--progress=plain", "-t", "app", "--build-arg", "A=b", "c",
                       "--build-context", "other=elsewhere", parts=("cmdline",))
        user.iechor("build", "--build-context", f"other={remote}", "-t", "app2", "c")
        images(user, "app", "app2")
    assert planted not in said and f"url = {web.url}/w.git" in said
    assert found_in(user, planted, given) == []
