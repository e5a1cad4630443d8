"""Commands from the shell's side: what is printed where, what is written, and the code of every error."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_server import Registry, serve_registry


@pytest.fixture
def user(plain_user: Person, registry: Registry, busybox: str) -> Person:
    """A plain user with one uid whose docker.io is the test registry."""
    plain_user.mirror(registry)
    return plain_user


def context(person: Person, text: str) -> Path:
    person.write("context/hello", "hello\n")
    return person.write("context/iEchorfile", text).parent


COPY_ONLY = 'FROM scratch\nCOPY hello /hello\nLABEL a="b"\nCMD ["/hello"]\n'


def test_quiet_prints_the_id_and_nothing_else(user: Person) -> None:
    folder = context(user, COPY_ONLY)
    files = ("--iidfile", "id", "--metadata-file", "metadata")
    done = user.iechor("build", "-q", *files, "-t", "one", "-t", "two:2", folder)
    image_id = done.stdout.strip()
    assert image_id.startswith("sha256:") and done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert (user.home / "id").read_text() == image_id
    metadata = json.loads((user.home / "metadata").read_text())
    assert metadata["containerimage.config.digest"] == image_id
    assert metadata["containerimage.digest"] == metadata["containerimage.descriptor"]["digest"]
    assert user.iechor("images", "-q").stdout.strip() == image_id.removeprefix("sha256:")[:12]


def test_progress_goes_to_stderr_and_results_to_stdout(user: Person) -> None:
    folder = context(user, COPY_ONLY)
    plain = user.iechor("build", "-t", "x", folder)
    assert plain.stdout == ""
    assert "[2/2] COPY hello /hello" in plain.stderr and "tagged x:latest" in plain.stderr
    assert "#2 CACHED" in user.iechor("build", "-t", "x", folder).stderr
    lines = user.iechor("build", "--progress=rawjson", "--no-cache", folder).stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines][-1] == "ImageBuilt"


def test_images_are_listed_named_shown_and_removed(user: Person) -> None:
    user.iechor("image", "build", "-t", "app:1", context(user, COPY_ONLY))
    user.iechor("tag", "app:1", "other.example:5000/team/app:2")
    table = user.iechor("images").stdout.splitlines()
    assert table[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert sorted(line.split()[:2] for line in table[1:]) == [["app", "1"], ["other.example:5000/team/app", "2"]]
    assert user.iechor("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "app").stdout == "app:1\n"
    [image] = json.loads(user.iechor("inspect", "app:1").stdout)
    assert image["Config"]["Labels"] == {"a": "b"} and image["Os"] == "linux"
    assert sorted(image["RepoTags"]) == ["app:1", "other.example:5000/team/app:2"]
    assert user.iechor("inspect", "-f", "{{json .Config.Cmd}}", "app:1").stdout == '["/hello"]\n'
    history = user.iechor("history", "--no-trunc", "app:1").stdout
    assert history.index("CMD") < history.index("COPY")
    assert "Untagged: " in user.iechor("rmi", "app:1").stdout
    assert "Deleted: sha256:" in user.iechor("image", "rm", "other.example:5000/team/app:2").stdout
    assert len(user.iechor("images").stdout.splitlines()) == 1


def test_an_image_goes_through_an_archive(user: Person) -> None:
    image_id = user.iechor("build", "-q", "-t", "app", context(user, COPY_ONLY)).stdout
    user.iechor("save", "-o", "app.tar", "app")
    user.iechor("save", "--format", "oci-dir", "-o", "layout", "app")
    user.iechor("rmi", "app")
    assert "Loaded image: " in user.iechor("load", "-i", "app.tar").stdout
    assert user.iechor("inspect", "-f", "{{.Id}}", "app").stdout == image_id
    user.iechor("rmi", "app")
    user.iechor("load", "-i", "layout")
    assert user.iechor("inspect", "-f", "{{.Id}}", image_id[7:19]).stdout == image_id
    assert [path.name for path in user.home.iterdir() if path.name.startswith(".app.tar")] == []


def test_push_and_pull_keep_every_digest(user: Person, registry: Registry) -> None:
    image_id = user.iechor("build", "-q", "-t", "app", context(user, COPY_ONLY)).stdout
    name = f"{registry.host}/team/app:1"
    digest = user.iechor("push", "-q", "app", name).stdout.strip()
    again = user.iechor("push", "-q", "--digestfile", "digest", "app", name).stdout.strip()
    assert digest == again == (user.home / "digest").read_text()
    user.iechor("rmi", "app")
    assert user.iechor("pull", "-q", f"{registry.host}/team/app@{digest}").stdout == image_id


def test_build_args_labels_and_hosts(user: Person) -> None:
    folder = context(user, "FROM busybox\nARG A=0 B C=keep D\nRUN echo $A-$B-$C-$D; grep box /etc/hosts\n")
    user.write("args", "# comment\nD=file\nA=hidden\n")
    given = ("--build-arg-file", "args", "--build-arg", "A=1", "--build-arg", "B", "--build-arg", "C")
    done = user.iechor("build", *given, "--label", "x=y z", "--add-host", "box:10.1.2.3", "-t", "app", folder,
                       env={"B": "2"})
    assert " 1-2-keep-file\n" in done.stderr
    assert "10.1.2.3" in done.stderr
    assert user.iechor("inspect", "-f", "{{json .Config.Labels}}", "app").stdout == '{"x": "y z"}\n'


def test_a_folder_of_the_host_is_seen_by_run(user: Person) -> None:
    user.write("data/file", "from the host\n")
    folder = context(user, "FROM busybox\nRUN cat /data/file; ! touch /data/new\n")
    done = user.iechor("build", "-v", "./data:/data:ro", folder)
    assert "from the host" in done.stderr
    assert not (user.home / "data" / "new").exists()


ERRORS = [
    ("RUNN x\n", 3, ("iEchorfile:2: ", "Did you mean RUN?", ">    2 | RUNN x")),
    ("COPY helo /x\n", 5, ("iEchorfile:2: ", "helo", "hello")),
    ("RUN echo one; echo two >&2; exit 7\n", 6, ("iEchorfile:2: ", "7", "one", "two", ">    2 | RUN")),
    ("RUN --device=x/y=z,required true\n", 5, ("iEchorfile:2: ", "x/y=z")),
    ("COPY --from=REGISTRY/nonexistent /a /b\n", 7, ("iEchorfile:2: ", "/nonexistent")),
    ("RUN no-such-program\n", 6, ("127", "not found")),
]


@pytest.mark.parametrize(("line", "code", "said"), ERRORS, ids=[line.strip() for line, _, _ in ERRORS])
def test_each_error_of_a_build_has_its_code_and_its_place(user: Person, registry: Registry, line: str, code: int,
                                                            said: tuple[str, ...]) -> None:
    text = f"FROM busybox\n{line.replace('REGISTRY', registry.host)}"
    done = user.iechor("build", "-t", "app", context(user, text), code=code)
    for part in said:
        assert part in done.stderr
    assert user.iechor("images", "-q", "app").stdout == ""


def test_errors_outside_the_file(user: Person, registry: Registry) -> None:
    folder = context(user, COPY_ONLY)
    assert user.iechor("build", "/nonexistent", code=5).stderr.startswith("iechor: cannot read the build context")
    user.iechor("build", "-f", "nowhere", folder, code=5)
    user.iechor("build", "/root", code=5)
    user.iechor("build", "--build-arg", "=x", folder, code=2)
    user.iechor("build", "-t", "UPPER CASE", folder, code=2)
    user.iechor("build", folder, env={"SOURCE_DATE_EPOCH": "yesterday"}, code=2)
    user.iechor("inspect", "nobody", code=7)
    user.iechor("push", "nobody", code=7)
    user.iechor("pull", f"{registry.host}/nobody:1", code=7)
    user.iechor("stop", "nobody", code=16)
    user.iechor("rm", "-f", "nobody")
    user.write(".config/iechor/config.toml", 'registry = "x"\n')
    assert "config.toml:1" in user.iechor("images", code=2).stderr


def test_a_registry_that_is_down(user: Person) -> None:
    done = user.iechor("pull", "127.0.0.1:1/nothing:1", code=8)
    assert "127.0.0.1:1" in done.stderr and "hint: " in done.stderr


def test_a_wrong_password(user: Person, tmp_path: Path) -> None:
    with serve_registry(tmp_path / "registry", users={"ann": "secret"}) as locked:
        user.iechor("login", "-u", "ann", "--password-stdin", locked.host, input="wrong\n", code=9)
        assert not (user.home / ".config/iechor/auth.json").exists()
        user.iechor("login", "-u", "ann", "--password-stdin", locked.host, input="secret\n")
        assert (user.home / ".config/iechor/auth.json").stat().st_mode & 0o777 == 0o600
        user.iechor("build", "-q", "-t", "app", context(user, COPY_ONLY))
        user.iechor("push", "-q", "app", f"{locked.host}/app:1")
        user.iechor("logout", locked.host)
        user.iechor("push", "-q", "app", f"{locked.host}/app:2", code=9)


def without_namespaces(person: Person, *args: str | Path) -> "subprocess.CompletedProcess[str]":
    """Inside a user namespace in which no other can be made: the limit is one of each user namespace."""
    return person.run("unshare", "--user", "--map-root-user", "sh", "-c",
                      'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh", *person.command(*args))


def test_where_user_namespaces_are_forbidden_copy_works_and_run_says_why(user: Person) -> None:
    done = without_namespaces(user, "build", "-t", "app", context(user, COPY_ONLY))
    assert done.returncode == 0, done.stderr
    failed = without_namespaces(user, "build", context(user, "FROM busybox\nRUN true\n"))
    assert failed.returncode == 10, failed.stderr
    assert "max_user_namespaces" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.fixture
def small_disk(user: Person) -> Iterator[Path]:
    disk = user.home / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,uid={user.uid},mode=700", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(user: Person, small_disk: Path) -> None:
    folder = context(user, COPY_ONLY)
    user.write("context/hello", b"x" * 3_000_000)
    done = user.iechor("--store", small_disk / "store", "build", "-t", "app", folder, code=13)
    assert "hint: " in done.stderr
    assert user.iechor("--store", small_disk / "store", "images", "-q").stdout == ""
    blobs = list((small_disk / "store" / "blobs" / "sha256").iterdir())
    assert not [blob for blob in blobs if blob.stat().st_size > 100_000]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_build_and_all_it_started(user: Person, number: int, code: int) -> None:
    folder = context(user, "FROM busybox\nRUN echo begun; sleep 300 & sleep 300\n")
    process = user.start(*user.command("build", "-t", "app", folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    assert process.stderr
    for line in process.stderr:
        if line.endswith("begun\n") and "echo" not in line:
            break
    os.killpg(process.pid, number)  # as Ctrl-C does: to everyone in the terminal's foreground
    err = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert err.strip().endswith("iechor: interrupted")
    assert "Traceback" not in err
    deadline = time.monotonic() + 10
    while user.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert user.processes() == []
    assert user.iechor("images", "-q", "app").stdout == ""


def test_a_closed_pipe_ends_it_quietly(user: Person) -> None:
    user.iechor("build", "-q", "-t", "app", context(user, COPY_ONLY))
    words = " ".join(user.command("images"))
    done = user.run("bash", "-c", f"for i in 1 2 3; do {words} | true; done")
    assert done.stderr == ""
