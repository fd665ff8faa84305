"""`deepscan train` on synthetic crops, as one process of torchrun: quick, and ends itself if it hangs.

Arguments: a step at which to send SIGTERM to the torchrun of the second process, 0 for none; then those of
the command.
"""

import faulthandler
import os
import signal
import sys
import time
from functools import partial

from deepscan.cli import main
from deepscan.training import publish, session
from deepscan.training.optimiser import TrainStep
from tests.training.conftest import not_exported, synthetic_crops

#: Seconds after which a process that hangs prints where, and ends.
LIMIT = 120


def end_at(step):
    """Send SIGTERM to the torchrun of the second process at a step; later ones wait for it to arrive."""
    done, original = [], TrainStep.step

    def counted(self, *arguments):
        losses = original(self, *arguments)
        done.append(losses)
        if len(done) == step and self.processes.rank == 1:
            os.kill(os.getppid(), signal.SIGTERM)
        if len(done) >= step:
            time.sleep(0.5)
        return losses

    TrainStep.step = counted


if __name__ == "__main__":
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    session.prepare_crops = lambda *arguments, **options: synthetic_crops()
    publish.export_model, publish.bootstrap = not_exported, partial(publish.bootstrap, rounds=5)
    if int(sys.argv[1]):
        end_at(int(sys.argv[1]))
    main(["train", *sys.argv[2:]])
