"""Asks BuildKit, as root: `python -m tests.golden.corpus.record BUILDCTL ADDRESS REGISTRY FOLDER [NAME…]`.

BUILDCTL: the program; ADDRESS: of a buildkitd whose docker.io has the mirror REGISTRY ("127.0.0.1:PORT", plain HTTP,
filled here by skopeo); FOLDER: for what is made on the way. README.md says how to get one. Rewrites answers/*.jsonl:
a case that has an answer keeps it unless it or its group is named; "all" asks for every case anew.
"""

import gzip
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from .answers import answer, plain
from .cases import HERE, Case, bases, layout, make, read_all

ANSWERS = HERE / "answers"


def kept() -> dict[str, dict[str, Any]]:
    lines = [line for path in sorted(ANSWERS.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return {one["name"]: one for one in map(json.loads, lines)}


def fill(registry: str, folder: Path) -> dict[str, list[str]]:
    """Every base into the registry; name → diff ids."""
    known = {}
    for base in bases():
        place = folder / "bases" / base.name
        shutil.rmtree(place, ignore_errors=True)
        known[base.name] = layout(base, place)
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{place}",
                        f"docker://{registry}/library/{base.name}:latest"], check=True)
    return known


def words(case: Case, folder: Path) -> list[str]:
    """buildctl's for a case, its files made below `folder`."""
    make(case.files, folder / "context")
    (folder / "file").mkdir()
    (folder / "file/Dockerfile").write_text(case.text, encoding="utf-8", errors="surrogateescape")
    given = ["--no-cache", "--local", f"context={folder / 'context'}", "--local", f"dockerfile={folder / 'file'}"]
    options = [f"build-arg:{arg}" for arg in case.args] + ([f"target={case.target}"] if case.target else [])
    for name, files in case.contexts.items():
        make(files, folder / "contexts" / name)
        options.append(f"context:{name}=local:{name}")
        given += ["--local", f"{name}={folder / 'contexts' / name}"]
    for option in case.options:
        key, _, value = option.partition("=")
        options.append({"label": f"label:{value}", "add-host": f"add-hosts={value}"}.get(key, option))
    return given + [word for option in options for word in ("--opt", option)]


def ask(case: Case, buildctl: str, address: str, folder: Path, known: dict[str, list[str]]) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        [buildctl, "--addr", address, "build", "--progress=plain", "--frontend=dockerfile.v0", *words(case, folder),
         "--allow=security.insecure", "--allow=network.host", "--output",
         f"type=oci,tar=false,dest={folder / 'out'},compression=uncompressed,force-compression=true"],
        capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")][-1]
        return {"name": case.name, "error": said.removeprefix("error: ").removeprefix("failed to solve: ")}

    def blob(digest: str) -> bytes:
        return (folder / "out/blobs" / digest.replace(":", "/")).read_bytes()

    index = json.loads((folder / "out/index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]))
    config = json.loads(blob(manifest["config"]["digest"]))
    layers = [blob(layer["digest"]) for layer in manifest["layers"] or ()]
    layers = [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]
    return {"name": case.name, **answer(config, [io.BytesIO(layer) for layer in layers], known)}


def write(cases: list[Case], answers: dict[str, dict[str, Any]]) -> None:
    for group in {case.group for case in cases}:
        lines = [json.dumps(answers[case.name]) for case in cases if case.group == group and case.name in answers]
        (ANSWERS / f"{group}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def record(buildctl: str, address: str, registry: str, folder: Path, names: set[str]) -> None:
    known = fill(registry, folder)
    cases = read_all()
    answers = kept()
    wanted = [case for case in cases if "all" in names or case.name in names or case.group in names
              or case.name not in answers]
    for case in wanted:
        print(f"{case.group}: {case.name}", file=sys.stderr)
        answers[case.name] = ask(case, buildctl, address, folder / "case", known)
        # else the next context is an update of this one, and its folders have the time of that
        subprocess.run([buildctl, "--addr", address, "prune", "--filter=type==source.local"], check=True,
                       capture_output=True)
        write(cases, answers)
    for case in cases:
        error = answers[case.name].get("error")
        if (error is None) != (not case.error[0] and not case.builds) or plain(case.error[0]) not in plain(error or ""):
            print(f"{case.group}: {case.name}: {error or 'an image'}")


if __name__ == "__main__":
    record(*sys.argv[1:4], Path(sys.argv[4]), set(sys.argv[5:]))
