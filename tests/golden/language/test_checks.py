"""What the build checks find, frozen: rule and lines, the outline and the targets. The answers are BuildKit's own,
of its linter over a base image whose config is said in each case."""

import json
from pathlib import Path
from typing import Any

import pytest

from rootless_builder.errors import IechorError
from rootless_builder.language.checks.check import check, walk_stages
from rootless_builder.language.checks.given import BaseFacts, Given
from rootless_builder.language.checks.options import CheckOptions
from rootless_builder.language.checks.outline import outline, targets
from rootless_builder.language.checks.rules import RULES
from rootless_builder.language.instructions import From, Script
from rootless_builder.language.parser import parse, parse_trigger
from rootless_builder.oci.platform import Platform
from rootless_builder.oci.reference import Reference

CASES = [json.loads(line) for line in (Path(__file__).parent / "checks.jsonl").read_text().splitlines()]
AMD64 = {"BUILDPLATFORM": "linux/amd64", "BUILDOS": "linux", "BUILDARCH": "amd64", "BUILDVARIANT": "",
         "TARGETPLATFORM": "linux/amd64", "TARGETOS": "linux", "TARGETARCH": "amd64", "TARGETVARIANT": "",
         "TARGETSTAGE": "default"}


def is_image(name: str) -> bool:
    try:
        Reference.parse(name)
    except IechorError:
        return False
    return True


def parts(text: str) -> tuple[str, str] | None:
    try:
        platform = Platform.parse(text)
    except IechorError:
        return None
    return platform.os, platform.architecture


def given(case: dict[str, Any], script: Script) -> Given:
    config = case["config"]
    span = next(one for one in script.instructions if isinstance(one, From)).span
    base = BaseFacts(env=dict(entry.split("=", 1) for entry in config.get("Env", ())),
                     platform=f"linux/{case['architecture']}", own_shell=bool(config.get("Shell")),
                     triggers=tuple(parse_trigger(text, span=span) for text in config.get("OnBuild", ())))
    # BuildKit checks the stages that the target needs; in these cases those are the target and the ones before it.
    index = next((one.span for one in targets(script) if one.name == case["target"] != ""), None)
    wanted = None if index is None else frozenset(
        number for number, one in enumerate(targets(script)) if one.span.line <= index.line)
    return Given(base=lambda _image, _platform: base, is_image=is_image, platform_parts=parts, platform="linux/amd64",
                 platform_args=AMD64, build_args=case["build_args"], stages=wanted,
                 options=CheckOptions.of(script, case["build_args"]))


@pytest.mark.parametrize("case", CASES, ids=[case["text"][:40].replace("\n", " | ") for case in CASES])
def test_as_buildkit_answers(case: dict[str, Any]) -> None:
    if not case["findings"] and case["error"] and "check" in case["error"]:
        with pytest.raises(IechorError):
            given(case, parse(case["text"], file="iEchorfile"))
        return
    try:
        script = parse(case["text"], file="iEchorfile")
        facts = given(case, script)
        found = check(script, facts)
    except IechorError:
        assert case["error"]
        return
    assert sorted([one.rule, one.span.line, one.span.end_line] for one in found) == case["findings"]
    if case["targets"] is not None:
        assert [[one.name, one.default, one.description, one.base, one.platform] for one in targets(script)] \
            == case["targets"]
    if case["outline"] is not None:
        number = next((n for n, one in enumerate(targets(script)) if one.name == case["target"] != ""),
                      len(targets(script)) - 1)
        seen = outline(script, walk_stages(script, facts), number)
        assert {"name": seen.name, "description": seen.description,
                "args": [[one.name, one.value, one.description, one.span.line] for one in seen.args],
                "secrets": sorted([one.name, one.required] for one in seen.secrets),
                "ssh": sorted([one.name, one.required] for one in seen.ssh)} == case["outline"]


def test_every_rule_but_one_is_found_somewhere() -> None:
    """CopyIgnoredFile needs an ignore file: tests/unit/language/checks has it."""
    assert {name for case in CASES for name, _, _ in case["findings"]} == RULES.keys() - {"CopyIgnoredFile"}
