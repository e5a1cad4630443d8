#!/bin/bash
#SBATCH --job-name=iechor
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --time=00:10:00
# examples/slurm/job.sh — builds the iEchorfile of the folder it is submitted from, once, and runs the image on each node.
#
# The home, with the store in it, is what the nodes share; it may be NFS or Lustre, and needs neither attributes nor
# locks. What is unpacked lies on a disk of the node. No daemon, no subordinate ids, no XDG_RUNTIME_DIR. What a job that
# is cancelled or out of time leaves behind, the next command of iechor on that node removes.
set -euo pipefail

export IECHOR_SCRATCH=${SLURM_TMPDIR:-/var/tmp}/iechor-$UID

iechor build --progress=plain -t simulation:latest .
srun iechor run --rm -v "$PWD:/work" -w /work -e SLURM_PROCID -e SLURM_NTASKS simulation:latest
