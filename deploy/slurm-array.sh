#!/bin/sh
# A scan as a job array of Slurm: 100 shards of one run, 20 at a time, in an image for Apptainer.
#
#     docker build --tag deepscan:store --build-arg EXTRAS=store .
#     docker save --output deepscan.tar deepscan:store
#     apptainer build deepscan.sif docker-archive:deepscan.tar
#     sbatch deploy/slurm-array.sh
#
# Without containers, install deepscan into an environment that all machines see, and leave `apptainer exec ...` out.
# To change: the videos, the run folder, the number of shards, and what a shard requests. Submitted again, the same
# file continues the run, also with another number of shards.
#
#SBATCH --job-name=deepscan
#SBATCH --array=1-100%20
#SBATCH --output=deepscan-%A_%a.log
#SBATCH --open-mode=append
#
# One decoder for each CPU. Memory: 1.3 GB, 0.3 GB for each CPU, 2.1 GB for videos that have been fetched, and room
# for videos in 4K.
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=16G
#
# A shard that runs into the time limit gets SIGTERM one minute before, and ends cleanly; submit the file again.
# After preemption or a node failure, Slurm starts the shard again.
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -u

# A copy in the home folder must not replace the one in the image. Credentials for a store are taken from the
# environment or from files in the home folder, and do not belong into this one.
export PYTHONNOUSERSITE=1
# Only for videos of more than 256 MB in an object store: at most 18 at a time.
scratch=${TMPDIR:-/tmp}

# srun passes signals on. It does not use the --cpus-per-task of sbatch.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    apptainer exec --bind "$scratch" deepscan.sif \
    deepscan scan --from-list s3://bucket/videos.parquet --out s3://bucket/run/ \
    --shard auto --scratch "$scratch" --progress plain
code=$?
# Exit code 3 counts as success: some videos failed, but all have a record.
[ "$code" -eq 3 ] || exit "$code"
