"""Cost of a model: parameters, operations and time per crop, time per epoch, compared with the papers."""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from deepscan.analyses import ANALYSES
from deepscan.analyses.analysis import Analysis, Findings, Subject
from deepscan.analyses.cost.figure import draw_cost
from deepscan.analyses.cost.items import BACKBONE, MEGABYTE, CostItem, format_cost
from deepscan.analyses.cost.operations import count_flops, multiply_adds, weightless_network
from deepscan.analyses.crops import OpenNetwork, open_network
from deepscan.backbones.vit import VisionTransformer
from deepscan.cards import ModelCard
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Batch, FrozenNetwork, Network
from deepscan.detectors.dfd_hr import DfdHrNetwork
from deepscan.engines.golden import golden_crops
from deepscan.errors import UsageError
from deepscan.evaluation.tables import paper_table
from deepscan.training.optimiser import FEATURES, TrainStep, make_optimiser
from deepscan.training.processes import Processes
from deepscan.training.recipe import Recipe, load_recipe
from deepscan.training.recipe_files import renamed_value

#: Keys of the card's recipe that do not affect a training step.
_IGNORED_KEYS = ("crop", "mean", "std", "sources", "method")
#: Type of tuning -> its name in QTFP's table of costs.
_SETTINGS = {"effort": "Effort", "lora": "LoRA", "fft": "FFT"}


@ANALYSES.register("cost")
@dataclass(frozen=True)
class CostAnalysis(Analysis):
    """Cost of a model on this machine.

    Attributes:
        batch: Number of crops in a batch.
        repeats: Number of timed runs, after one warm-up run; the median is reported.
        frames: Number of frames in an epoch; 28,800 is FaceForensics++ with 8 frames of each of 3,600 videos.
        train: Whether to time a training step.
    """

    batch: int = 8
    repeats: int = 5
    frames: int = 28_800
    train: bool = True
    summary = "parameters, GFLOPs, time per crop and per epoch, compared with the papers"
    source = "QTFP, supplement, Sec. 4, Table 5; DFD-HR, supplement B; CoRIT, Sec. V-B5"
    needs = frozenset({"model"})

    def __post_init__(self) -> None:
        if min(self.batch, self.repeats, self.frames) < 1:
            raise UsageError(
                f"batch {self.batch}, repeats {self.repeats} or frames {self.frames} is below 1",
                "give at least 1 for each",
            )

    def run(self, subject: Subject) -> Findings:
        """Measure the costs.

        Raises:
            UsageError: The card's method is unknown.
            MissingError: The model's `torch` file or a package is missing.
            ContractError: The `torch` file does not match the network.
        """
        on_progress = subject.on_progress or (lambda done, of: None)
        card, recipe = subject.card, recipe_of(subject.card)
        total = 3 + (recipe is not None and self.train)
        items = [*count_parameters(card, recipe), *count_operations(card)]
        on_progress(1, total)
        opened = open_network(card)
        items += self._judging(opened)
        device = opened.device
        lines = [f"timed on {_machine(device)}: median of {self.repeats} runs after a warm-up"]
        if isinstance(opened.network, DfdHrNetwork):
            lines.append(self._depth(opened))
        on_progress(2, total)
        # Free the network before building the next one.
        del opened
        gc.collect()
        if recipe is None:
            lines.append("the card has no recipe, so the cost of training is unknown")
        elif self.train:
            items += self._training(card, recipe, device)
            on_progress(3, total)
        on_progress(total, total)
        rows = [item.row() for item in items]
        return Findings(rows, draw_cost(items, self.frames), (*_lines(items), *lines))

    def _judging(self, opened: OpenNetwork) -> list[CostItem]:
        crops = _crops(opened.network.side, self.batch)
        inputs = opened.prepare(crops)
        views = opened.inputs.views

        def predict() -> None:
            with torch.inference_mode():
                opened.network.predict(**inputs)

        prepare_time = self._timed(lambda: opened.prepare(crops), opened.device) / self.batch * views
        network_time = self._timed(predict, opened.device) / self.batch * views
        return [
            CostItem("time a crop", "its inputs", prepare_time, "s"),
            CostItem("time a crop", "the network", network_time, "s"),
            CostItem(
                f"time of {self.frames:,} frames", "judged", (prepare_time + network_time) * self.frames, "s"
            ),
        ]

    def _depth(self, opened: OpenNetwork) -> str:
        with torch.inference_mode():
            inputs = opened.prepare(_crops(opened.network.side, self.batch))
            depth = opened.network.predict(**inputs)["depth"].mean()
        blocks = opened.network.backbone.depth
        return f"the timed crops, which show no faces, pass {float(depth):.1f} of {blocks} blocks"

    def _training(self, card: ModelCard, recipe: Recipe, device: str) -> list[CostItem]:
        detector = DETECTORS.get(recipe.method)(**recipe.loss)
        network = detector.build(recipe.network).to(device).train()
        processes = Processes(0, 1, torch.device(device))
        train_step = TrainStep(recipe, network, detector.loss, make_optimiser(recipe, network), processes)
        batches = list(_batches(recipe, network, detector.wants_masks))
        seeds = list(range(len(batches)))
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step = self._timed(lambda: train_step.step(batches, seeds, 1.0), device)
        paper = _printed(card, recipe, "Training Time Per Epoch")
        epoch = f"training epoch of {self.frames:,} frames"
        items = [
            CostItem("time of a training step", f"batch of {recipe.batch}", step, "s"),
            CostItem(epoch, "the network", step * self.frames / recipe.batch, "s", *paper),
        ]
        if device == "cuda":
            memory = torch.cuda.max_memory_allocated() / MEGABYTE
            printed = (
                paper_table("corit-memory").cell("Ours", "MB").number if card.method == "corit" else None
            )
            paper = (None, "") if printed is None else (float(printed), "CoRIT, Sec. V-B5")
            items.append(CostItem("memory of training", "GPU", memory, "MB", *paper))
        if isinstance(network, FrozenNetwork):
            kept = []
            for part in batches:
                features, _ = network.extract(**part.to(processes.device).inputs)
                kept.append(Batch({FEATURES: features}, part.labels))
            step = self._timed(lambda: train_step.step(kept, seeds, 1.0), device)
            items.append(CostItem(epoch, "features kept", step * self.frames / recipe.batch, "s"))
        return items

    def _timed(self, run: Callable[[], object], device: str) -> float:
        """Return the median duration of a run in seconds, after a warm-up run."""
        run()
        durations = []
        for _ in range(self.repeats):
            _settle(device)
            started = time.perf_counter()
            run()
            _settle(device)
            durations.append(time.perf_counter() - started)
        return statistics.median(durations)


