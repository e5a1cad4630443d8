"""`iechor info` and `iechor doctor` name the path taken and what was probed, where something really lacks.

What is then built there: test_fallbacks.py.
"""

import dataclasses
from collections.abc import Sequence

import pytest

from tests.conftest import Person
from tests.flows.test_fallbacks import EINVAL, ENODEV, MS_NODEV, NONE, mounted, refusing


def inside(script: str) -> list[str]:
    """A user namespace in which the user stays who they are, and SCRIPT had the capabilities to take things away."""
    return ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c",
            script + ' && exec setpriv --ambient-caps=-all --inh-caps=-all "$@"', "sh"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """prefix: words before the command. code: doctor's. path: what both commands say in one sentence.

    told: one line of the report, as info has it. mend: doctor's way out, "" where none is needed.
    """

    prefix: Sequence[str] = ()
    code: int = 0
    path: str
    told: str
    mend: str = ""


KEPT = "the fakeroot supervisor keeps owners, with one id; "
SYSCTL = "Run `sudo sysctl -w user.max_user_namespaces=15000`"
PLACES = {
    "nothing lacks": Place(path=KEPT + "overlays are mounted", told="yes overlayfs: works in"),
    "no overlayfs in user namespaces": Place(
        prefix=refusing("mount", 3, MS_NODEV, ENODEV, []), path=KEPT + "trees are checked out and compared",
        told="no  overlayfs: refused in", mend="Set IECHOR_SCRATCH to a folder on a local ext4, xfs, btrfs or tmpfs."),
    "no user notification": Place(
        prefix=refusing("seccomp", -1, 0, EINVAL, []), code=1,
        path="RUN works with --allow-lost-owners alone, and run cannot work here; a build without RUN needs neither",
        told="no  fakeroot: RUN cannot keep owners with one id: the kernel has no seccomp user notification"),
    "no user namespaces": Place(
        prefix=inside("mount --bind /dev/null /usr/bin/proot && echo 0 > /proc/sys/user/max_user_namespaces"), code=1,
        path="RUN and run cannot work here; a build without RUN can",
        told="no  user namespaces: RUN and run cannot work: user.max_user_namespaces is 0", mend=SYSCTL),
    "no user namespaces, but proot": Place(
        prefix=NONE, code=1,
        path="run goes through proot, and RUN with --allow-lost-owners; a build without RUN needs neither",
        told="no  user namespaces: RUN and run cannot work: user.max_user_namespaces is 0", mend=SYSCTL),
    "a masked /proc": Place(
        prefix=inside("mount --bind /dev/null /proc/keys"), path=KEPT + "overlays are mounted",
        told="no  procfs: a fresh /proc is refused", mend="Start the outer container with"),
}


def shown(person: Person, place: Place, env: dict[str, str] | None = None) -> None:
    info = person.run(*place.prefix, *person.command("info"), env=env)
    assert info.returncode == 0 and "Traceback" not in info.stderr, info.stderr
    assert f"Path taken:           {place.path}\n" in info.stdout, info.stdout
    doctor = person.run(*place.prefix, *person.command("doctor"), env=env)
    assert doctor.returncode == place.code and "Traceback" not in doctor.stderr, doctor.stderr
    assert f"\n{place.path}\n" in doctor.stdout, doctor.stdout
    for report in (info.stdout, doctor.stdout):
        assert place.told in report, report
    paragraph = doctor.stdout.partition(place.told)[2].split("\n", 3)
    assert paragraph[1].startswith("      tried: ") and place.mend in paragraph[2], doctor.stdout


@pytest.mark.parametrize("name", PLACES)
def test_the_path_taken_is_named(plain_user: Person, name: str) -> None:
    shown(plain_user, PLACES[name])


def test_the_path_taken_with_scratch_on_a_file_system_without_attributes(plain_user: Person) -> None:
    source = plain_user.write("source/x", "").parent
    with mounted(plain_user.home / "fuse", "bindfs", "--xattr-none", str(source)) as fuse:
        shown(plain_user, Place(
            path=KEPT + "trees are checked out and compared", told=f"no  overlayfs: refused in {fuse}/scratch",
            mend="Set IECHOR_SCRATCH"), {"IECHOR_SCRATCH": f"{fuse}/scratch"})


def test_the_path_taken_by_root_in_a_chroot(root_user: Person) -> None:
    """There the kernel makes no user namespace for anybody."""
    jail = root_user.home / "jail"
    jail.mkdir()
    script = f'mount --rbind / {jail} && exec chroot {jail} env -C "$HOME" "$@"'
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    assert root_user.run(*prefix, "unshare", "--user", "true").returncode != 0
    shown(root_user, Place(prefix=prefix, path="the kernel keeps owners, as real root; overlays are mounted",
                           told="yes namespaces: root: RUN needs no user namespace"), {"IECHOR_USERNS": ""})
