"""Train a tiny network with each optimiser, in one process or under torchrun."""

import dataclasses
import sys
from pathlib import Path

import torch

from deepscan.training.loop import train
from deepscan.training.processes import join
from deepscan.training.recipe import load_recipe
from tests.training.conftest import TINY, WITHOUT_BATCH_NORM, synthetic_crops

OPTIMISERS = {"adamw": ("optimiser=adamw",), "sam": ("optimiser=sgd", "sam_rho=0.05")}


def together(folder, parts):
    """Train into a folder, with each process's share of a batch split into `parts`."""
    torch.set_num_threads(1)
    with join("cpu") as processes:
        for name, overrides in OPTIMISERS.items():
            recipe = load_recipe("qtfp", "qtfp-compact", [*TINY, "epochs=2", "ema=0", *overrides])
            recipe = dataclasses.replace(
                recipe,
                accumulate=parts,
                network={**recipe.network, "backbone": WITHOUT_BATCH_NORM},
                loss={**recipe.loss, "lambda_flcl": 0.14, "lambda_raal": 1.0, "max_anchor_tokens": 4},
            )
            train(recipe, synthetic_crops(), folder / name, processes=processes)


if __name__ == "__main__":
    together(Path(sys.argv[1]), int(sys.argv[2]))
