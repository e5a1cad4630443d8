"""RUN --device: what the CDI files of this host say comes into the step, and nothing of it into the image."""

import json
from typing import Any

from tests.conftest import Person
from tests.flows.test_build import context, members, ran

FOO = "vendor1.com/device=foo"
BASE = "FROM busybox\n"


def describe(person: Person, edits: Any, **more: Any) -> None:
    """A CDI file with the devices foo and bar."""
    spec = {"cdiVersion": "0.6.0", "kind": "vendor1.com/device", "containerEdits": {"env": ["ANY=1"]}, "devices": [
        {"name": "foo", "containerEdits": edits}, {"name": "bar", "containerEdits": {"env": ["BAR=1"]}}], **more}
    person.write("cdi/v.json", json.dumps(spec))


def built(person: Person, text: str, *options: str, code: int = 0) -> str:
    return person.iechor("build", "--progress=plain", "-t", "x", *options, context(person, text), code=code,
                         env={"IECHOR_CDI_SPEC_DIRS": f"/none:{person.home}/cdi"}).stderr


def test_nodes_mounts_and_variables(anyone: Person) -> None:
    library = anyone.write("driver/lib.so", "of the driver")
    describe(anyone, {"env": ["FOO=injected", "PATH=/bin:/usr/bin:/driver"],
                      "deviceNodes": [{"path": "/dev/made/up", "hostPath": "/dev/zero"}, {"path": "/dev/full"}],
                      "mounts": [{"hostPath": str(library), "containerPath": "/usr/lib/lib.so", "options": ["ro"]},
                                 {"hostPath": str(library.parent), "containerPath": "/driver", "options": ["rbind"]}]})
    text = BASE + f"""\
ENV FOO=mine
RUN --device={FOO},required test -c /dev/made/up && test $(head -c 3 /dev/made/up | wc -c) = 3 && ! echo > /dev/full
RUN --device={FOO} test "$FOO $ANY $BAR" = "injected 1 " && cat /usr/lib/lib.so /driver/lib.so
RUN --device={FOO} ! echo > /usr/lib/lib.so
RUN --device=vendor1.com/device=* test "$FOO $ANY $BAR" = "injected 1 1"
RUN test $FOO = mine && test ! -e /dev/made
"""
    built(anyone, text, "--allow", "device")
    assert not set(members(anyone)) & {"driver", "usr/lib/lib.so", "dev/made", "dev/made/up"}
    assert ran(built(anyone, text, "--allow", "device")) == []


def test_a_device_has_to_be_allowed(user: Person) -> None:
    describe(user, {"env": ["FOO=injected"]})
    text = BASE + f"RUN --device={FOO} test $FOO = injected\n"
    shown = built(user, text, code=2)
    assert f"iEchorfile:2: cannot give the RUN the device {FOO}: it is not allowed" in shown
    assert f"--allow device={FOO}" in shown and "FROM busybox" not in shown.partition("cannot give")[0]
    assert "not allowed" in built(user, text, "--allow=device=vendor1.com/device=bar", code=2)
    for allowed in ("device", f"device={FOO}", "device=vendor1.com/device=*"):
        built(user, text, "--no-cache", "--allow", allowed)
    built(user, text.replace(FOO, "gpu"), f"--allow=device={FOO},alias=gpu")
    describe(user, {"env": ["FOO=injected"]}, annotations={"org.mobyproject.buildkit.device.autoallow": "true"})
    built(user, text, "--no-cache")
    for wrong in ("device=a,b", "device=a,alias=", "network", "devic"):
        assert "--allow" in built(user, text, "--allow", wrong, code=2)
    built(user, BASE, "--allow=network.host", "--allow", "security.insecure")


def test_by_the_class_that_its_annotation_says(user: Person) -> None:
    describe(user, {"env": ["FOO=1"]}, annotations={"org.mobyproject.buildkit.device.class": "class1"})
    built(user, BASE + 'RUN --device=class1 test "$FOO $BAR" = "1 1"\n', "--allow=device")


def test_what_is_not_there(user: Person) -> None:
    """Required: before anything is fetched or run. Else the command runs without, and that is said."""
    describe(user, {"env": ["FOO=1"]})
    text = BASE + "RUN echo done\nFROM busybox\nRUN echo done\nRUN --device=vendor1.com/device=fou,required true\n"
    shown = built(user, text, "--allow=device", code=5)
    assert "iEchorfile:5: cannot give the RUN its device vendor1.com/device=fou: it is not registered" in shown
    assert f"Did you mean {FOO}?" in shown and ">    5 | RUN --device=" in shown and "#1" not in shown
    shown = built(user, text.replace(",required", ""))
    assert "the command runs without" in shown and "is not registered on this host" in shown
    user.write("cdi/bad.json", "{")
    assert f"{user.home}/cdi/bad.json cannot be used: it is no JSON" in built(user, text, code=5)
    assert "/etc/cdi or /var/run/cdi" in user.iechor("build", context(user, text), code=5).stderr


def test_what_only_root_can_carry_out(user: Person) -> None:
    hook = {"hookName": "createContainer", "path": "/usr/bin/hook"}
    describe(user, {"env": ["FOO=1"], "hooks": [hook]})
    text = BASE + f"RUN --device={FOO},required true\n"
    shown = built(user, text, "--allow=device", code=4)
    assert f"{user.home}/cdi/v.json has hooks, which only root can carry out" in shown and "iEchorfile:2:" in shown
    shown = built(user, BASE + f"RUN --device={FOO} test -z $FOO\n", "--allow=device")
    assert "the command runs without" in shown and "hooks" in shown


def test_a_file_that_names_what_is_not_there(user: Person) -> None:
    describe(user, {"deviceNodes": [{"path": "/dev/no-such-node"}]})
    shown = built(user, BASE + f"RUN --device={FOO} true\n", "--allow=device", code=5)
    assert f"{user.home}/cdi/v.json names /dev/no-such-node, and there is no such" in shown and "iEchorfile:2:" in shown


def test_which_devices_there_are_is_part_of_the_key(user: Person) -> None:
    text = BASE + f"RUN --device={FOO} echo $FOO\nRUN --device=vendor1.com/device echo first\n"
    assert ran(built(user, text, "--allow=device")) == ["RUN", "RUN"]
    describe(user, {"env": ["FOO=1"]})
    assert ran(built(user, text, "--allow=device")) == ["RUN", "RUN"]
    describe(user, {"env": ["FOO=2"]})  # as with BuildKit: the names alone
    assert ran(built(user, text, "--allow=device")) == []
