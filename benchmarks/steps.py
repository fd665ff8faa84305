"""Measure a training step of each method on ViT-L/14 with random weights, with the paper's batch size.

    python benchmarks/steps.py                       # on a GPU if available
    python benchmarks/steps.py --batch 2 --steps 3   # on a CPU, where the paper's batch would take minutes

Writes steps-ENVIRONMENT.csv next to this file. The methods take turns, so that a slow minute on a shared
machine affects all of them.
"""

import argparse
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from deepscan.bench.output import write_table
from deepscan.bench.timing import Sample, TimedCase, Timing, measure_cases, timed
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch
from deepscan.training.optimiser import TrainStep, make_optimiser
from deepscan.training.processes import Processes, join
from deepscan.training.recipe import Recipe, load_recipe

HERE = Path(__file__).parent
METHODS = ("effort", "qtfp", "corit", "dfd-hr")


def main() -> None:
    """Measure every method and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--batch", type=int, help="crops per step (default: as in the recipe)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="number of torch threads on a CPU")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with join("auto") as processes:
        peaks = {name: peak(name, given.batch, processes) for name in given.methods}
        runs = {name: prepare(name, given.batch, processes) for name in given.methods}
        cases = [
            TimedCase({}, len(batch.labels), "images", partial(step, stepper, batch, processes.device))
            for stepper, batch in runs.values()
        ]
        timings = measure_cases(cases, given.steps, lambda *_: None)
        lines = [
            line(name, runs[name][0], timing, peaks[name]) for name, timing in zip(runs, timings, strict=True)
        ]
    path = HERE / f"steps-{environment(processes.device)}.csv"
    write_table(path, lines)
    print(path.read_text(encoding="utf-8"))


def prepare(method: str, size: int | None, processes: Processes) -> tuple[TrainStep, Batch]:
    """Return the training step of a method, and a batch of noise."""
    recipe: Recipe = load_recipe(method, overrides=["weights=random"])
    torch.manual_seed(0)
    detector = DETECTORS.get(method)(**recipe.loss)
    network = detector.build(recipe.network, recipe.weights).to(processes.device)
    count, side = size or recipe.batch, recipe.crop.input_side
    crops = np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)
    arrays = recipe.make_preprocessor()(crops)
    given = {name: torch.from_numpy(array) for name, array in arrays.items()}
    optimiser = make_optimiser(recipe, network)
    stepper = TrainStep(recipe, network.train(), detector.loss, optimiser, processes)
    return stepper, Batch(given, torch.arange(count) % 2)


def step(stepper: TrainStep, batch: Batch, device: torch.device) -> Sample:
    """Run one step and return its time."""
    synchronize: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    return timed(lambda: (stepper.step([batch], [0], 1.0), synchronize()))


def peak(name: str, size: int | None, processes: Processes) -> object:
    """Return the peak memory of a method in MB, including the optimiser; empty on a CPU."""
    if processes.device.type != "cuda":
        return ""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    stepper, batch = prepare(name, size, processes)
    # The first step creates the optimiser's state.
    for _ in range(2):
        step(stepper, batch, processes.device)
    return round(torch.cuda.max_memory_allocated() / 2**20)


def line(name: str, stepper: TrainStep, timing: Timing, memory: object) -> dict[str, object]:
    """Return a row of the table."""
    return {
        "method": name,
        "batch": timing.case.count,
        "trainable": sum(value.numel() for value in stepper.trained),
        "seconds": round(timing.seconds, 4),
        "images_per_second": round(timing.case.count / timing.seconds, 2),
        "memory_mb": memory,
        "steps": len(timing.samples),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def environment(device: torch.device) -> str:
    """Return a name for the machine, for the file name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name().replace(" ", "-").lower()
    return f"cpu-{platform.machine()}"


if __name__ == "__main__":
    main()
