"""RUN --mount: what the command sees, what stays (nothing), and what is part of the key."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.flows.test_build import build, context, members, ran

FILES = {"d/a": "one", "d/sub/b": "two", "skipped": "x", ".iechorignore": "skipped"}


def test_bind_from_everywhere(anyone: Person) -> None:
    text = """\
        FROM busybox AS made
        RUN mkdir /out && echo made > /out/f && ln -s /out /lnk
        FROM scratch AS bare
        COPY d /
        FROM busybox
        WORKDIR /w
        RUN --mount=target=/ctx test $(cat /ctx/d/a) = one && test ! -e /ctx/skipped && ! touch /ctx/x 2>/dev/null
        RUN --mount=type=bind,source=d/sub,target=rel test $(cat /w/rel/b) = two
        RUN --mount=source=d/a,target=/file,rw test $(cat /file) = one && echo changed > /file && cat /file
        RUN --mount=from=made,source=lnk,target=/m test $(cat /m/f) = made
        RUN --mount=from=made,target=/m,rw rm -r /m/out && echo x > /m/new && test ! -e /m/out
        RUN --mount=from=made,target=/m test $(cat /m/out/f) = made && test ! -e /m/new
        RUN --mount=from=bare,target=/m test "$(ls /m)" = "$(printf 'a\\nsub')"
        RUN --mount=from=busybox,target=/m test -x /m/bin/sh
        RUN --mount=from=extra,target=/m test $(cat /m/e) = extra
        RUN --mount=from=bare,target=/m --mount=target=/m/sub test -e /m/sub/d/a && test -e /m/a
        """.replace("        ", "")
    extra = anyone.write("extra/e", "extra").parent
    shown = build(anyone, text, f"--build-context=extra={extra}", **FILES)
    assert "changed" in shown
    assert set(members(anyone)) & {"ctx", "w/rel", "file", "m"} == set()
    assert ran(build(anyone, text, f"--build-context=extra={extra}", **FILES)) == []
    assert (anyone.home / "c/d/a").read_text() == "one"


def test_what_is_bound_is_part_of_the_key(user: Person) -> None:
    text = "FROM busybox\nRUN --mount=source=d,target=/d cat /d/a\n"
    build(user, text, **FILES)
    assert ran(build(user, text, **{**FILES, "other": "1"})) == []
    assert ran(build(user, text, **{**FILES, "d/a": "new"})) == ["RUN"]


def test_a_bind_mount_that_is_not_there_is_an_error_with_its_line(user: Person) -> None:
    shown = build(user, "FROM busybox\nRUN --mount=source=none,target=/d true\n", code=5)
    assert "cannot mount /none: it is not in the build context" in shown and "iEchorfile:2" in shown
    shown = build(user, "FROM busybox\nRUN --mount=from=busybox,source=none,target=/d true\n", code=11)
    assert "there is no /none" in shown
    assert 'invalid mount target "/"' in build(user, "FROM busybox\nRUN --mount=target=/ true\n", code=3)


def test_a_cache_stays_from_build_to_build_and_out_of_the_image(anyone: Person) -> None:
    text = "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c/%s echo $N >> /c/%s/log && cat /c/%s/log\n"
    build(anyone, text % ("x", "x", "x"), "--build-arg=N=1")
    shown = build(anyone, text % ("x", "x", "x"), "--build-arg=N=2")
    assert shown.count(" 1\n") == 1 and " 2\n" in shown
    assert not any(name.startswith("c") for name in members(anyone))
    assert " 2\n" not in build(anyone, text % ("y", "y", "y"), "--build-arg=N=3")
    anyone.iechor("prune", "--cache")
    assert " 2\n" not in build(anyone, text % ("x", "x", "x"), "--build-arg=N=4")


def test_a_cache_by_id_with_mode_owner_and_a_beginning(anyone: Person) -> None:
    text = """\
        FROM busybox AS made
        RUN mkdir /o && echo seed > /o/f
        FROM busybox
        RUN --mount=type=cache,id=i,target=/a touch /a/mine
        RUN --mount=type=cache,id=i,target=/b,ro test -e /b/mine && ! touch /b/x
        RUN --mount=type=cache,id=i,target=/c,mode=0700,uid=3 test ! -e /c/mine && test $(stat -c %a /c) = 700
        RUN --mount=type=cache,id=j,from=made,source=/o,target=/d test $(cat /d/f) = seed && echo more > /d/f
        RUN --mount=type=cache,id=j,from=made,source=/o,target=/d test $(cat /d/f) = more
        USER app
        RUN --mount=type=cache,target=/home/app/.cache,uid=1000 test $(stat -c %u ~/.cache) = 1000 && touch ~/.cache/f
        """.replace("        ", "")
    build(anyone, text)


@pytest.mark.parametrize("sharing", ["locked", "shared", "private"])
def test_sharing_holds_between_processes(user: Person, sharing: str) -> None:
    """Two builds whose steps use one cache for a while."""
    person = user
    place = context(person, f"FROM busybox\nARG N\nRUN --mount=type=cache,target=/c,sharing={sharing} "
                            "test ! -e /c/in || echo together; touch /c/in; sleep 1.5; rm -f /c/in; echo $N\n")
    person.iechor("build", "--no-cache", "--build-arg=N=0", place)
    builds = [person.start(*person.command("build", "--no-cache", f"--build-arg=N={number}", str(place)),
                           stderr=subprocess.PIPE) for number in (1, 2)]
    said = "".join(one.communicate()[1] for one in builds)
    assert all(one.returncode == 0 for one in builds), said
    assert (re.search(r"^#2 [0-9.]+ together", said, re.MULTILINE) is not None) is (sharing == "shared"), said
    assert ("waiting for the cache /c" in said) is (sharing == "locked"), said


def test_tmpfs_is_empty_and_gone(user: Person) -> None:
    build(user, "FROM busybox\nRUN mkdir /t && echo old > /t/f\n"
                "RUN --mount=type=tmpfs,target=/t,size=1m test -z \"$(ls /t)\" && touch /t/x && "
                "! dd if=/dev/zero of=/t/big bs=1M count=2 2>/dev/null && df -k /t | grep -q 1024\n"
                "RUN test $(cat /t/f) = old && test ! -e /t/x\n")


def test_secrets_as_files_and_variables(anyone: Person) -> None:
    secret = anyone.write("secret", "s3cret")
    text = """\
        FROM busybox
        RUN --mount=type=secret,id=s test $(tr 3 e < /run/secrets/s) = secret && test $(stat -c %a /run/secrets/s) = 400
        RUN --mount=type=secret,id=s,target=/root/.k,mode=0440 test $(stat -c %a /root/.k) = 440 && ! echo x > /root/.k
        RUN --mount=type=secret,id=s,env=TOKEN test $(echo $TOKEN | tr 3 e) = secret && test ! -e /run/secrets/s
        RUN --mount=type=secret,id=e,env=,target=/e test $e = value && test $(cat /e) = value
        RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
        USER app
        RUN --mount=type=secret,id=s,uid=1000 test $(cat /run/secrets/s | tr 3 e) = secret
        RUN test -z "$TOKEN" && test ! -e /run/secrets
        """.replace("        ", "")
    if anyone.userns != "fakeroot":  # there root and user are one to the kernel, and reading is not looked at
        text += "RUN --mount=type=secret,id=s ! cat /run/secrets/s\n"
    options = (f"--secret=id=s,src={secret}", "--secret=id=e,env=E")
    place = context(anyone, text)
    anyone.iechor("build", "--progress=plain", "-t", "x", *options, place, env={"E": "value"})
    assert "root/.k" not in members(anyone) and "s3cret" not in anyone.iechor("history", "--no-trunc", "x").stdout
    secret.write_text("another")
    shown = anyone.iechor("build", "--progress=plain", *options, place, env={"E": "value"}).stderr
    assert ran(shown) == []


def test_a_secret_that_is_required_and_not_given(user: Person) -> None:
    shown = build(user, "FROM busybox\nRUN --mount=type=secret,id=k,required cat /run/secrets/k\n", code=5)
    assert "secret k: not found" in shown and "--secret id=k" in shown and "iEchorfile:2" in shown
    assert "there is no file" in build(user, "FROM busybox\n", "--secret=id=k,src=/nowhere", code=5)


def test_ssh_agents(user: Person, tmp_path: Path) -> None:
    text = "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK\n"
    assert ran(build(user, text.replace("test -S", "test -z"))) == ["RUN"]
    assert "no SSH key" in build(user, text.replace("=ssh", "=ssh,required"), code=5)
    place = user.home / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(place))
        os.chmod(place, 0o777)
        agent.listen()
        shown = build(user, text, f"--ssh=default={place}")
        assert "/run/buildkit/ssh_agent.0" in shown
        build(user, text.replace("=ssh", "=ssh,id=other,target=/a/sock"), f"--ssh=other={place}")
    assert not any(name.startswith(("run/buildkit", "a")) for name in members(user))


def test_ssh_keys_get_an_agent(user: Person) -> None:
    key = user.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for path in (key, key.with_suffix(".pub")):
        os.chown(path, user.uid, user.gid)
    build(user, "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK\n", f"--ssh=default={key}")
    os.chmod(key, 0o600)
    shown = build(user, "FROM busybox\nRUN --mount=type=ssh true x\n", f"--ssh=default={key}.pub", code=5)
    assert "cannot use the SSH key" in shown


def test_limits_and_shm(user: Person) -> None:
    build(user, "FROM busybox\nRUN test $(ulimit -n) = 99 && df -k /dev/shm | grep -q 2048\n",
          "--ulimit=nofile=99:100", "--shm-size=2m")


def test_insecure_has_every_capability_and_says_so(user: Person) -> None:
    shown = build(user, "FROM busybox\nRUN --security=insecure mount -t tmpfs x /tmp && echo mounted\n")
    assert "no more rights than you" in " ".join(shown.split()) and "mounted" in shown


def test_the_cache_can_be_left_out_for_one_stage(user: Person) -> None:
    text = "FROM busybox AS a\nRUN true 1\nFROM busybox AS b\nRUN true 2\nFROM scratch\nCOPY --from=a /bin/sh /1\n" \
           "COPY --from=b /bin/sh /2\n"
    build(user, text)
    assert ran(build(user, text, "--no-cache-filter=a")) == ["RUN"]


def test_binds_and_caches_where_no_overlay_can_be_mounted(user: Person) -> None:
    text = """\
        FROM busybox AS made
        RUN mkdir /out && echo made > /out/f
        FROM busybox
        RUN --mount=from=made,source=out,target=/m test $(cat /m/f) = made && ! touch /m/x
        RUN --mount=from=made,target=/m,rw rm -r /m/out && test ! -e /m/out
        RUN --mount=from=made,target=/m test -e /m/out
        RUN --mount=type=cache,from=made,target=/c test -e /c/out && touch /c/new
        """.replace("        ", "")
    build(user, text)
    note = user.scratch / "fakeroot.1/overlay.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"errno": 22}))
    shown = build(user, text, "--no-cache")
    assert set(members(user)) & {"m", "c"} == set() and "DONE" in shown
