"""The training recipe: all settings of a training run, from a YAML file and `key=value` overrides."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from deepscan.backbones import normalisation
from deepscan.crop_recipe import CropRecipe
from deepscan.data.augmentation.augment import steps_of
from deepscan.data.augmentation.forgeries import FORGERIES, REDRAW_STRIDE
from deepscan.data.crops.crop_cache import Sampling
from deepscan.detectors.preprocess import Preprocessor, make_preprocessor
from deepscan.errors import UsageError
from deepscan.training.recipe_files import read_recipe

Select = Literal["auc", "video_auc", "unseen_auc"]
_MINIMUM = {
    **dict.fromkeys(("seed", "warmup", "weight_decay", "momentum", "sam_rho", "clip"), 0),
    **dict.fromkeys(("epochs", "accumulate", "batch"), 1),
}
#: Limit of torch's seeds.
_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        method: Registered detection method.
        seed: Seed of the initial weights, the order of the samples and their augmentation.
        weights: Source of the backbone's weights: `hub`, `random`, `package:NAME` or a file; with `network:`
            before the file, the head is loaded from it too.
        network: Arguments of the method's network.
        loss: Settings of the method's loss.
        inputs: Preprocessing of a crop: the `kind` of inputs and its arguments.
        crop: Crop recipe, also used for scanning.
        mean: Mean per RGB channel, for pixels in [0, 1].
        std: Standard deviation per RGB channel.
        sources: Sources of the data set to train on; empty for all.
        pairs_only: Folders, relative to the data's, of real faces that are only used in pairs with a fake
            made from each, so that the look of their pictures says nothing about the label.
        terms: Terms of use of the data, for the card.
        license: SPDX identifier of the trained weights, for the card.
        quantise: Whether to compress the model: kernels and matrices are rounded to 16 bits, and an 8-bit
            file, which a CPU runs in half the time, is added if it is close enough to float32
            (`engines.selection`).
        frames: Number of crops per video in `train` and in `val`; 0 for all.
        sampling: Which crops of a video: `even`ly spaced, or the `first`, as in DeepfakeBench's code.
        augment: Named augmentation of the training crops.
        blend: Share of the fakes that are replaced by one made from a real crop.
        forgeries: Ways to make these fakes; repeated names are more likely. `blend`: with the face itself;
            `swap`: with somebody else's face; `warp`: into another expression; `render`: from fewer pixels;
            `redraw`: by autoencoders, which are first trained on the real crops.
        balance: `natural` uses every crop once per epoch; `equal` fills the smaller class with repeats, so
            that half of each batch is real; `paired` also puts a real and a fake of the same group together,
            if it has both, with the same augmentation; `origins` draws couples of a real and a fake so that
            neither a face's origin nor its size says anything about its label (see `training.couples`), with
            half as many couples per epoch as crops; `groups` does the same, but an origin's probability is
            proportional to its number of groups rather than to its square root, and self-made fakes are
            coupled with their real, whatever its origin.
        labels: `given`; or `none`: every crop counts as real and is paired with itself, self-blended, so that
            no label is used. This is for pretraining a backbone; no model is published.
        optimiser: `adam`, `adamw` or `sgd`.
        lr: Learning rate after the warm-up.
        backbone_lr: Learning rate of the backbone's parameters; None for `lr`.
        weight_decay: Weight decay of the optimiser.
        decay: Whether `all` parameters decay, or only `matrices` and kernels, not biases and norms.
        momentum: Momentum of `sgd`.
        sam_rho: Radius of sharpness-aware minimisation, 0 for none.
        schedule: `constant`; `cosine`, to zero at the last step; `wsd` (warm-up, stable, decay): constant,
            then linear to zero over the last quarter.
        warmup: Steps over which the learning rate rises from zero.
        epochs: Number of epochs.
        batch: Crops per step, over all processes; even unless the balance is natural.
        accumulate: Number of parts into which each process splits its share of a batch, to save memory.
            Losses that compare samples, and batch norms, see one part at a time.
        clip: Largest norm of the gradient, 0 for no limit.
        ema: Decay per step of averaged weights, which are then validated and published; 0 for none.
        precision: Precision of the network in training: `float32`, `bfloat16` (autocast), or `auto`: bfloat16
            on a GPU and float32 on a CPU, where autocast is slow. Losses and weights are float32.
        select: Metric of the validation crops that chooses the best epoch: `auc` of crops, `video_auc`, or
            `unseen_auc` (figure U of `training.validation`).

    Raises:
        UsageError: A value is unknown or out of range, or two values contradict each other.
    """

    method: str
    seed: int
    weights: str
    network: Mapping[str, Any]
    loss: Mapping[str, Any]
    inputs: Mapping[str, Any]
    crop: CropRecipe
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    sources: tuple[str, ...]
    pairs_only: tuple[str, ...]
    terms: str
    license: str
    quantise: bool
    frames: Mapping[str, int]
    sampling: Sampling
    augment: str
    blend: float
    forgeries: tuple[str, ...]
    balance: Literal["natural", "equal", "paired", "origins", "groups"]
    labels: Literal["given", "none"]
    optimiser: Literal["adam", "adamw", "sgd"]
    lr: float
    backbone_lr: float | None
    weight_decay: float
    decay: Literal["all", "matrices"]
    momentum: float
    sam_rho: float
    schedule: Literal["constant", "cosine", "wsd"]
    warmup: int
    epochs: int
    batch: int
    accumulate: int
    clip: float
    ema: float
    precision: Literal["auto", "float32", "bfloat16"]
    select: Select

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Recipe).items():
            if get_origin(kind) is Literal and getattr(self, name) not in get_args(kind):
                raise UsageError(
                    f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}",
                    f"set for example: {name}={get_args(kind)[0]}",
                )
        for name, minimum in _MINIMUM.items():
            if not minimum <= getattr(self, name) < _LIMIT:
                raise UsageError(
                    f"{name} must be at least {minimum}, not {getattr(self, name)}",
                    f"set {name}={minimum} or more",
                )
        if not 0 <= self.blend <= 1:
            raise UsageError(
                f"blend must be in [0, 1], not {self.blend}", "set for example: blend=0.5, half of the fakes"
            )
        self._check_forgeries()
        rates = (self.lr, self.lr if self.backbone_lr is None else self.backbone_lr)
        if not all(0 < rate < math.inf for rate in rates) or not 0 <= self.ema < 1:
            raise UsageError(
                f"lr={self.lr}, backbone_lr={self.backbone_lr} or ema={self.ema} is out of range",
                "learning rates must be above 0, and ema in [0, 1)",
            )
        if set(self.frames) != {"train", "val"} or min(self.frames.values()) < 0:
            raise UsageError(
                f"frames must have train and val, at least 0 each, not {dict(self.frames)}",
                "write for example: frames={train: 8, val: 32}, with 0 for all frames",
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError(
                f"mean and std need three values each, std above 0, not {self.mean} and {self.std}",
                "set for example: mean=[0.485,0.456,0.406] std=[0.229,0.224,0.225]",
            )
        steps_of(self.augment)
        self._check_pairs()

    @property
    def couples(self) -> bool:
        """Whether reals and fakes are drawn in couples, by their origins."""
        return self.balance in ("origins", "groups")

    @property
    def redraws(self) -> bool:
        """Whether fakes are made by autoencoders."""
        return "redraw" in self.forgeries and bool(self.blend or self.pairs_only)

    def half(self, device: str) -> bool:
        """Return whether the network trains in bfloat16 on a device, `cpu` or `cuda`."""
        return {"auto": device == "cuda", "bfloat16": True, "float32": False}[self.precision]

    def _check_forgeries(self) -> None:
        if not self.forgeries or set(self.forgeries) - set(FORGERIES):
            raise UsageError(
                f"forgeries must be one or more of {', '.join(FORGERIES)}, not {list(self.forgeries)}",
                f"set for example: forgeries=[{next(iter(FORGERIES))}]",
            )
        if self.redraws and self.crop.input_side % REDRAW_STRIDE:
            raise UsageError(
                f"redraw needs crops with a side that is a multiple of {REDRAW_STRIDE} px, not "
                f"{self.crop.input_side} px",
                f"set crop.resize={math.ceil(self.crop.input_side / REDRAW_STRIDE) * REDRAW_STRIDE}",
            )

    def _check_pairs(self) -> None:
        if self.labels == "none" and (self.blend != 1 or self.balance != "paired"):
            raise UsageError("labels=none needs blend=1 and balance=paired", "set blend=1 balance=paired")
        if self.pairs_only and self.balance == "natural":
            raise UsageError(
                "pairs_only needs pairs, which balance=natural does not make", "set balance=paired"
            )
        if self.batch % self.accumulate:
            raise UsageError(
                f"batch={self.batch} is not a multiple of accumulate={self.accumulate}", "change one of them"
            )
        if self.balance != "natural" and (self.batch // self.accumulate) % 2:
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise UsageError(
                f"a batch of {self.batch}{parts} cannot consist of whole pairs",
                f"make batch a multiple of {2 * self.accumulate}, because half of it is real",
            )

    def make_preprocessor(self) -> Preprocessor:
        """Build the preprocessor from crops to the network's inputs.

        Raises:
            UsageError: The kind of inputs or an argument is unknown.
        """
        return make_preprocessor(self.inputs, self.crop, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain values, as in a recipe file."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        # A deep copy, because YAML writes objects that occur twice as anchors and aliases.
        return copy.deepcopy({**plain, "crop": self.crop.to_json()})


def load_recipe(
    method: str | None, recipe: Path | str | None = None, overrides: Sequence[str] = ()
) -> Recipe:
    """Load a recipe by name or file, or a method's default recipe, and apply overrides.

    Args:
        method: The method; a recipe for another method is refused. None for the recipe's, or the default.
        recipe: A recipe file, or the name of a packaged recipe; None for the method's default. Missing keys
            are taken from the method's default recipe.
        overrides: `key=value` each; nested keys have dots (`crop.scale=0.8`), values are YAML.

    Raises:
        UsageError: The method or a key is unknown, or a value has the wrong type or is out of range.
        MissingError: The file does not exist.
    """
    values = read_recipe(method, recipe, overrides)
    if values["method"] != (method or values["method"]):
        raise UsageError(
            f"the recipe is for the method {values['method']!r}, not {method!r}",
            f"use --method {values['method']}",
        )
    try:
        return Recipe(**{**values, **_typed(values)})
    except TypeError as error:
        raise UsageError(f"bad recipe: {error}", "correct the recipe")


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        crop = CropRecipe(**{**values["crop"], "shift": tuple(values["crop"]["shift"])})
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad crop recipe: {error}", "correct `crop` in the recipe")
    default = normalisation(values["network"]["backbone"]["name"])
    try:
        mean = tuple(float(value) for value in values["mean"] or default[0])
        std = tuple(float(value) for value in values["std"] or default[1])
    except (TypeError, ValueError):
        raise UsageError(
            f"mean and std must be three numbers each, not {values['mean']} and {values['std']}",
            "set for example: mean=[0.485,0.456,0.406] std=[0.229,0.224,0.225]",
        )
    return {
        "crop": crop,
        "mean": mean,
        "std": std,
        "sources": tuple(values["sources"]),
        "pairs_only": tuple(values["pairs_only"]),
        "forgeries": tuple(values["forgeries"]),
    }
