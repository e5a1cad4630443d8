"""Builds cases of the corpus with iechor, in this process, as whoever calls: `python driver.py FOLDER NAME…`.

FOLDER gets the contexts and an image layout of each base; a line of JSON for each case goes to standard output:
the image as answers.py has it, or {"error": what was said, "code": …}.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from rootless_builder.cli.main import main

from .answers import answer
from .cases import Case, bases, layout, make, read_all

STORE = Path(os.environ["IECHOR_HOME"])


def blob(digest: str) -> Path:
    return STORE / "blobs" / digest.replace(":", "/")


def call(*words: str) -> tuple[int, str]:
    """(exit code, what iechor said)."""
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(said):
        code = main(words)
    return code, said.getvalue()


def words(case: Case, folder: Path) -> list[str]:
    """The command line of a case, its files made below `folder`."""
    make(case.files, folder / "context")
    (folder / "Dockerfile").write_text(case.text, encoding="utf-8", errors="surrogateescape")
    given = [f"--build-arg={arg}" for arg in case.args] + [f"--{option}" for option in case.options]
    for name, files in case.contexts.items():
        make(files, folder / "contexts" / name)
        given.append(f"--build-context={name}={folder / 'contexts' / name}")
    given += [f"--target={case.target}"] if case.target else []
    return [*given, f"--file={folder / 'Dockerfile'}", str(folder / "context")]


def built(case: Case, folder: Path, known: dict[str, list[str]]) -> dict[str, Any]:
    code, said = call("build", "--progress=plain", "--pull=never", "--no-cache", f"--metadata-file={folder}.json",
                      *words(case, folder))
    if code:
        return {"name": case.name, "code": code, "error": said}
    manifest = json.loads(blob(json.loads(Path(f"{folder}.json").read_text())["containerimage.digest"]).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
    layers = [blob(layer["digest"]).open("rb") for layer in manifest["layers"]]
    try:
        return {"name": case.name, **answer(config, layers, known)}
    finally:
        for layer in layers:
            layer.close()


def drive(folder: Path, names: set[str]) -> None:
    known = {}
    for base in bases():
        known[base.name] = layout(base, folder / "bases" / base.name)
        code, said = call("load", "-i", str(folder / "bases" / base.name))
        assert code == 0, said
    for number, case in enumerate(case for case in read_all() if not names or case.name in names):
        print(json.dumps(built(case, folder / str(number), known)), flush=True)


if __name__ == "__main__":
    drive(Path(sys.argv[1]), set(sys.argv[2:]))
