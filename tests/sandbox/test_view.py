"""The library that RUN lends to programs of glibc (native/shim.c) says what the supervisor says, and nobody sees it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.sandbox.fakeroot_lab import PROBE, Lab, build_programs
from tests.sandbox.test_fakeroot import SCRIPTS, WORDS, prepare

TOOLS = ("bash cat chgrp chmod chown cp dash echo env false find grep id install ldd ln ls mkdir mkfifo mknod mv "
         "readlink rm sh stat tail tar test touch true wc")
LENT = "grep -q memfd:view /proc/self/maps && echo lent || echo asks"


def libraries(program: Path) -> set[Path]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return {Path(name) for name in re.findall(r"(/\S+) \(0x", told)}


def add_programs(lab: Lab, programs: list[Path]) -> None:
    """This machine's own, dynamically linked, in the place of busybox's; with what they load."""
    for program in programs:
        target = lab.lower / "bin" / program.name
        target.unlink(missing_ok=True)
        shutil.copy(program, target)
    for library in set().union(*map(libraries, programs)):
        (lab.lower / library.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, lab.lower / library.relative_to("/"))
    for folder, names, files in os.walk(lab.lower):
        for name in (".", *names, *files):
            os.chown(os.path.join(folder, name), lab.person.uid, lab.person.gid, follow_symlinks=False)


def build_dynamic_programs(at: Path) -> Path:
    folder = build_programs(at)
    here = Path(__file__).parent
    subprocess.run(["gcc", "-O1", "-pthread", "-o", folder / "probe", *PROBE], check=True)
    subprocess.run(["gcc", "-O1", "-o", folder / "acts", here / "view_probe.c"], check=True)
    subprocess.run(["gcc", "-O1", "-pthread", "-o", folder / "names", here / "view_names.c"], check=True)
    return folder


@pytest.fixture(scope="module")
def programs(shared: Path) -> Iterator[Path]:
    yield build_dynamic_programs(shared / "view-programs")


def with_glibc(person: Person, programs: Path) -> Lab:
    lab = Lab(person, programs)
    tools = [path for name in TOOLS.split() if (path := Path(shutil.which(name, path="/usr/bin:/bin") or "")).is_file()]
    add_programs(lab, [*tools, *(programs / name for name in ("probe", "acts", "names"))])
    lab.give("home/app", 1000, 1001)
    return lab


@pytest.fixture
def lab(plain_user: Person, programs: Path) -> Lab:
    return with_glibc(plain_user, programs)


@pytest.fixture
def oracle(root_user: Person, programs: Path) -> Lab:
    return with_glibc(root_user, programs)


def test_programs_are_lent_it(lab: Lab) -> None:
    assert lab.sh(LENT).out == "lent\n"
    assert lab.sh(LENT, view=False).out == "asks\n"


def test_static_and_lent_programs_see_the_same(lab: Lab) -> None:
    prepare(lab)
    lab.give("etc/group", 4204350, 4294967294, 0o6755)
    ran = lab.sh("""
        cd /root; mknod c c 4095 1048575; mknod b b 8 17; mkdir d; chown 3:4 d; chmod 0 d; ln -s c l; chown -h 9:9 l
        echo > f; chown 77:78 f; chmod 0 f; cp /etc/lower copied; chown 5 /etc/lower; ln f g; ln /etc/other o
        for f in / /etc /etc/* /root/* /root/d /home/app /proc/self /dev/null; do
            stat -c '%n %a %u %g %F %t %T %s %h' $f >> /tmp/lent
            busybox stat -c '%n %a %u %g %F %t %T %s %h' $f >> /tmp/asked
            stat -Lc '%n %a %u %g' $f; busybox stat -Lc '%n %a %u %g' $f >&2
        done
        wc -l < /tmp/lent; wc -l < /tmp/asked >&2; cat /tmp/lent; cat /tmp/asked >&2""")
    assert ran.out == ran.err
    assert "/etc/group 6755 4204350 4294967294" in ran.out


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_what_real_root_leaves(lab: Lab, oracle: Lab, name: str) -> None:
    seen = []
    for one in (lab, oracle):
        prepare(one)
        ran = one.sh("PATH=/bin; " + SCRIPTS[name] + "\n:")
        times = re.compile(r"\w{3} [ \d]\d [ \d:]{5}")
        seen.append((times.sub("", ran.out).splitlines(), ran.err, ran.code, one.image(ran)))
    ours, roots = seen
    assert ours[0] == roots[0]
    assert ours[1:3] == roots[1:3]
    assert ours[3] == roots[3]


@pytest.mark.parametrize("word", WORDS)
def test_probe(lab: Lab, word: str) -> None:
    ran = lab.run("/bin/probe", word)
    assert (ran.code, ran.out.splitlines()[-1:]) == (0, ["ok"]), ran.out + ran.err


@pytest.mark.parametrize("view", [True, False])
def test_a_process_that_changes_files_and_then_its_rights(lab: Lab, oracle: Lab, view: bool) -> None:
    """What it may do is asked again when anybody's credentials have changed."""
    seen = []
    for one in (lab, oracle):
        ran = one.run("/bin/acts", view=view)
        assert (ran.code, ran.out) == (0, "ok\n"), ran.out
        seen.append(one.image(ran))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("view", [True, False])
def test_who_root_is(lab: Lab, oracle: Lab, view: bool) -> None:
    """What the view keeps of /etc/passwd and /etc/group is never older than these, nor what a program wrote into it."""
    for one in (lab, oracle):
        ran = one.run("/bin/names", view=view)
        assert (ran.code, ran.out) == (0, "ok\n"), ran.out


def test_nobody_writes_the_table(lab: Lab, tmp_path: Path) -> None:
    source = Path(__file__).with_name("view_thief.c")
    subprocess.run(["gcc", "-O1", "-static", "-o", tmp_path / "thief", source], check=True)
    shutil.copy(tmp_path / "thief", lab.lower / "bin/thief")
    assert lab.run("/bin/thief").out == "ok\n"
    assert lab.run("/bin/thief", view=False).out == "it is not lent\n"


def test_nobody_sees_it(lab: Lab, oracle: Lab) -> None:
    """Neither in the environment nor among files and descriptors, nor by ldd."""
    script = """env | grep -v ^_= ; ls -a /etc /dev /proc/self/fd /proc/$$/fd; ldd /bin/ls | grep -o '[^ /]*\\.so[^ ]*'
        test -e /etc/ld.so.preload || test -r /etc/ld.so.preload || echo none; cat /etc/ld.so.preload"""
    ours, roots = lab.sh(script), oracle.sh(script)
    numbers = re.compile(r"/proc/\d+")
    assert numbers.sub("", ours.out) == numbers.sub("", roots.out)
    assert ours.err == roots.err
    assert "none" in ours.out


def test_address_sanitizer_starts(lab: Lab, tmp_path: Path) -> None:
    """Its library wants to be the first of a program."""
    subprocess.run(["gcc", "-O1", "-fsanitize=address", "-pthread", "-o", tmp_path / "checked", *PROBE], check=True)
    add_programs(lab, [tmp_path / "checked"])
    ran = lab.sh("ASAN_OPTIONS=detect_leaks=0 /bin/checked paths")
    assert (ran.code, ran.out) == (0, "ok\n"), ran.err


@pytest.mark.parametrize("before", [
    "exec <&-; ", "ulimit -v 400000; ", "ulimit -n 8; ", "ulimit -f 100; ",
    "exec 3</etc/passwd 4</etc/passwd 6</etc/passwd; "])
def test_nothing_disturbs_it(lab: Lab, before: str) -> None:
    lab.give("etc/group", 42, 43)
    ran = lab.run("bash", "-c", before + "stat -c %u:%g /etc/group; env true")
    assert (ran.code, ran.out, ran.err) == (0, "42:43\n", "")


def test_an_image_with_a_list_of_its_own(lab: Lab) -> None:
    lab.person.write("lower/etc/ld.so.preload", "")
    lab.give("etc/group", 42, 43)
    assert lab.sh(f"{LENT}; stat -c %u:%g /etc/group").out == "asks\n42:43\n"


def test_another_root(lab: Lab) -> None:
    """Where /proc is not, or another file system is: the supervisor answers."""
    lab.give("etc/group", 42, 43)
    ran = lab.sh("""mkdir /jail; cp -a /bin /etc /lib* /jail
        [ ! -e /usr/lib ] || { mkdir /jail/usr; cp -a /usr/lib /jail/usr; }
        chown 7:8 /jail/etc/passwd; busybox chroot /jail stat -c %u:%g /etc/group /etc/passwd
        stat -c %u:%g /etc/group""")
    assert (ran.out, ran.err) == ("42:43\n7:8\n42:43\n", "")


@pytest.mark.parametrize("view", [True, False])
def test_a_umask_is_of_its_own_process_and_its_children(lab: Lab, oracle: Lab, view: bool) -> None:
    script = """
        cd /tmp; (umask 777; mkdir a; touch b; sh -c 'mkdir c; busybox touch d; umask 27; mkdir e; touch f'); mkdir g
        touch h; su app -c '(umask 377; mkdir /tmp/i; touch /tmp/j; busybox mkdir /tmp/k); mkdir /tmp/l; touch /tmp/m'
        chown 5 a b; umask 700; mkfifo n; ln -s n o; umask 0; mkdir p; touch q; stat -c '%n %a %u' *"""
    seen = []
    for one in (lab, oracle):
        ran = one.sh(script, view=view)
        seen.append((ran.out, ran.err, one.image(ran)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("view", [True, False])
def test_processes_that_share_a_umask(lab: Lab, oracle: Lab, tmp_path: Path, view: bool) -> None:
    """One takes all rights from what the other makes: its user can read the layer and remove it all the same."""
    source = Path(__file__).with_name("shared_umask.c")
    subprocess.run(["gcc", "-O1", "-o", tmp_path / "shared_umask", source], check=True)
    images = []
    for one in (lab, oracle):
        add_programs(one, [tmp_path / "shared_umask"])
        ran = one.sh("cd /root; exec shared_umask", view=view)
        assert (ran.code, ran.err) == (0, "")
        images.append(one.image(ran))
    assert images[0] == images[1]
    done = lab.person.run("rm", "-rf", lab.work / "upper")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_its_owner_may_not_read(lab: Lab, oracle: Lab) -> None:
    """dpkg makes all its files so; the disk lets our own user read what stays so."""
    script = "cd /root; umask 377; touch a b; chmod 644 b; umask 777; touch c; busybox touch d; chown 5 d"
    seen = [one.image(one.sh(script)) for one in (lab, oracle)]
    assert seen[0] == seen[1]
