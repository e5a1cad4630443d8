"""ONBUILD, HEALTHCHECK and the flags that shape the image: what is in its config and manifest."""

import json

import pytest

from tests.conftest import Person
from tests.flows.test_build import build, config, members, ran


def test_triggers_fire_once_and_may_read_from_stages(user: Person) -> None:
    build(user, "FROM busybox\nONBUILD COPY --from=tools /out/f /from-tools\n"
                "ONBUILD RUN --mount=from=tools,source=out,target=/m cp /m/f /from-mount\n"
                "ONBUILD ENV FIRED=yes\nRUN true\n")
    user.iechor("tag", "x", "parent")
    assert len(config(user)["Config"]["OnBuild"]) == 3  # type: ignore[index]
    text = "FROM busybox AS tools\nRUN mkdir /out && echo t > /out/f\nFROM parent\nRUN test $FIRED = yes\n"
    build(user, text)
    assert {"from-tools", "from-mount"} <= set(members(user))
    assert not config(user)["Config"].get("OnBuild")  # type: ignore[attr-defined, index]
    user.iechor("tag", "x", "child")
    assert ran(build(user, "FROM child\nRUN true\n")) == ["RUN"]


@pytest.mark.parametrize("trigger", ["ONBUILD RUN true", "FROM busybox", "MAINTAINER me"])
def test_what_no_trigger_may_be(user: Person, trigger: str) -> None:
    shown = build(user, f"FROM busybox\nONBUILD {trigger}\n", code=3)
    assert "ONBUILD" in shown and "iEchorfile:2" in shown


def test_health_and_stop_signal(user: Person) -> None:
    build(user, "FROM busybox\nARG S=SIGUSR1\nSTOPSIGNAL $S\nHEALTHCHECK --interval=1m30s --timeout=3s --retries=4 "
                "--start-period=5s --start-interval=2s CMD test -e /up\n")
    found = config(user)["Config"]
    assert found["StopSignal"] == "SIGUSR1"  # type: ignore[index]
    assert found["Healthcheck"] == {  # type: ignore[index]
        "Test": ["CMD-SHELL", "test -e /up"], "Interval": 90_000_000_000, "Timeout": 3_000_000_000, "Retries": 4,
        "StartPeriod": 5_000_000_000, "StartInterval": 2_000_000_000}
    build(user, "FROM x\nHEALTHCHECK NONE\n")
    assert config(user)["Config"]["Healthcheck"] == {"Test": ["NONE"]}  # type: ignore[index]


SQUASHED = """\
FROM busybox
RUN mkdir /d && echo 1 > /d/a && ln /d/a /d/hard && touch /d/p && ln /d/p /d/q && echo 2 > /d/gone
RUN rm /d/gone && chown app /d/a
COPY --chmod=600 f /d/f
RUN rm -r /home && mkdir /home && touch /home/new
"""


@pytest.mark.parametrize(("flag", "layers"), [("--squash", 2), ("--squash-all", 1)])
def test_squash(user: Person, flag: str, layers: int) -> None:
    build(user, SQUASHED, f="x")
    script = ("find / -xdev ! -type d -exec stat -c '%n %a %u %s' {} + | sort; "
              "find / -xdev -type d -exec stat -c '%n %a %u' {} + | sort")
    before = user.iechor("run", "--rm", "x", "sh", "-c", script).stdout
    build(user, SQUASHED, flag, f="x")
    assert user.iechor("run", "--rm", "x", "sh", "-c", script).stdout == before
    assert len(config(user)["RootFS"]["Layers"]) == layers  # type: ignore[index]
    found = members(user)
    assert "d/gone" not in found and found["d/q"].islnk() and found["d/f"].mode == 0o600
    history = user.iechor("history", "x").stdout
    assert "squash of" in history


def test_annotations_are_in_the_manifest(user: Person) -> None:
    build(user, "FROM busybox\n", "--annotation=a.b=c", "--annotation=manifest:d=e")
    user.iechor("save", "--format=oci-dir", "-o", user.home / "oci", "x")
    index = json.loads((user.home / "oci/index.json").read_text())
    digest = index["manifests"][0]["digest"].partition(":")[2]
    manifest = json.loads((user.home / "oci/blobs/sha256" / digest).read_text())
    assert manifest["annotations"] == {"a.b": "c", "d": "e"}
    assert "images of the store have none" in build(user, "FROM busybox\n", "--annotation=index:a=b", code=4)
