"""Which devices of this host a name means: as BuildKit's cdidevices finds them."""

import json
from pathlib import Path
from typing import Any

import pytest

from rootless_builder.cdi.registry import Registry, read_registry

ENV = {"env": ["A=1"]}
CLASS = "org.mobyproject.buildkit.device.class"


def put(folder: Path, name: str, **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    spec = {"cdiVersion": "0.6.0", "kind": "vendor1.com/device", "devices": [
        {"name": "foo", "containerEdits": ENV},
        {"name": "bar", "containerEdits": ENV, "annotations": {CLASS: "class1"}},
        {"name": "baz", "containerEdits": ENV, "annotations": {CLASS: "class1"}}], **more}
    (folder / name).write_text(json.dumps(spec))


def names(registry: Registry, name: str) -> list[str]:
    return [device.name.partition("=")[2] for device in registry.find(name)]


def test_names(tmp_path: Path) -> None:
    put(tmp_path / "a", "v.json")
    known = read_registry([tmp_path / "a", tmp_path / "none"])
    assert known.problems == ()
    assert names(known, "vendor1.com/device=foo") == ["foo"]
    assert names(known, "vendor1.com/device") == ["bar"]
    assert names(known, "vendor1.com/device=*") == ["bar", "baz", "foo"]
    assert names(known, "class1") == ["bar", "baz"]
    for name in ("vendor1.com/device=qux", "vendor1.com/devic", "class2", "foo", "", "/", "=", "vendor1.com/=foo"):
        assert names(known, name) == [], name


def test_a_class_may_look_like_a_device(tmp_path: Path) -> None:
    put(tmp_path / "a", "v.json", annotations={CLASS: "other.com/x=y"})
    assert names(read_registry([tmp_path / "a"]), "other.com/x=y") == ["foo"]


def test_later_folders_come_first_and_two_files_of_one_folder_cancel_out(tmp_path: Path) -> None:
    put(tmp_path / "a", "v.json", annotations={"from": "a"})
    put(tmp_path / "b", "v.json", annotations={"from": "b"})
    [found] = read_registry([tmp_path / "a", tmp_path / "b"]).find("vendor1.com/device=foo")
    assert found.annotations["from"] == "b"
    put(tmp_path / "b", "w.json", annotations={"from": "w"})
    known = read_registry([tmp_path / "b"])
    assert known.devices == ()
    assert f"vendor1.com/device=foo is in {tmp_path}/b/v.json and in {tmp_path}/b/w.json" in known.problems


YAML = """\
cdiVersion: "0.6.0"
kind: "vendor1.com/device"
devices:
- name: foo
  containerEdits:
    env: [FOO=injected]
    deviceNodes: [{path: /dev/x, hostPath: /dev/null}]
annotations:
  org.mobyproject.buildkit.device.autoallow: true
"""


def test_yaml_as_buildkit_documents_it(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text(YAML)
    [found] = read_registry([tmp_path]).devices
    assert found.annotations == {"org.mobyproject.buildkit.device.autoallow": "true"}
    assert (found.edits.env, found.edits.nodes[0].host_path) == (("FOO=injected",), "/dev/null")


@pytest.mark.parametrize(("text", "cause"), [
    ("{", "no JSON"), ("[]", "a table"), ("null", "cdiVersion"), ('{"cdiVersion": "9"}', "'9'"),
    ('{"cdiVersion": "0.6.0", "kind": "x"}', "vendor.com/class"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c"}', "no devices"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "a="}]}', "proper name"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "a"}, {"name": "a"}]}', "twice"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "a", "containerEdits": {"huh": 1}}]}', "'huh'"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c", "devices": {}}', "a list"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "a", "containerEdits": {"env": ["=x"]}}]}', "env"),
    ('{"cdiVersion": "0.6.0", "kind": "v/c", "devices": [{"name": "a", "containerEdits": {"mounts": [{}]}}]}',
     "hostPath"),
])
def test_a_file_that_is_none_is_told_and_passed_over(tmp_path: Path, text: str, cause: str) -> None:
    put(tmp_path, "good.json")
    (tmp_path / "bad.json").write_text(text)
    known = read_registry([tmp_path])
    assert len(known.devices) == 3
    [problem] = known.problems
    assert str(tmp_path / "bad.json") in problem and cause in problem


def test_yaml_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("a: [")
    [problem] = read_registry([tmp_path]).problems
    assert "no YAML" in problem and "\n" not in problem
