"""The supervisor, call by call, as a user with one id; and whole scripts against real root, which it imitates."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootless_builder.errors import SandboxError
from rootless_builder.sandbox.fakeroot import OwnerRecord, available, decode, encode
from tests.conftest import Person
from tests.sandbox.fakeroot_lab import DRIVE, Lab, build_programs

RAW = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
WORDS = ["self", "paths", "reuse", "threads", "forks", "daemon", "peer", "limits", "create=500"]


@pytest.fixture(scope="module")
def programs(shared: Path) -> Iterator[Path]:
    yield build_programs(shared / "programs")


@pytest.fixture
def lab(plain_user: Person, programs: Path) -> Lab:
    return Lab(plain_user, programs)


@pytest.fixture
def oracle(root_user: Person, programs: Path) -> Lab:
    return Lab(root_user, programs)


def test_this_machine_can() -> None:
    support = available()
    assert support.usable, support.reason
    assert support.degraded == ()


@pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "checked-out"])
@pytest.mark.parametrize("word", WORDS)
def test_probe(lab: Lab, word: str, overlay: bool) -> None:
    ran = lab.run("/t/probe", word, overlay=overlay)
    assert (ran.code, ran.out.splitlines()[-1:]) == (0, ["ok"]), ran.out


def test_a_32_bit_program_is_under_it_too(lab: Lab) -> None:
    """Where the kernel runs them: x86-64."""
    for program in (lab.lower / "t").glob("i386"):
        assert lab.run(f"/t/{program.name}").code == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_pointers_that_lead_nowhere(lab: Lab, seed: int) -> None:
    ran = lab.run("/t/probe", "fuzz=100000", str(seed))
    assert ran.out == "100000 calls\nok\n", ran.out


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "checked-out"])
def test_a_million_of_them(lab: Lab, overlay: bool) -> None:
    ran = lab.run("/t/probe", "fuzz=1000000", "77", overlay=overlay, timeout=600)
    assert ran.out == "1000000 calls\nok\n", ran.out


def test_many_owners(lab: Lab) -> None:
    """Each file its own owner: none is lost, neither in the run nor in the table."""
    ran = lab.run("/t/probe", "many=5000")
    assert ran.out == "ok\n"
    image = lab.image(ran)
    assert {image[f"tmp/many/{i}"][1:3] for i in range(5000)} == {(1 + i, 4204350 - i) for i in range(5000)}


SCRIPTS = {
    "owners": """
        cd /root; for i in 0 42 65534 445605 4204350; do echo > f$i; chown $i:$i f$i; stat -c '%u %g %a' f$i; done
        mkdir -p d/e; chown -R 7:8 d; ln -s nowhere l; chown -h 9:10 l; stat -c '%u %g' d d/e l
        echo > a; chown 5 a; ln a b; chown :6 b; stat -c '%u %g %h' a b; rm a; stat -c '%u %g %h' b
        echo > n; mv n b; stat -c '%u' b; cp -a f42 c; install -o 12 -g 13 -m 4750 f42 i; ls -ln
        tar cf t.tar f* i l d; mkdir x; tar xpf t.tar -C x; ls -lnR x; rm -r d t.tar; mkdir d; ls -ldn d""",
    "modes": """
        cd /root; echo > f; chmod 4755 f; chown 3 f; stat -c '%a' f; chmod 6755 f; echo x >> f; stat -c '%a %s' f
        chmod 2745 f; chown 4 f; stat -c '%a' f; chmod 0 f; stat -c '%a' f; cat f; mkdir d; chmod 0 d; echo > d/x
        mkdir -m 0 e; mkdir e/f; stat -c '%a' d e; umask 0777; echo > u; mkdir v; umask 022; stat -c '%a' u v
        mkdir w; chmod 1777 w; stat -c '%a' w; chmod 3777 w; echo > w/y; mkdir w/z; stat -c '%a' w/z""",
    "devices": """
        cd /root; mknod c c 1 3; mknod -m 640 b b 8 17; mknod p p; mkfifo q; ls -ln; rm c; echo > c; ls -ln c
        mknod d c 4095 1048575; stat -c '%t %T' d; chown 6:6 d; mv d e; ln e f; stat -c '%u %F' e f; mknod e c 1 1""",
    "set-gid folders": """
        cd /tmp; mkdir g; chown :8 g; chmod 2775 g; echo > g/f; mkdir g/h; echo > g/h/i; ln -s x g/l; mkfifo g/p
        mknod g/n c 1 3; su app -c 'echo > /tmp/g/no; umask 002; mkdir /tmp/g/h/k' ; chmod 2777 g
        su app -c 'echo > /tmp/g/yes; mkdir /tmp/g/yd; ln -s y /tmp/g/yl'; ls -lnR g""",
    "a user": """
        id; su app -c 'id; id -u; id -G; echo > /tmp/a; mkdir /tmp/d; ln -s a /tmp/l; mkfifo /tmp/p; echo > ~/h
            chmod 4711 /tmp/a; ln /tmp/a /tmp/b; mknod /tmp/n c 1 3; chown 0 /tmp/a; chgrp 4204350 /tmp/a
            chgrp 0 /tmp/a
            umask 077; echo > /tmp/u; chmod 0 /tmp/u; echo > /root/x; echo >> /etc/passwd; rm -f /etc/group
            mv /etc/group /tmp/; echo > /etc/new; test -w /etc/passwd || echo no; test -r /etc/passwd && echo yes
            chmod 777 /etc; setpriv --dump; true' 2>&1 | sed 's/^[a-z]*: line [0-9]*: //'
        echo > /tmp/mine; su app -c 'rm -f /tmp/mine; mv -f /tmp/mine /tmp/yours'; ls -ln /tmp /home/app""",
    "removal and copy-up": """
        stat -c '%u %g %a' /etc/lower /etc/caps; echo x >> /etc/lower; stat -c '%u %g %a' /etc/lower
        mv /etc/lower /etc/moved; stat -c '%u' /etc/moved; cp -p /etc/moved /etc/lower; chmod 600 /etc/moved
        rm /etc/other; echo > /etc/other; stat -c '%u' /etc/other; rm -r /home/app; mkdir /home/app; ls -ldn /home/app
        chown 9 /etc/passwd; mv /home/app /home/bpp; ls -ln /etc""",
    "a second name for a lower file": """
        cd /etc; ln lower second; stat -c '%n %u %g %a %h' lower second; rm lower; stat -c '%n %u %g %a' second
        ln other o2; chown 4 o2; rm other; stat -c '%u %g' o2; ln o2 o3; chgrp 6 o3; rm o2; stat -c '%u %g' o3
        rm o3; echo > o3; echo > o4; stat -c '%u %g' o3 o4; ln group g2; chown 5 group; stat -c '%u' g2 group""",
}


def prepare(lab: Lab) -> None:
    for name in ("lower", "other", "caps"):
        lab.person.write(f"lower/etc/{name}", "text")
    lab.give("etc/lower", 33, 34, 0o640)
    lab.give("etc/other", 35, 36)
    lab.give("etc/caps", 0, 0, 0o755, ((b"security.capability", RAW),))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_what_real_root_leaves(lab: Lab, oracle: Lab, name: str) -> None:
    seen = []
    for one in (lab, oracle):
        prepare(one)
        ran = one.sh(SCRIPTS[name] + "\n:")
        hidden = [line.rsplit(None, 4)[0] if line[:1] in "-dlcbps" and line.count(":") else line
                  for line in ran.out.splitlines()]  # the time of day in a listing
        seen.append((hidden, ran.err, ran.code, one.image(ran)))
    ours, roots = seen
    assert ours[0] == roots[0]
    assert ours[1:3] == roots[1:3]
    assert ours[3] == roots[3]


def test_what_a_run_leaves_is_what_the_next_one_starts_from(lab: Lab) -> None:
    first = lab.sh("cd /root; mknod n c 1 3; echo > f; chown 4:5 f; chmod 4711 f; mkdir -m 0 d", overlay=False)
    assert first.table is not None
    second = lab.sh("cd /root; stat -c '%n %u %g %a %F' *; rm f; echo > f; stat -c %u f", overlay=False,
                    table=first.table.hex())
    assert second.out == ("d 0 0 0 directory\nf 4 5 4711 regular file\nn 0 0 644 character special file\n0\n")


def test_a_lower_file_with_several_names_keeps_its_owner_when_it_is_written(lab: Lab) -> None:
    """Its inode number changes then."""
    lab.person.write("lower/etc/one", "text")
    os.link(lab.lower / "etc/one", lab.lower / "etc/two")
    lab.give("etc/one", 50, 51, 0o4755)
    ran = lab.sh("echo x >> /etc/one; stat -c '%u %g %a' /etc/one /etc/two; mv /etc/two /etc/three; "
                 "chmod 711 /etc/three; stat -c '%u %g %a' /etc/three; stat -c %i /etc/one /etc/three | uniq | wc -l")
    assert ran.out == "50 51 4755\n50 51 4755\n50 51 711\n2\n"
    image = lab.image(ran)
    assert image["etc/one"][:3] == ("0o104755", 50, 51)
    assert image["etc/three"][:3] == ("0o100711", 50, 51)


def test_what_was_copied_up_keeps_its_owner_under_its_new_number(lab: Lab) -> None:
    """The numbers that a new mount of the same upper directory shows."""
    prepare(lab)
    touched = "touch /etc/lower; truncate -c -s 1 /etc/caps; ln /etc/other /etc/second; chown 9 /etc/passwd"
    first = lab.sh(touched + "; stat -c '%u %g %a' /etc/lower /etc/other /etc/second /etc/passwd")
    assert first.out == "33 34 640\n35 36 644\n35 36 644\n9 0 644\n" and first.table is not None
    again = lab.sh("stat -c '%u %g %a' /etc/lower /etc/other /etc/second /etc/passwd", table=first.table.hex())
    assert again.out == first.out


def test_capabilities_go_with_the_first_write(lab: Lab, oracle: Lab) -> None:
    """As the kernel takes them: not at the open, nor by a change of time."""
    images = []
    for one in (lab, oracle):
        prepare(one)
        one.person.write("lower/etc/kept", "text")
        one.give("etc/kept", 3, 4, 0o755, ((b"security.capability", RAW),))
        ran = one.sh("exec 3<>/etc/kept 4<>/etc/caps; touch /etc/kept; echo x >&4; echo done")
        assert (ran.out, ran.err) == ("done\n", "")
        images.append(one.image(ran))
    assert images[0] == images[1]
    assert repr(RAW) in repr(images[0]["etc/kept"])
    assert "security" not in str(images[0]["etc/caps"])
    assert "security.capability" not in os.listxattr(lab.work / "upper/etc/kept")


def test_capabilities_go_with_a_write_by_who_had_it_open_before(lab: Lab, oracle: Lab) -> None:
    images = []
    for one in (lab, oracle):
        ran = one.sh("cd /root; exec 3>>written 4>>kept; /t/probe caps=written caps=kept; echo x >&3; ls -l /root")
        assert (ran.code, ran.err) == (0, "")
        images.append(one.image(ran))
    assert images[0] == images[1]
    assert "security" in str(images[0]["root/kept"]) and "security" not in str(images[0]["root/written"])


def test_no_path_reaches_the_host(lab: Lab) -> None:
    """A relative path through an absolute symlink, "..", another root: all end inside."""
    outside = lab.person.write("outside/secret", "text", mode=0o600).parent
    (outside / "bin").mkdir()
    os.chown(outside / "bin", lab.person.uid, lab.person.gid)
    before = sorted(os.listdir(outside))
    ran = lab.sh(f"""
        cd /tmp; ln -s {outside} l; for c in 'mknod l/x c 1 3' 'chown 5 l/secret' 'chmod 4777 l/secret' \
            'mkdir -m 0 l/d' 'chown 5 ../../..{outside}/secret' 'mknod {outside}/y c 1 3' 'rm l/secret' \
            'chmod 4777 /proc/self/../..{outside}/secret' 'mknod /proc/self/../..{outside}/x c 1 3' \
            'chmod 4777 /proc/thread-self/../../../..{outside}/secret' 'mknod /dev/fd/../../..{outside}/x c 1 3' \
            'chmod 4777 /proc/self/root/../..{outside}/secret' 'chmod 4777 /proc/1/../..{outside}/secret' \
            'mkdir -m 0 /proc/self/cwd/../..{outside}/d'; do
            $c 2>/dev/null && echo "reached by: $c"; done
        mkdir -p jail/bin jail/tmp jail/t; cp /bin/busybox jail/bin; cp /t/probe jail/t; echo > jail/tmp/f
        ln -s /tmp/f jail/link; echo > /tmp/f; chown 3 /tmp/f
        chroot jail /bin/busybox sh -c 'cd /; busybox chown 77 link; busybox chown 78 ../../../../t/probe;
            busybox stat -c %u /tmp/f; busybox mknod ../../x c 1 3'
        stat -c '%n %u' /tmp/f jail/tmp/f jail/t/probe /tmp/jail/x""")
    assert ran.out == "77\n/tmp/f 3\njail/tmp/f 77\njail/t/probe 78\n/tmp/jail/x 0\n", ran.err
    assert sorted(os.listdir(outside)) == before
    assert stat.S_IMODE((outside / "secret").stat().st_mode) == 0o600


def test_a_step_that_dies_still_hands_its_table_back(lab: Lab) -> None:
    ran = lab.run("sh", "-c", "echo > /root/f; chown 5 /root/f; kill -SEGV $$")
    assert ran.code == 139
    assert lab.image(ran)["root/f"][1] == 5


def test_the_user_of_the_step(lab: Lab) -> None:
    assert lab.run("sh", "-c", "id -u; id -g; id -G; echo > ~/x; stat -c '%u %g' ~/x", user="app").out == \
        "1000\n1001\n1001 4 4204350\n1000 1001\n"
    assert lab.run("sh", "-c", "id -u; id -g", user="8:99").out == "8\n99\n"


def test_what_it_does_not_do_is_what_the_documentation_says(lab: Lab) -> None:
    """docs/rootless.md, "Honest limits of fakeroot": the symptoms that a shell can show."""
    ran = lab.sh("""
        echo hidden > /root/secret; chmod 600 /root/secret; chmod 700 /root
        su app -c 'cat /root/secret; test -r /root/secret || echo not by access'
        sleep 60 & daemon=$!; su app -c "kill $daemon"; wait $daemon; echo $?
        su app -c 'grep ^Uid: /proc/self/status | tr -s "\\t" " "; id -u'
        mknod /tmp/null c 1 3; wc -c < /tmp/null; (echo x > /tmp/null) 2>/dev/null || echo refused
        find /tmp -exec test -c {} ';' -print
        (nc -l -p 81 -w 1) 2>&1 | grep -o 'Permission denied'""")
    assert ran.out.splitlines() == [
        "hidden", "not by access", "143", "Uid: 0 0 0 0", "1000", "0", "refused", "/tmp/null", "Permission denied"]


def test_killing_the_supervisor_ends_the_step(lab: Lab) -> None:
    drive = lab.person.write("drive.py", DRIVE.read_text())
    command = [sys.executable, str(drive), lab.request("sh", "-c", "while :; do stat /; done")]
    process = lab.person.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    supervisor = int(process.stderr.readline().split(":")[1].strip(" }\n"))
    time.sleep(0.3)
    os.kill(supervisor, signal.SIGKILL)
    assert process.wait(timeout=20) is not None
    process.stderr.close()


def test_signals_to_the_supervisor_lose_no_answer(lab: Lab) -> None:
    drive = lab.person.write("drive.py", DRIVE.read_text())
    process = lab.person.start(sys.executable, str(drive), lab.request("/t/probe", "create=5000"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    supervisor = int(process.stderr.readline().split(":")[1].strip(" }\n"))
    time.sleep(0.2)  # until it serves
    while process.poll() is None:
        for _ in range(20):
            try:
                os.kill(supervisor, signal.SIGALRM)
            except ProcessLookupError:
                break
        time.sleep(0.001)
    assert '"out": "ok\\n"' in process.stdout.read()
    process.stdout.close()
    process.stderr.close()


def test_a_damaged_table_ends_the_step(lab: Lab) -> None:
    drive = lab.person.write("drive.py", DRIVE.read_text())
    request = lab.request("sh", "-c", "id; stat /", table="00" * 40)
    done = lab.person.run(sys.executable, str(drive), request, timeout=60)
    assert '"code": 0' not in done.stdout


def test_the_upper_directory_can_be_removed_by_its_user(lab: Lab) -> None:
    lab.sh("cd /root; mkdir -p a/b/c; echo > a/b/c/d; chmod -R 0 a; chown -R 5 a; su app -c 'mkdir -m 0 /tmp/x'")
    done = lab.person.run("rm", "-rf", lab.work / "upper", lab.lower)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (lab.work / "upper").exists()


# The packed table ─────────────────────────────────────────────────────────────────────────────────────────────────

RECORDS = [OwnerRecord(1, 0o100644, 0, 42), OwnerRecord(2**64 - 1, 0o20600, 4204350, 2**32 - 2, 4095, 2**20 - 1),
           OwnerRecord(7, 0o104755, 1, 1, 0, 0, ((b"security.capability", RAW), (b"trusted.empty", b"")), 2)]


def test_a_table_comes_back_as_it_was() -> None:
    assert list(decode(encode(RECORDS))) == RECORDS
    assert list(decode(encode([]))) == list(decode(b"")) == []


@pytest.mark.parametrize("cut", range(1, len(encode(RECORDS))))
def test_a_damaged_table_is_told(cut: int) -> None:
    with pytest.raises(SandboxError, match="owner table"):
        list(decode(encode(RECORDS)[:cut]))


def test_a_number_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        encode([OwnerRecord(1, 0o100644, -1, 0)])


def test_the_supervisor_compiles_for_aarch64(tmp_path: Path) -> None:
    native = Path(__file__).resolve().parents[2] / "native"
    names = (native / "fakeroot.sources").read_text().split()
    sources = [native / name for name in names if not name.startswith("py_")]
    built = subprocess.run(["aarch64-linux-gnu-gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-c", *sources,
                            f"-I{native}"], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


@pytest.mark.parametrize("name", ["test_kernels", "test_survey", "test_ownertable", "test_view", "test_fakeroot_creds"])
def test_the_kernels_on_aarch64(name: str, tmp_path: Path) -> None:
    """By emulation, so without the sanitizers; the loop needs a kernel of that machine."""
    native = Path(__file__).resolve().parents[2] / "native"
    built = subprocess.run(["make", "-C", native, "CC=aarch64-linux-gnu-gcc", "SANITIZERS=-static", f"OUT={tmp_path}",
                            tmp_path / name], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run(["qemu-aarch64", tmp_path / name], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "not ok" not in done.stdout, done.stdout + done.stderr
    assert "ok 1 " in done.stdout


@pytest.mark.parametrize("name", ["test_ownertable", "test_fakeroot_creds", "test_fakeroot_loop"])
def test_the_kernels_alone(name: str, tmp_path: Path) -> None:
    """Under the address and undefined-behaviour sanitizers; the whole loop too, in namespaces of its own."""
    native = Path(__file__).resolve().parents[2] / "native"
    built = subprocess.run(["make", "-C", native, f"OUT={tmp_path}", tmp_path / name], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / name], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not ok" not in done.stdout
