"""The training recipe: every choice of a training run, from a YAML file and overrides `key=value`."""

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
_LEAST = {
    **dict.fromkeys(("seed", "warmup", "weight_decay", "momentum", "sam_rho", "clip"), 0),
    **dict.fromkeys(("epochs", "accumulate", "batch"), 1),
}
#: Below what a seed of torch may be.
_MOST = 2**63


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    Attributes:
        method: Registered detector method.
        seed: Of the initial weights, the order of the samples and their augmentation.
        weights: Where the backbone's weights come from: `hub`, `random`, `package:NAME` or a file; with
            `network:` before that file, the head is taken from it as well.
        network: What the method builds its network from.
        loss: Settings of the method's loss.
        inputs: What is made of a crop before the network: the `kind`, and its arguments.
        crop: How faces are cut out; the card states the same for scanning.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.
        sources: Sources of the data set to train on, all of them where empty.
        pairs_only: Folders below the data's, of real faces that serve only beside a fake made from each: what
            their pictures look like then tells nothing.
        terms: Under which terms the data may be used; the card repeats it.
        license: SPDX identifier for the weights that come of it; the card repeats it.
        quantise: Whether the model is made small: kernels and matrices rounded to 16 bits, and a file in 8
            bits as well, which a CPU runs in half the time; that is kept where it is near enough to float32
            (`engines.selection`).
        frames: How many crops of a video are used in `train` and in `val`; 0 for all.
        sampling: Which: spread `even`ly over the video, or the `first`, as DeepfakeBench's code takes them.
        augment: Named augmentation of the training crops.
        blend: Share of the fakes that are replaced by one made from a real crop.
        forgeries: How these are made, each way as likely as it is often named: `blend`, with itself; `swap`,
            with somebody else's face; `warp`, into another expression; `render`, from fewer pixels; `redraw`,
            by autoencoders, which are first trained on the real crops.
        balance: `natural` draws every crop once an epoch; `equal` fills the smaller class up with repeats,
            half of each batch being real; `paired` does so too, and a batch holds a real and a fake of each
            of its groups, as far as there are both, and varies the two alike; `origins` draws couples of a
            real and a fake so that neither the origin nor the size of a face tells the label, see
            `training.couples`, and an epoch is as many couples as half the crops; `groups` does so too, and
            an origin's share grows with its groups instead of their root, and fakes that are made from a real
            stand beside it, whichever its origin.
        labels: `given`, or `none`: every crop counts as real and its fake is itself blended with itself, so
            that no label is read. For pretraining a backbone; no model comes of it.
        optimiser: `adam`, `adamw` or `sgd`.
        lr: Learning rate after the warm-up.
        backbone_lr: Of the backbone's parameters, None for the same.
        weight_decay: Of the optimiser.
        decay: Whether `all` parameters decay, or only `matrices` and kernels, not biases and norms.
        momentum: Of `sgd`.
        sam_rho: Radius of sharpness-aware minimisation around the optimiser, 0 for none.
        schedule: `constant`; `cosine` down to zero at the last step; `wsd` (warm-up, stable, decay), constant
            and then linear down to zero over the last quarter.
        warmup: Steps over which the learning rate rises from zero.
        epochs: Passes over the training crops.
        batch: Crops a step, over all processes; an even number unless the balance is natural.
        accumulate: Parts in which each process takes its share of a batch, for a batch larger than memory. A
            loss that compares samples, or a batch norm, sees the part at hand.
        clip: Largest norm of the gradient, 0 for no limit.
        ema: Decay a step of the averaged weights, which are then what is validated and kept; 0 for none.
        precision: Of the network's arithmetic in training: `float32`, `bfloat16` (autocast), or `auto`,
            bfloat16 on a GPU and float32 on a CPU, where autocast is slow; losses and weights are float32.
        select: What chooses the best epoch on the validation crops: `auc` of crops, `video_auc`, or
            `unseen_auc`, figure U of `training.validation`.
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
                    f"correct {name} in the recipe",
                )
        for name, least in _LEAST.items():
            if not least <= getattr(self, name) < _MOST:
                raise UsageError(
                    f"{name} must be a number from {least}, not {getattr(self, name)}", f"correct {name}"
                )
        if not 0 <= self.blend <= 1:
            raise UsageError(f"blend must be in [0, 1], not {self.blend}", "it is a share of the fakes")
        self._check_forgeries()
        rates = (self.lr, self.lr if self.backbone_lr is None else self.backbone_lr)
        if not all(0 < rate < math.inf for rate in rates) or not 0 <= self.ema < 1:
            raise UsageError(
                f"lr {self.lr}, backbone_lr {self.backbone_lr} or ema {self.ema} is out of range",
                "learning rates are above 0, and 0 <= ema < 1",
            )
        if set(self.frames) != {"train", "val"} or min(self.frames.values()) < 0:
            raise UsageError(f"frames {dict(self.frames)}", "give train and val, 0 for all")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError(f"mean {self.mean}, std {self.std}", "give three values each, std above 0")
        steps_of(self.augment)
        self._check_pairs()

    @property
    def couples(self) -> bool:
        """Whether a real and a fake are drawn together, by their origins."""
        return self.balance in ("origins", "groups")

    @property
    def redraws(self) -> bool:
        """Whether fakes are made by autoencoders."""
        return "redraw" in self.forgeries and bool(self.blend or self.pairs_only)

    def half(self, device: str) -> bool:
        """Return whether the network's arithmetic in training is in bfloat16, on a `cpu` or on `cuda`."""
        return {"auto": device == "cuda", "bfloat16": True, "float32": False}[self.precision]

    def _check_forgeries(self) -> None:
        if not self.forgeries or set(self.forgeries) - set(FORGERIES):
            raise UsageError(
                f"forgeries {list(self.forgeries)}", f"give one or more of: {', '.join(FORGERIES)}"
            )
        if self.redraws and self.crop.input_side % REDRAW_STRIDE:
            raise UsageError(
                f"redraw takes crops of a multiple of {REDRAW_STRIDE} px, not of {self.crop.input_side}",
                f"add crop.resize={math.ceil(self.crop.input_side / REDRAW_STRIDE) * REDRAW_STRIDE}",
            )

    def _check_pairs(self) -> None:
        if self.labels == "none" and (self.blend != 1 or self.balance != "paired"):
            raise UsageError("labels=none makes every fake by blending", "add blend=1 balance=paired")
        if self.pairs_only and self.balance == "natural":
            raise UsageError("pairs_only makes pairs, and balance=natural has none", "add balance=paired")
        if self.batch % self.accumulate:
            raise UsageError(f"accumulate {self.accumulate} does not divide batch {self.batch}", "change one")
        if self.balance != "natural" and (self.batch // self.accumulate) % 2:
            parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
            raise UsageError(
                f"a batch of {self.batch}{parts} does not hold whole pairs",
                f"make batch a multiple of {2 * self.accumulate}: half of it is real",
            )

    def make_preprocessor(self) -> Preprocessor:
        """Return what makes the network's inputs from crops.

        Raises:
            UsageError: The kind of inputs or an argument is unknown.
        """
        return make_preprocessor(self.inputs, self.crop, self.mean, self.std)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as its file states it."""
        stated = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in stated.items()}
        # A copy all through: YAML writes what occurs twice in a card as an anchor and an alias.
        return copy.deepcopy({**plain, "crop": self.crop.to_json()})


def load_recipe(
    method: str | None, recipe: Path | str | None = None, overrides: Sequence[str] = ()
) -> Recipe:
    """Return the recipe of a file or a name, or the method's own, with values overridden.

    Args:
        method: The method; a recipe of another one is refused. None for the recipe's own, or the default.
        recipe: A recipe file, or the name of one that comes with deepscan; None for the method's own. Keys
            that a file leaves out have the values of the method's own.
        overrides: `key=value` each, the key dotted where it is nested (`crop.scale=0.8`), the value as YAML.

    Raises:
        UsageError: The method or a key is unknown, or a value is of the wrong kind or out of range.
        MissingError: The file is not there.
    """
    stated = read_recipe(method, recipe, overrides)
    if stated["method"] != (method or stated["method"]):
        raise UsageError(
            f"the recipe is one of method {stated['method']!r}, not {method!r}",
            f"use --method {stated['method']}",
        )
    try:
        return Recipe(**{**stated, **_typed(stated)})
    except TypeError as error:
        raise UsageError(f"bad recipe: {error}", "correct the recipe")


def _typed(stated: Mapping[str, Any]) -> dict[str, Any]:
    try:
        crop = CropRecipe(**{**stated["crop"], "shift": tuple(stated["crop"]["shift"])})
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad crop recipe: {error}", "correct `crop` in the recipe")
    own = normalisation(stated["network"]["backbone"]["name"])
    try:
        mean = tuple(float(value) for value in stated["mean"] or own[0])
        std = tuple(float(value) for value in stated["std"] or own[1])
    except (TypeError, ValueError):
        raise UsageError(f"mean {stated['mean']}, std {stated['std']}", "give three numbers each")
    return {
        "crop": crop,
        "mean": mean,
        "std": std,
        "sources": tuple(stated["sources"]),
        "pairs_only": tuple(stated["pairs_only"]),
        "forgeries": tuple(stated["forgeries"]),
    }
