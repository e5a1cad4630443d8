"""`exec`: one more process in a running container, by its launcher or by another process of the same user."""

import subprocess

from rootless_builder.sandbox.spec import Network
from tests.sandbox.conftest import Box

FROM_THE_LAUNCHER = """
spec = read_spec(open("spec.json").read(), ids)
def more(*argv, **fields):
    told = finished(launcher.join(sandbox.pid, dataclasses.replace(spec, argv=argv, init=False, **fields)))
    print(told["code"], told["out"].strip(), told["err"].strip(), flush=True)
with Launcher() as launcher:
    sandbox = launcher.launch(spec)
    os.read(sandbox.outputs[1], 10)
"""


def test_it_is_in_every_namespace_of_the_container(box: Box) -> None:
    code = FROM_THE_LAUNCHER + """
    more("sh", "-c", "ls -l /proc/self/ns | grep -v child | sed 's/.*[0-9] //' > /tmp/two; cmp /tmp/one /tmp/two && "
         "echo same; cat /tmp/secret; hostname; kill -0 1 && echo sees")
    more("grep", "^CapBnd", "/proc/self/status")
    more("sh", "-c", "exit 4")
    sandbox.close()
"""
    script = ("ls -l /proc/self/ns | grep -v child | sed 's/.*[0-9] //' > /tmp/one; echo inner > /tmp/secret; echo up; "
              "sleep 1000")
    for init in (False, True):
        box.person.write("spec.json", box.spec("sh", "-c", script, hostname="joined", network=Network.NONE,
                                               init=init).to_json())
        done = box.script(code)
        assert done.stderr == ""
        assert done.stdout.splitlines() == ["0 same", "inner", "joined", "sees ", "0 CapBnd:\t00000000a80425fb ", "4  "]


def test_user_directory_and_failures_are_as_for_the_first_process(many_ids: Box) -> None:
    code = FROM_THE_LAUNCHER + """
    more("sh", "-c", "id -u; id -g; pwd; echo $HOME", user="app", cwd="/tmp")
    for fields in (dict(argv=("none",)), dict(argv=("true",), cwd="/none"), dict(argv=("true",), user="nobody")):
        try:
            launcher.join(sandbox.pid, dataclasses.replace(spec, init=False, **fields))
        except IechorError as error:
            print(type(error).__name__, error.message)
    sandbox.close()
"""
    many_ids.person.write("spec.json", many_ids.spec("sh", "-c", "echo up; sleep 1000").to_json())
    done = many_ids.script(code)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "0 1000", "1001", "/tmp", "/home/app ", "ExecFailed cannot run none: not found in PATH (/bin)",
        "SandboxError cannot enter /none: No such file or directory",
        "UserNotFound cannot run as nobody: no user nobody in the image's /etc/passwd"]


def test_another_process_of_the_user_can_join(box: Box) -> None:
    """Also without a mapping of its own: it owns the container's user namespace, or one around it."""
    code = """
import subprocess
sandbox = launch(read_spec(open("spec.json").read(), ids))
os.read(sandbox.outputs[1], 10)
print(sandbox.pid, flush=True)
sys.stdin.read()
sandbox.close()
"""
    joining = f"""
import os, sys
sys.path.insert(0, {str(box.person.home)!r})
from drive import finished, read_spec
from rootless_builder.sandbox.launcher import join
told = finished(join(int(sys.argv[1]), read_spec(open("join.json").read(), None)))
print(told["code"], told["out"], told["err"], end="")
"""
    script = "echo here > /tmp/mark; echo up; sleep 1000"
    box.person.write("spec.json", box.spec("sh", "-c", script, init=True).to_json())
    box.person.write("join.json", box.spec("sh", "-c", "cat /tmp/mark; id -u").to_json())
    box.person.write("joining.py", joining)
    command = box.script_command(code)
    with box.person.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        pid = process.stdout.readline().strip()
        done = box.person.run(command[0], box.person.home / "joining.py", pid)
        assert (done.stdout, done.stderr) == ("0 here\n0\n ", "")
        process.stdin.close()
        process.wait(timeout=20)


def test_the_joined_ends_with_the_container(box: Box) -> None:
    code = FROM_THE_LAUNCHER + """
    joined = launcher.join(sandbox.pid, dataclasses.replace(spec, argv=("sleep", "1000"), init=False))
    sandbox.kill()
    status = joined.wait(10)
    print(status.code, status.signal)
    joined.close()
    sandbox.close()
"""
    box.person.write("spec.json", box.spec("sh", "-c", "echo up; sleep 1000").to_json())
    done = box.script(code)
    assert (done.stdout, done.stderr) == ("137 9\n", "")


def test_joining_what_is_gone(box: Box) -> None:
    code = """
spec = read_spec(open("spec.json").read(), ids)
sandbox = launch(spec)
pid = sandbox.pid
finished(sandbox)
from rootless_builder.sandbox.launcher import join
try:
    join(pid, spec)
except IechorError as error:
    print(error.message.replace(str(pid), "PID"))
"""
    box.person.write("spec.json", box.spec("true").to_json())
    words = "cannot enter the container (process PID): No such file or directory: /proc/PID/root\n"
    assert box.script(code).stdout == words
