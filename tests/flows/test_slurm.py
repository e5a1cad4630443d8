"""A job of Slurm's, as a cluster user submits it: one uid, the home on a file system without attributes, local scratch.

The controller and two nodes run here, for the test, without munge: whoever asks is believed. For `make soak`.
"""

import dataclasses
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from tests import provision
from tests.conftest import ROOT, Person
from tests.flows.running import until
from tests.flows.test_fallbacks import mounted
from tests.flows.test_run_network import free_port
from tests.registry_server import Registry

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=2
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
FILE = """FROM busybox
RUN echo x > /o && chown 42:4204350 /o && chmod 4751 /o && mknod /n c 1 3 && su app -c 'echo mine > /home/app/mine'
CMD stat -c "rank $SLURM_PROCID of $SLURM_NTASKS: %n %u:%g %a" /o /n /home/app/mine && touch seen.$SLURM_PROCID
"""
SECONDS = f"7{os.getpid()}"  # by which what the job started is found
LONG = {
    "build": (f"FROM busybox\nRUN chown 5 /etc/group; (setsid sleep {SECONDS} &); echo begun; sleep {SECONDS}\n",
              "iechor build --progress=plain -t long ."),
    "run": (f"FROM busybox\nCMD (setsid sleep {SECONDS} &); echo begun; sleep {SECONDS}\n",
            "iechor build -q -t long .\nsrun iechor run --rm long"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """person: whose home every node sees. environ: what makes Slurm's commands find this controller."""

    person: Person
    environ: Mapping[str, str]

    def slurm(self, *argv: str | Path) -> str:
        done = self.person.run(*argv, env=self.environ, cwd=self.person.home / "job")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, script: Path, *options: str) -> str:
        """The number of the job; what it writes goes to out."""
        return self.slurm("sbatch", "--parsable", "--output=out", *options, script).strip()

    def output(self) -> str:
        path = self.person.home / "job/out"
        return path.read_text() if path.exists() else ""

    def state(self, job: str) -> str:
        return self.slurm("squeue", "-h", "-j", job, "-t", "all", "-o", "%T").strip()

    def ended(self, job: str) -> bool:
        """The nodes are through with it, too."""
        return self.state(job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")


def sleeping() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", SECONDS]]


def start(folder: Path) -> Iterator[Path]:
    """The controller and the nodes; yields the configuration's path."""
    first = free_port()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=platform.node().partition(".")[0], folder=folder,
                                ports=(first, first + 1, first + 2)))
    environ = {**os.environ, "SLURM_CONF": str(conf)}
    commands = [["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in ("n1", "n2"))]
    running = []
    for command in commands:
        (folder / command[-1]).mkdir()
        log = (folder / f"{command[-1]}.log").open("w")
        running.append(subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    try:
        until(lambda: subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%D"], env=environ, capture_output=True,
                                     text=True).stdout.strip() == "2", 60)
        yield conf
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(30)


@pytest.fixture(scope="module")
def conf(shared: Path) -> Iterator[Path]:
    provision.main(["slurm"])
    folder = shared / "slurm"
    folder.mkdir()
    yield from start(folder)


@pytest.fixture
def cluster(plain_user: Person, conf: Path, registry: Registry, busybox: str) -> Iterator[Cluster]:
    disk = plain_user.write("disk/x", "").parent
    with mounted(plain_user.home / "shared", "bindfs", "--xattr-none", str(disk)) as home:
        person = dataclasses.replace(plain_user, home=home)
        person.mirror(registry)
        person.write("job/x", "")
        person.write("bin/iechor", f'#!/bin/sh\nexec {" ".join(person.command())} "$@"\n', 0o755)
        path = f"{home}/bin:{person.environment()['PATH']}"
        made = Cluster(person=person, environ={"SLURM_CONF": str(conf), "PATH": path, "IECHOR_USERNS": "",
                                               "SLURM_TMPDIR": str(plain_user.write("local/x", "").parent)})
        yield made
        made.slurm("scancel", "--quiet", "--user", person.name)


def test_a_job_builds_and_every_node_runs_what_it_built(cluster: Cluster) -> None:
    """examples/slurm/job.sh, as it stands."""
    person = cluster.person
    person.write("job/iEchorfile", FILE)
    job = cluster.submit(Path(shutil.copy(ROOT / "examples/slurm/job.sh", person.home / "job")))
    until(lambda: cluster.ended(job), 200)
    shown = cluster.output()
    assert cluster.state(job) == "COMPLETED", shown
    for rank in "01":
        for line in ("/o 42:4204350 4751", "/n 0:0 644", "/home/app/mine 1000:1000 644"):
            assert f"rank {rank} of 2: {line}\n" in shown, shown
        assert (person.home / f"job/seen.{rank}").stat().st_uid == person.uid
    until(lambda: not person.processes())


@pytest.mark.parametrize("how", ["scancel", "scancel --signal=KILL --full", "time limit"])
@pytest.mark.parametrize("what", LONG)
def test_nothing_is_left_of_a_job_that_is_ended(cluster: Cluster, what: str, how: str) -> None:
    person = cluster.person
    file, script = LONG[what]
    person.write("job/iEchorfile", file)
    lines = f"#!/bin/bash\nexport IECHOR_SCRATCH=$SLURM_TMPDIR/scratch\n{script}\n"
    job = cluster.submit(person.write("job/job.sh", lines, 0o755), "--time=1")
    until(lambda: "begun" in cluster.output().replace("echo begun", ""), 50)
    until(lambda: len(sleeping()) == 2)
    if how != "time limit":
        cluster.slurm(*how.split(), job)
    until(lambda: cluster.ended(job), 150)
    until(lambda: not sleeping() and not person.processes(), 20)
    environ = {**cluster.environ, "IECHOR_SCRATCH": f"{cluster.environ['SLURM_TMPDIR']}/scratch"}
    assert "long" in person.iechor("images", env=environ).stdout.split() or what == "build"
    assert person.iechor("check", env=environ).returncode == 0
    person.write("job/iEchorfile", FILE)
    person.iechor("build", "-q", "job", env=environ)
    scratch = Path(environ["IECHOR_SCRATCH"])
    assert not list(scratch.glob("*/run/*")) and not list(person.store.glob("tmp/*"))
    assert person.iechor("ps", "-aq", env=environ).stdout == ""
