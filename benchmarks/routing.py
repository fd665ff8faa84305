"""Times DFD-HR in the torch engine's way with exits forced, beside what the formula says is saved.

    python benchmarks/routing.py                              # on a small backbone: a minute of a CPU
    python benchmarks/routing.py --backbone clip-vit-l14

Writes routing-ENVIRONMENT.csv beside this file. Weights are random, and the layer judges let each crop and
its tiles go where they are told to. The forms take turns in one thread, and the least CPU time counts.
"""

import argparse
import copy
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepscan.analyses.cost.operations import multiply_adds
from deepscan.bench.output import write_table
from deepscan.bench.timing import TimedCase, measure_cases, timed
from deepscan.detectors import DETECTORS
from deepscan.detectors.dfd_hr import DfdHrNetwork
from deepscan.training.recipe import load_recipe

HERE = Path(__file__).parent
#: As deep as a ViT-B and half as wide, on small crops.
SMALL = {
    "name": "compact",
    "side": 128,
    "channels": [8, 8, 16],
    "residuals": [0, 0, 0],
    "width": 384,
    "depth": 12,
    "heads": 6,
    "hidden": 1536,
}


@dataclass(frozen=True)
class Form:
    """A way of routing.

    Attributes:
        name: Of the row.
        stated: Arguments of the network.
        left: Routed blocks that each crop does not reach, crop by crop and again from the first.
    """

    name: str
    stated: Mapping[str, Any]
    left: Sequence[int] = (0,)


LAST, MORE = list(range(-4, 0)), list(range(-8, 0))
#: The first costs what a network without routing does.
FORMS = (
    Form("no routing", {"hr_blocks": LAST, "selection": "none"}),
    Form("tokens, 4 blocks", {"hr_blocks": LAST}),
    Form("tokens, 8 blocks", {"hr_blocks": MORE}),
    Form("exits at the first of 4", {"hr_blocks": LAST, "selection": "none"}, (4,)),
    Form("exits all over 4", {"hr_blocks": LAST, "selection": "none"}, (4, 3, 2, 1)),
    Form("exits all over 8", {"hr_blocks": MORE, "selection": "none"}, (8, 6, 3, 1)),
    Form("tokens, exits all over 4", {"hr_blocks": LAST}, (4, 3, 2, 1)),
    Form("tokens, exits all over 8", {"hr_blocks": MORE}, (8, 6, 3, 1)),
)


class Forced(nn.Module):
    """A layer judge that lets go whom it is told to.

    Args:
        depths: Blocks that each crop goes through, shape (B,).
        number: Of the block that it judges for, from 0.
    """

    def __init__(self, depths: Tensor, number: int) -> None:
        super().__init__()
        self.stays = depths > number

    def forward(self, seen: Tensor) -> Tensor:
        """Return logits, shape (B,), or of the tiles (4B,): the batch is the fastest index."""
        return torch.where(self.stays, 1.0, -1.0).repeat(len(seen) // len(self.stays))


def main() -> None:
    """Time every form and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="small", help="small, or the name of a backbone")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = [forced(form, given.backbone, given.batch) for form in FORMS]
    for network, _ in made[1:]:
        network.backbone = made[0][0].backbone
    crops = torch.randn(given.batch, 3, made[0][0].side, made[0][0].side)
    cases = [
        TimedCase({}, given.batch, "crops", partial(timed, partial(predict, network, depths, crops)))
        for network, depths in made
    ]
    seconds = [timing.least_cpu for timing in measure_cases(cases, given.repeats, lambda *_: None)]
    whole = multiply_adds(made[0][0])
    lines = []
    for form, (network, depths), taken in zip(FORMS, made, seconds, strict=True):
        cost = sum(multiply_adds(network, int(depth)) for depth in depths) / given.batch
        formula, measured = 1 - cost / whole, 1 - taken / seconds[0]
        lines.append(
            {
                "form": form.name,
                "gflops_a_crop": round(2 * cost / 1e9, 1),
                "seconds_a_crop": round(taken / given.batch, 4),
                "saved_by_formula": round(formula, 4),
                "saved_in_time": round(measured, 4),
                "apart": round(measured - formula, 4),
                "backbone": given.backbone,
                "batch": given.batch,
                "repeats": given.repeats,
                "torch": torch.__version__,
            }
        )
    path = HERE / f"routing-cpu-{platform.machine()}.csv"
    write_table(path, lines)
    print(path.read_text(encoding="utf-8"))


def predict(network: DfdHrNetwork, depths: Tensor, crops: Tensor) -> None:
    """Score crops, and make sure that they went where they were told to."""
    with torch.inference_mode():
        assert network.predict(crops=crops)["depth"].tolist() == depths.tolist()


def forced(form: Form, backbone: str, batch: int) -> tuple[DfdHrNetwork, Tensor]:
    """Return a network with random weights whose crops leave as they are told to, and their depths."""
    stated = copy.deepcopy(dict(load_recipe("dfd-hr").network))
    stated |= {"backbone": SMALL if backbone == "small" else {"name": backbone}, **form.stated}
    network = DETECTORS.get("dfd-hr")().build(stated).eval()
    assert isinstance(network, DfdHrNetwork)
    blocks = network.backbone.depth
    left = torch.tensor(form.left).repeat(batch // len(form.left) + 1)[:batch]
    for number in network.branch.routed:
        network.branch.layer_judges[str(number)] = Forced(blocks - left, number)
    return network, blocks - left


if __name__ == "__main__":
    main()
