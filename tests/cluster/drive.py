"""A driver in a separate process: `python -m tests.cluster.drive ADDRESS RUN PATH...`."""

import sys

from deepscan.cluster.driver import ClusterOptions, run_cluster
from deepscan.scanning.options import ScanOptions
from tests.scanning.fake_worker import FakeWorker, job

if __name__ == "__main__":
    _, address, location, *paths = sys.argv
    run_cluster(
        job(location, paths, chunk=2),
        ScanOptions(model="toy"),
        ClusterOptions(address),
        make_worker=FakeWorker,
    )
