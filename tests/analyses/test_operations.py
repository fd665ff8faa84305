"""The cost formulas, held against a counter."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepscan.analyses.cost.operations import adapters_cost, block_cost, pooling_cost, transformer_cost
from deepscan.backbones.vit import Block
from deepscan.detectors.dfd_hr_adapters import MixtureOfAdapters


def counted(run):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_twice_the_formula_is_what_a_counter_finds_of_a_block():
    assert counted(lambda: Block(1024, 16, 4096)(torch.empty(1, 257, 1024))) == 2 * block_cost(
        257, 1024, 4096
    )


def test_twice_the_formula_is_what_a_counter_finds_of_adapters():
    def run():
        mixture = MixtureOfAdapters(1024)
        nn.Sequential(mixture, mixture)(torch.empty(1, 257, 1024))

    assert counted(run) == 2 * adapters_cost(257, 1024, 4, 256)


def test_twice_the_formula_is_what_a_counter_finds_of_queries_that_ask_patches():
    def run():
        queries, patches = torch.empty(1, 4, 1024), torch.empty(1, 256, 1024)
        nn.MultiheadAttention(1024, 8, batch_first=True)(queries, patches, patches)

    assert counted(run) == 2 * pooling_cost(4, 256, 1024)


def test_a_backbone_of_24_blocks_costs_162_gigaflops_and_routing_spares_a_sixth():
    whole = transformer_cost(24, 0, 257, 192, 1024, 4096)
    assert round(2 * whole / 1e9, 1) == 161.7
    assert transformer_cost(20, 0, 257, 192, 1024, 4096) / whole == 20 / 24
    # 192 of 257 tokens in the last four blocks: a little less than a quarter of a sixth.
    assert 0.955 < transformer_cost(20, 4, 257, 192, 1024, 4096) / whole < 0.9575