def recipe_of(card: ModelCard) -> Recipe | None:
    """Return the recipe of a card; None if it has none."""
    recipe = card.trained.get("recipe")
    if not isinstance(recipe, Mapping) or card.crop is None:
        return None
    default_recipe = load_recipe(card.method)
    settings: dict[str, Any] = {
        name: renamed_value(name, value)
        for name, value in recipe.items()
        if name not in _IGNORED_KEYS and hasattr(default_recipe, name)
    }
    return replace(default_recipe, **settings, crop=card.crop, mean=card.mean, std=card.std)


def count_parameters(card: ModelCard, recipe: Recipe | None) -> list[CostItem]:
    """Return the numbers of all and of trained parameters of a card's network."""
    total = sum(value.numel() for value in weightless_network(card.method, card.network).parameters())
    items = [CostItem("parameters", "all", total, "")]
    if recipe is not None:
        network = weightless_network(card.method, recipe.network)
        trained = sum(value.numel() for value in network.parameters() if value.requires_grad)
        items.append(CostItem("parameters", "trained", trained, "", *_printed(card, recipe, "#Params")))
    return items


def count_operations(card: ModelCard) -> list[CostItem]:
    """Return the GFLOPs per crop, counted and by formula, for DFD-HR also for every exit."""
    network = weightless_network(card.method, card.network)
    printed = _printed(card, recipe_of(card), "GFLOPs")
    items = [CostItem("GFLOPs a crop", "counted", count_flops(network) / 1e9, "", *printed)]
    if isinstance(network.backbone, VisionTransformer):
        # The formula applies to transformer blocks only.
        items.append(CostItem("GFLOPs a crop", "by formula", 2 * multiply_adds(network) / 1e9, ""))
    if isinstance(network, DfdHrNetwork) and network.settings.pruning:
        blocks = network.backbone.depth
        items += [
            CostItem(
                "GFLOPs a crop",
                f"by formula, {depth} of {blocks} blocks",
                2 * multiply_adds(network, depth) / 1e9,
                "",
            )
            for depth in range(blocks - len(network.branch.routed), blocks)
        ]
    return items


def _batches(recipe: Recipe, network: Network, masked: bool) -> Iterator[Batch]:
    """Yield the parts of a training batch, with synthetic crops."""
    size = recipe.batch // recipe.accumulate
    prepare_time = recipe.make_preprocessor()(_crops(network.side, size))
    inputs = {name: torch.from_numpy(array) for name, array in prepare_time.items()}
    labels = torch.arange(size) % 2
    masks = labels[:, None, None].float().expand(-1, network.side, network.side) if masked else None
    for _ in range(recipe.accumulate):
        yield Batch(inputs, labels, masks)


def _crops(side: int, count: int) -> Any:
    golden = golden_crops(side)
    return np.resize(golden, (count, *golden.shape[1:]))


def _printed(card: ModelCard, recipe: Recipe | None, row: str) -> tuple[float | None, str]:
    """Return the cost that QTFP prints for a method and tuning on CLIP ViT-L/14, with its source, or None."""
    tuning = recipe.network.get("tuning", {}).get("type", "") if recipe is not None else ""
    setting = _SETTINGS.get(tuning)
    if setting is None or card.method not in ("qtfp", tuning):
        return None, ""
    table = paper_table("qtfp-cost")
    column = f"{setting}+Ours" if card.method == "qtfp" else setting
    value = table.cell(row, column).number
    return None if value is None else float(value), f"QTFP, {table.number}, {column}"


def _lines(items: list[CostItem]) -> list[str]:
    flops = {item.of: item.value for item in items if item.measure == "GFLOPs a crop"}
    lines = [
        f"{item.measure}, {item.of}: {format_cost(item.value, item)}"
        + (f"; printed {format_cost(item.paper, item)} ({item.source})" if item.paper is not None else "")
        for item in items
    ]
    if "by formula" in flops:
        left_out = flops["counted"] - flops["by formula"]
        lines.append(
            f"the formula omits {left_out:.4g} of the {flops['counted']:.4g} counted GFLOPs: "
            "the patch embedding, projections, routers and the head"
        )
    else:
        lines.append("this backbone has no transformer blocks, so there is no formula for it")
    if any(item.source.startswith("QTFP") for item in items):
        lines.append(
            f"QTFP's numbers are for {BACKBONE} on its authors' machine; its counter omits queries and, "
            "apparently, the products of attention: 155.5 GFLOPs without these, 162.0 with them"
        )
    if any(item.measure.startswith("training epoch") for item in items):
        lines.append("the time of an epoch covers the network only, without reading and augmenting crops")
    return lines


def _machine(device: str) -> str:
    if device == "cuda":
        return f"a GPU ({torch.cuda.get_device_name()})"
    return f"a CPU ({torch.get_num_threads()} threads on {os.cpu_count()} cores)"


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
