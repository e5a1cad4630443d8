"""Whole builds of small files: what lands in the image, what is cached, and what every mistake says."""

import json
import os
import re
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.running import until
from tests.registry_server import Registry


def context(person: Person, text: str, **files: str) -> Path:
    for name, content in files.items():
        person.write(f"c/{name}", content)
    return person.write("c/iEchorfile", text).parent


def build(person: Person, text: str, *options: str, code: int = 0, **files: str) -> str:
    """Builds as "x"; what was shown."""
    return person.iechor("build", "--progress=plain", "-t", "x", *options, context(person, text, **files),
                         code=code).stderr


def config(person: Person, name: str = "x") -> dict[str, object]:
    [image] = json.loads(person.iechor("inspect", name).stdout)
    return image  # type: ignore[no-any-return]


def members(person: Person, name: str = "x") -> dict[str, tarfile.TarInfo]:
    """Path → entry of the topmost layer that has it, read with Python's tarfile from `iechor save`."""
    person.iechor("save", "-o", person.home / "x.tar", name)
    found: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(person.home / "x.tar") as archive:
        [image] = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        for layer in image["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as inner:
                found.update({entry.name: entry for entry in inner.getmembers()})
    return found


def ran(shown: str) -> list[str]:
    """The first word of each step that was not found in the cache, FROM left out."""
    steps = re.findall(r"^#(\d+) \[[^]]*\] (\w+)", shown, re.MULTILINE)
    hits = re.findall(r"^#(\d+) CACHED", shown, re.MULTILINE)
    return [word for number, word in steps if number not in hits and word != "FROM"]


OWNERS = """\
FROM busybox
RUN echo one > /f && cp /f /s && chown 42:43 /f /s && chmod 4711 /s && ln /f /hard && ln -s /f /soft
RUN mkdir -p /d/e && chown app:app /d
RUN mkfifo /tmp/pipe && echo new:x:2000:2000::/:/bin/sh >> /etc/passwd
USER new
RUN echo mine > /tmp/mine
USER app
RUN id -u > /tmp/who && touch /home/app/x
USER 1234:5678
RUN id -u > /tmp/number; id -g >> /tmp/number
USER root
RUN rm /hard && mv /d/e /moved && echo two >> /f
"""


def test_run_keeps_owners_modes_links_and_deletions(anyone: Person) -> None:
    build(anyone, OWNERS)
    found = members(anyone)
    owner = {name: (entry.uid, entry.gid) for name, entry in found.items()}
    assert owner["f"] == owner["s"] == (42, 43)
    assert found["s"].mode == 0o4711 and owner["d"] == (1000, 1000) and owner["soft"] == (0, 0)
    assert owner["tmp/mine"] == (2000, 2000) and owner["tmp/who"] == owner["home/app/x"] == (1000, 1000)
    assert owner["tmp/number"] == (1234, 5678)
    assert found["soft"].linkname == "/f" and found["tmp/pipe"].isfifo() and found["moved"].isdir()
    assert found[".wh.hard"].size == 0 and "d/.wh.e" in found
    script = "cat /f /tmp/who /tmp/number /tmp/mine; stat -c %u:%g /f /d; ls /"
    seen = anyone.iechor("run", "--rm", "x", "sh", "-c", script).stdout.splitlines()
    assert seen[:7] == ["one", "two", "1000", "1234", "5678", "mine", "42:43"]


def test_the_three_id_modes_build_the_same_layers(plain_user: Person, subuid_user: Person, root_user: Person,
                                                  registry: Registry, busybox: str) -> None:
    """With SOURCE_DATE_EPOCH, byte for byte: the same diff ids and so the same image."""
    seen = []
    for person in (root_user, subuid_user, plain_user):
        person.mirror(registry)
        build(person, OWNERS + "COPY --chown=app:44 a /copied/\nWORKDIR /w/x\n", "--source-date-epoch=1000000", a="a")
        seen.append(config(person))
    layers = [image["RootFS"]["Layers"] for image in seen]  # type: ignore[index]
    assert layers[0] == layers[1] == layers[2]
    assert seen[0]["Id"] == seen[1]["Id"] == seen[2]["Id"]


def test_what_run_sees(anyone: Person) -> None:
    """Its own processes, a small /dev, a read-only /sys; and nothing of it stays in the layer."""
    text = """\
        FROM busybox
        RUN test $(ls /proc | grep -c '^[0-9]') -lt 8 && test -c /dev/null && test ! -e /dev/sda && ! touch /sys/x
        RUN grep -q nameserver /etc/resolv.conf && grep -q localhost /etc/hosts && test $(hostname) = iechor
        RUN test ! -e /dev/fuse && ! mount -t tmpfs x /mnt 2>/dev/null
        """.replace("        ", "")
    assert ran(build(anyone, text)) == ["RUN", "RUN", "RUN"]
    assert len(config(anyone)["RootFS"]["Layers"]) == 1, "steps that change nothing make no layer"  # type: ignore[index]


def test_network_none_is_a_real_empty_one(anyone: Person) -> None:
    build(anyone, "FROM busybox\nRUN --network=none test $(ls /sys/class/net | wc -l) = 1 && ping -c1 127.0.0.1\n")


def test_every_process_of_a_step_ends_with_it(anyone: Person) -> None:
    stubborn = "(setsid sh -c 'trap \"\" TERM HUP; sleep 4242' >/dev/null 2>&1 &) ; nohup sleep 4243 &"
    build(anyone, f"FROM busybox\nRUN {stubborn}\n")
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "sleep 424" not in running


def test_copy_only_needs_no_namespace(user: Person) -> None:
    """Where unshare is forbidden: a seccomp filter of systemd's kind is not needed, a limit of a fresh namespace is."""
    folder = context(user, "FROM busybox\nCOPY --chown=app a /b/\nWORKDIR /w\nADD a.tar /t/\n", a="a")
    with tarfile.open(folder / "a.tar", "w") as archive:
        info = tarfile.TarInfo("inner")
        info.uid, info.gid, info.mode = 7, 8, 0o640
        archive.addfile(info)
    script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --no-new-privs \"$@\""
    denied = ["unshare", "-Ur", "sh", "-c", script, "sh"]
    refused = user.run(*denied, "unshare", "-Ur", "true")
    assert refused.returncode != 0, "this is the host the test is about"
    done = user.run(*denied, *user.command("build", "-t", "x", folder))
    assert done.returncode == 0, done.stderr
    found = members(user)
    assert (found["b/a"].uid, found["b/a"].gid) == (1000, 1000)
    assert (found["t/inner"].uid, found["t/inner"].gid, found["t/inner"].mode) == (7, 8, 0o640)
    refused = user.run(*denied, *user.command("build", context(user, "FROM busybox\nRUN true\n")))
    assert refused.returncode == 10 and "hint:" in refused.stderr and "user namespace" in refused.stderr


def test_cache(user: Person) -> None:
    text = "FROM busybox\nARG A=1\nRUN echo $A\nCOPY a b /d/\nRUN cat /d/a\n"
    assert ran(build(user, text, a="1", b="2")) == ["RUN", "COPY", "RUN"]
    assert ran(build(user, text, a="1", b="2")) == []
    shown = build(user, text, a="1", b="changed")
    assert ran(shown) == ["COPY", "RUN"] and "not cached: b changed" in shown
    shown = build(user, text, "--build-arg=A=2", a="1", b="changed")
    assert ran(shown) == ["RUN", "COPY", "RUN"] and "not cached: env A changed" in shown
    assert ran(build(user, text, "--no-cache", a="1", b="changed")) == ["RUN", "COPY", "RUN"]
    assert ran(build(user, text.replace("cat", "wc"), a="1", b="changed")) == ["RUN"]
    os.utime(user.home / "c/a", (1, 1))
    for path in (user.home / "c", *(user.home / "c").iterdir()):
        path.chmod(path.stat().st_mode & 0o700)
    assert ran(build(user, text.replace("cat", "wc"))) == [], "neither time nor umask counts"
    (user.home / "c/a").chmod(0o755)
    assert ran(build(user, text.replace("cat", "wc"))) == ["COPY", "RUN"], "the executable bit does"


def test_a_miss_names_the_file_and_the_variable(user: Person) -> None:
    text = "FROM busybox\nENV A=1 C=3\nCOPY src /d/\nRUN true\n"

    def reasons(text: str = text, **files: str) -> list[str]:
        return re.findall("not cached: (.*)", build(user, text, **files))

    reasons(**{"src/app.py": "app", "src/inner/b.py": "b"})
    (user.home / "c/src/link").symlink_to("app.py")
    assert reasons() == ["src/link was added", "the steps before it changed"]
    assert reasons(**{"src/inner/b.py": "other"})[0] == "src/inner/b.py changed"
    assert reasons(**{"src/inner/c.py": ""})[0] == "src/inner/c.py was added"
    (user.home / "c/src/app.py").unlink()
    assert reasons()[0] == "src/app.py is gone"
    assert reasons(text.replace("A=1", "A=1 B=2")) == ["env B was added"]


def test_stages(user: Person) -> None:
    text = """\
        FROM busybox AS made
        RUN echo made > /made && chown 7:8 /made
        FROM scratch AS unused
        COPY nothing /
        FROM busybox
        COPY --from=made /made /taken
        COPY --from=0 --chown=1:2 /made /owned
        COPY --from=busybox /bin/busybox /bb
        """.replace("        ", "")
    shown = build(user, text)
    assert "nothing" not in shown
    found = members(user)
    assert [(found[name].uid, found[name].gid) for name in ("taken", "owned", "bb")] == [(7, 8), (1, 2), (0, 0)]
    user.iechor("build", "-t", "y", "--target", "made", context(user, text))
    assert "made" in members(user, "y")


def test_onbuild(user: Person) -> None:
    context(user, "FROM busybox\nONBUILD COPY a /a\nONBUILD RUN echo triggered > /b\n")
    user.iechor("build", "-t", "parent", user.home / "c")
    build(user, "FROM parent\nRUN cat /a /b\n", "--pull=never", a="a")
    assert "a" in members(user) and not config(user)["Config"].get("OnBuild")  # type: ignore[attr-defined]


def test_ignore_files(user: Person) -> None:
    user.write("c/.dockerignore", "b\n")
    user.write("c/.iechorignore", "*.log\n!keep.log\nsub\n!sub/in\n")
    for name in ("sub/in", "sub/out", "x.log", "keep.log", "b"):
        user.write(f"c/{name}", name)
    build(user, "FROM scratch\nCOPY . /\n")
    assert {"b", "keep.log", "sub/in"} <= members(user).keys() and not {"x.log", "sub/out"} & members(user).keys()
    shown = build(user, "FROM scratch\nCOPY x.log /\n", code=5)
    assert "the ignore file excludes it" in shown


def test_names_of_build_files(user: Person) -> None:
    user.write("c/Containerfile", "FROM scratch\nLABEL a=Containerfile\n")
    folder = user.home / "c"
    for name in ("Containerfile", "Dockerfile", "iEchorfile"):
        user.write(f"c/{name}", f"FROM scratch\nLABEL a={name}\n")
        user.iechor("build", "-t", "x", folder)
        assert config(user)["Config"]["Labels"] == {"a": name}  # type: ignore[index]
    user.write("c/other.iEchorfile", "FROM scratch\nLABEL a=other\n")
    user.iechor("build", "-t", "x", "--file", folder / "other.iEchorfile", folder)
    assert config(user)["Config"]["Labels"] == {"a": "other"}  # type: ignore[index]
    user.iechor("build", "-t", "x", "-f", "-", folder, input="FROM scratch\nLABEL a=stdin\n")
    assert config(user)["Config"]["Labels"] == {"a": "stdin"}  # type: ignore[index]


def test_a_stand_in_for_a_base_is_said(user: Person) -> None:
    user.write("base/etc/passwd", "root:x:0:0:::\n")
    shown = build(user, "FROM ubuntu:22.04\nCOPY a /\n", f"--build-context=ubuntu:22.04={user.home / 'base'}", a="a")
    assert "ubuntu:22.04 is not pulled" in shown and "stands in for it" in shown
    assert {"etc/passwd", "a"} <= members(user).keys()


@pytest.mark.parametrize(("text", "code", "said"), [
    ("FROM busybox\nRUM x\n", 3, ["iEchorfile:2:", "RUM", 'Did you mean RUN']),
    ("FROM busybox\nCOPY --form=x a /\n", 3, ["iEchorfile:2:", "from"]),
    ("FROM busybox\n\nCOPY hello.pi /\n", 5, ["iEchorfile:3:", "hello.pi", 'did you mean "hello.py"', "COPY hello.pi"]),
    ("FROM busybox\nRUN echo out; echo err >&2; exit 42\n", 6,
     ["iEchorfile:2:", "exit code 42", "  out", "  err", "output:"]),
    ("FROM busybox\nRUN kill -9 $$\n", 6, ["iEchorfile:2:", "signal 9"]),
    ("FROM busybox\nRUN [\"/no/such\"]\n", 6, ["iEchorfile:2:", "/no/such"]),
    ("FROM busybox\nUSER nobody-here\nRUN true\n", 11, ["iEchorfile:3:", "nobody-here", "/etc/passwd"]),
    ("FROM REGISTRY/nothing/here:1\n", 7, ["iEchorfile:1:", "nothing/here:1"]),
    ("FROM 127.0.0.1:1/nothing/here:1\n", 8, ["iEchorfile:1:", "127.0.0.1:1"]),
    ("FROM busybox\nCOPY --from=later a /\nFROM busybox AS later\n", 3, ["iEchorfile:2:", "later"]),
    ("FROM busybox\nRUN --device=v/c=d,required true\n", 5, ["iEchorfile:2:", "--device"]),
    ("", 3, ["iEchorfile"]),
])
def test_mistakes_point_and_leave_nothing(user: Person, registry: Registry, text: str, code: int,
                                          said: list[str]) -> None:
    folder = context(user, text.replace("REGISTRY", registry.host), **{"hello.py": "x"})
    shown = user.iechor("build", "--progress=plain", "-t", "x", "--target" if "later" in text else "-t",
                        "0" if "later" in text else "y", folder, code=code).stderr
    for word in said:
        assert word in shown, shown
    assert user.iechor("images", "-q").stdout.count("\n") <= 1, "at most the base"
    assert not list(user.store.glob("tmp/*")) and not list(user.scratch.glob("*/run/*"))


def test_the_log_of_a_failed_step_is_whole(user: Person) -> None:
    shown = build(user, "FROM busybox\nRUN seq 1 1000; false\n", code=6)
    assert "  1000" in shown and "  981" in shown and "  980\n" not in shown.partition("its last")[2]
    log = Path(shown.partition("the whole output: ")[2].split()[0])
    assert log.read_text().split() == [str(number) for number in range(1, 1001)]


def test_a_killed_build_leaves_nothing_running_and_the_next_works(anyone: Person) -> None:
    folder = context(anyone, "FROM busybox\nRUN echo started; sleep 5151\n")
    process = anyone.start(*anyone.command("build", "--progress=plain", folder), stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any("started" in line and "RUN" not in line for line in process.stderr)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: "sleep 5151" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout)
    build(anyone, "FROM busybox\nRUN true\n")
    assert not list(anyone.store.glob("tmp/*"))


def test_ctrl_c_ends_a_build_at_once(user: Person) -> None:
    folder = context(user, "FROM busybox\nRUN echo started; sleep 5252\n")
    process = user.start(*user.command("build", "--progress=plain", folder), stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert any("started" in line and "RUN" not in line for line in process.stderr)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=10)[1]
    assert process.returncode == 130 and time.monotonic() - begin < 2 and "Traceback" not in rest


def test_user_add_host_volume_and_proxy_reach_run(user: Person) -> None:
    user.write("v/f", "from the host")
    run = 'cat /v/f && grep "10.9.8.7.*box" /etc/hosts && test ${#http_proxy} = 8 && ! touch /v/x'
    build(user, f"FROM busybox\nRUN {run}\n", f"--volume={user.home / 'v'}:/v:ro", "--add-host=box:10.9.8.7", "--build-arg=http_proxy=http://p")
    assert "v" not in members(user) and "http://p" not in user.iechor("history", "--no-trunc", "x").stdout


def test_what_we_save_others_read(user: Person, tmp_path: Path) -> None:
    build(user, OWNERS + "COPY a /c/\n", a="a")
    user.iechor("save", "-o", user.home / "x.tar", "x")
    told = subprocess.run(["skopeo", "inspect", "--config", f"docker-archive:{user.home / 'x.tar'}:x:latest"],
                          capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    layout = f"{tmp_path / 'o'}:x"
    subprocess.run(["skopeo", "copy", "-q", f"oci-archive:{user.home / 'x.tar'}", f"oci:{layout}"], check=True)
    subprocess.run(["umoci", "unpack", "--image", layout, tmp_path / "u"], check=True, capture_output=True)
    status = os.lstat(tmp_path / "u/rootfs/s")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (42, 43, 0o4711)
    root = ["--root", str(tmp_path / "p"), "--runroot", str(user.home / "r"), "--storage-driver", "vfs"]
    loaded = subprocess.run(["podman", *root, "load", "-i", user.home / "x.tar"], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr


def test_a_full_disk_is_said_and_nothing_half_written_stays(user: Person) -> None:
    """The store on 8 MB of memory."""
    build(user, "FROM busybox\nCOPY a /\n", a="a")
    user.iechor("save", "-o", user.home / "x.tar", "x")
    small = user.home / "small"
    small.mkdir()
    options = f"size=8m,mode=700,uid={user.uid},gid={user.gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "small", small], check=True)
    try:
        env = {"IECHOR_HOME": str(small / "store")}
        user.iechor("load", "-i", user.home / "x.tar", env=env)
        before = sorted(os.listdir(small / "store/blobs/sha256"))
        user.write("c/big", os.urandom(1 << 20) * 12)
        folder = context(user, "FROM x\nCOPY big /\n")
        shown = user.iechor("build", "-t", "y", folder, code=13, env=env).stderr
        assert "iEchorfile:2:" in shown and "No space left" in shown and "hint:" in shown
        assert sorted(os.listdir(small / "store/blobs/sha256")) == before and not os.listdir(small / "store/tmp")
        user.write("c/iEchorfile", "FROM x\nCOPY a /b\n")
        user.iechor("build", "-t", "y", folder, env=env)
    finally:
        subprocess.run(["umount", small], check=True)
