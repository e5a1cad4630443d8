"""Tables, JSON and the part of Go's templates that people use."""

import json

import pytest

from rootless_builder.cli import tables
from rootless_builder.errors import UnsupportedError, UsageError

ROWS = [{"ID": "0123", "Name": "a", "Config": {"Env": ["A=1"], "User": ""}, "Ok": True, "None": None},
        {"ID": "4567", "Name": "longer", "Config": {"Env": [], "User": "app"}, "Ok": False, "None": None}]


def test_columns_for_people() -> None:
    lines = list(tables.show(ROWS, {"NAME": "Name", "ID": "ID"}, ""))
    assert lines == ["NAME     ID", "a        0123", "longer   4567"]
    assert list(tables.show([], {"NAME": "Name"}, "")) == ["NAME"]


def test_json_is_one_object_a_line() -> None:
    assert [json.loads(line) for line in tables.show(ROWS, {}, "json")] == ROWS


@pytest.mark.parametrize(("template", "said"), [
    ("{{.ID}}", "0123"), ("{{ .ID }}:{{.Name}}", "0123:a"), ("{{.id}}", "0123"), ("{{.Config.User}}x", "x"),
    ("{{json .Config}}", '{"Env": ["A=1"], "User": ""}'), ("{{.Config.Env}}", '["A=1"]'), ("{{.Ok}}", "true"),
    (r"{{.ID}}\t{{.Name}}", "0123\ta"), ("{{.None}}", "<no value>"), ("no field", "no field"),
])
def test_templates(template: str, said: str) -> None:
    assert tables.fill(template, ROWS[0]) == said
    assert next(iter(tables.show(ROWS, {}, template))) == said


def test_a_table_template_has_headings() -> None:
    assert list(tables.show(ROWS, {}, "table {{.ID}}\t{{.Name}}")) == ["ID     NAME", "0123   a", "4567   longer"]


def test_what_is_more_than_a_field_is_refused() -> None:
    for template in ("{{range .Config.Env}}{{.}}{{end}}", "{{if .Ok}}x{{end}}", "{{index .Config 0}}", "{{len .ID}}"):
        with pytest.raises(UnsupportedError):
            tables.fill(template, ROWS[0])


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(UsageError, match=r"\.Nmae"):
        tables.fill("{{.Nmae}}", ROWS[0])


def test_cells_cannot_break_the_table() -> None:
    lines = list(tables.show([{"A": "x\ny\x1b[31m", "B": "z"}], {"A": "A", "B": "B"}, ""))
    assert lines == ["A     B", "x y   z"]


@pytest.mark.parametrize(("count", "said"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (77_800_000, "77.8MB"),
                                             (1_234_000_000, "1.23GB"), (5 * 10**12, "5TB")])
def test_sizes(count: int, said: str) -> None:
    assert tables.size(count) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "just now"), (1, "1 second ago"), (59.9, "59 seconds ago"),
                                               (3600, "1 hour ago"), (200_000, "2 days ago"), (10**9, "31 years ago")])
def test_ages(seconds: float, said: str) -> None:
    assert tables.age(seconds) == said
