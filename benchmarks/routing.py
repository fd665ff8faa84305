"""Measure DFD-HR as the torch engine runs it with forced exits, and compare the saved time with the formula.

    python benchmarks/routing.py                              # on a small backbone: one minute on a CPU
    python benchmarks/routing.py --backbone clip-vit-l14

Writes routing-ENVIRONMENT.csv next to this file. Weights are random, and the layer judges are replaced so
that each crop and its tiles exit at a given block. The variants take turns in one thread, and the minimum CPU
time counts.
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
class Variant:
    """A variant of routing.

    Attributes:
        name: Name of the row.
        settings: Arguments of the network.
        skipped: Number of routed blocks that each crop skips; repeated if there are more crops.
    """

    name: str
    settings: Mapping[str, Any]
    skipped: Sequence[int] = (0,)


LAST_4, LAST_8 = list(range(-4, 0)), list(range(-8, 0))
#: The first one costs as much as a network without routing.
VARIANTS = (
    Variant("no routing", {"hr_blocks": LAST_4, "selection": "none"}),
    Variant("tokens, 4 blocks", {"hr_blocks": LAST_4}),
    Variant("tokens, 8 blocks", {"hr_blocks": LAST_8}),
    Variant("exits at the first of 4", {"hr_blocks": LAST_4, "selection": "none"}, (4,)),
    Variant("exits all over 4", {"hr_blocks": LAST_4, "selection": "none"}, (4, 3, 2, 1)),
    Variant("exits all over 8", {"hr_blocks": LAST_8, "selection": "none"}, (8, 6, 3, 1)),
    Variant("tokens, exits all over 4", {"hr_blocks": LAST_4}, (4, 3, 2, 1)),
    Variant("tokens, exits all over 8", {"hr_blocks": LAST_8}, (8, 6, 3, 1)),
)


class ForcedJudge(nn.Module):
    """A layer judge with predefined exits.

    Args:
        depths: Number of blocks that each crop passes, shape (B,).
        number: Number of the judge's block, from 0.
    """

    def __init__(self, depths: Tensor, number: int) -> None:
        super().__init__()
        self.stays = depths > number

    def forward(self, features: Tensor) -> Tensor:
        """Return logits, shape (B,) for crops or (4B,) for tiles; the batch is the fastest index."""
        return torch.where(self.stays, 1.0, -1.0).repeat(len(features) // len(self.stays))


def main() -> None:
    """Measure every variant and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="small", help="small, or the name of a backbone")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = [forced_network(variant, arguments.backbone, arguments.batch) for variant in VARIANTS]
    for network, _ in networks[1:]:
        network.backbone = networks[0][0].backbone
    crops = torch.randn(arguments.batch, 3, networks[0][0].side, networks[0][0].side)
    cases = [
        TimedCase({}, arguments.batch, "crops", partial(timed, partial(predict, network, depths, crops)))
        for network, depths in networks
    ]
    seconds = [timing.least_cpu for timing in measure_cases(cases, arguments.repeats, lambda *_: None)]
    full_cost = multiply_adds(networks[0][0])
    rows = []
    for variant, (network, depths), time_taken in zip(VARIANTS, networks, seconds, strict=True):
        cost = sum(multiply_adds(network, int(depth)) for depth in depths) / arguments.batch
        formula, measured = 1 - cost / full_cost, 1 - time_taken / seconds[0]
        rows.append(
            {
                "form": variant.name,
                "gflops_a_crop": round(2 * cost / 1e9, 1),
                "seconds_a_crop": round(time_taken / arguments.batch, 4),
                "saved_by_formula": round(formula, 4),
                "saved_in_time": round(measured, 4),
                "apart": round(measured - formula, 4),
                "backbone": arguments.backbone,
                "batch": arguments.batch,
                "repeats": arguments.repeats,
                "torch": torch.__version__,
            }
        )
    path = HERE / f"routing-cpu-{platform.machine()}.csv"
    write_table(path, rows)
    print(path.read_text(encoding="utf-8"))


def predict(network: DfdHrNetwork, depths: Tensor, crops: Tensor) -> None:
    """Score crops, and assert that they exit at the given depths."""
    with torch.inference_mode():
        assert network.predict(crops=crops)["depth"].tolist() == depths.tolist()


def forced_network(variant: Variant, backbone: str, batch: int) -> tuple[DfdHrNetwork, Tensor]:
    """Return a network with random weights and forced exits, and the depths of the crops."""
    settings = copy.deepcopy(dict(load_recipe("dfd-hr").network))
    settings |= {"backbone": SMALL if backbone == "small" else {"name": backbone}, **variant.settings}
    network = DETECTORS.get("dfd-hr")().build(settings).eval()
    assert isinstance(network, DfdHrNetwork)
    blocks = network.backbone.depth
    skipped = torch.tensor(variant.skipped).repeat(batch // len(variant.skipped) + 1)[:batch]
    for number in network.branch.routed:
        network.branch.layer_judges[str(number)] = ForcedJudge(blocks - skipped, number)
    return network, blocks - skipped


if __name__ == "__main__":
    main()
