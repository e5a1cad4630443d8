"""A secret given by any door is found nowhere but where the user put it: every byte that a build leaves is read, and
the command lines and environments of every process while a step runs.
"""

import base64
import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Person
from tests.flows.test_language_rest import guarded
from tests.registry_server import Registry, serve_registry


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
    """Every file of the user's home (store, scratch, logs, caches, layers inflated) that holds it, but `allowed`."""
    wanted = forms(secret)
    hits = []
    for path in user.home.rglob("*"):
        if path.is_file() and not path.is_symlink() and path not in allowed:
            data = path.read_bytes()
            if any(form in data or form in os.fsencode(path.name) for form in wanted):
                hits.append(str(path.relative_to(user.home)))
    return hits


def shown_by_processes(user: Person, secret: str) -> list[str]:
    """Processes whose command line or environment shows it."""
    hits = []
    for process in user.processes():
        for part in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{process.pid}/{part}").read_bytes()
            except OSError:
                continue
            if secret.encode() in data:
                hits.append(f"{process.pid} {part} {process.name()}")
    return hits


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
        process = user.start(*user.command("pull", f"{private.host}/app:1"), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        while process.poll() is None:
            assert shown_by_processes(user, planted) == []
            time.sleep(0.02)
        assert process.returncode == 0
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
            victim.send_signal(signal.SIGSEGV)
    process.communicate(timeout=30)
    assert found_in(user, planted) == []


def test_passwords_in_urls(user: Person, planted: str) -> None:
    """Of contexts, named contexts and errors: nowhere; of ADD: where the file puts it, and the user is warned."""
    with guarded() as web:
        web.wanted = "Basic " + base64.b64encode(f"me:{planted}".encode()).decode()
        web.files = {"/iEchorfile": b"FROM busybox\nRUN echo x > /x\n", "/f": b"guarded"}
        base = web.url.replace("//", f"//me:{planted}@")
        said = user.iechor("build", "--progress=plain", "-t", "app", "--metadata-file", "m.json", f"{base}/iEchorfile")
        images(user, "app")
        for missing in (f"{base}/none.tar", f"{base}/none.git"):
            refused = user.iechor("build", "--progress=plain", missing, code=5)
            assert planted not in refused.stderr + said.stderr
        assert found_in(user, planted) == []
        user.write("c/iEchorfile", f"FROM scratch\nADD {base}/f /\n")
        added = user.iechor("build", "-t", "app", "c")
        assert "SecretInHistory: The history of the image shows a password in a URL" in added.stderr
