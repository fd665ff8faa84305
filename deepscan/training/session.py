"""A training from pictures to a model folder: what is checked first, and in which order things are made."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deepscan.backbones.weights import locate
from deepscan.cards import CARD, ModelCard
from deepscan.data.crops.crop_cache import CropSet, prepare_crops
from deepscan.data.pictures import LABEL_OF, PAIRS, LabelledPicture, read_pairs_only, read_pictures
from deepscan.detectors import DETECTORS
from deepscan.errors import UsageError
from deepscan.files import make_folder
from deepscan.progress import OnProgress
from deepscan.training import run_files
from deepscan.training.autoencoders import Autoencoder, autoencoders
from deepscan.training.batches import reals
from deepscan.training.loop import OnStep, train
from deepscan.training.processes import Processes
from deepscan.training.publish import publish
from deepscan.training.recipe import Recipe
from deepscan.training.run_files import BEST, CURVES, LAST, LOG

#: Crops on which the error of autoencoders is measured.
_REDRAWN = 64


@dataclass(frozen=True, slots=True)
class Session:
    """What a training is asked to do.

    Attributes:
        recipe: How to train.
        data: Folder with the index of the pictures.
        cache: Folder for crops and features.
        folder: Model folder; checkpoints and logs go into its folder `run`.
        command: The command line, for the card.
        workers: Processes that make the crops.
        keep_features: Whether the features of a frozen backbone are kept on disk.
        resume: Go on where a run was interrupted; begin where there is none.
        finish: Only make a model of an interrupted run's best epoch.
        overwrite: Start over where there is a run or a model already.
    """

    recipe: Recipe
    data: Path
    cache: Path
    folder: Path
    command: str
    workers: int
    keep_features: bool
    resume: bool
    finish: bool
    overwrite: bool

    def __post_init__(self) -> None:
        if self.overwrite and (self.resume or self.finish):
            raise UsageError("--overwrite begins anew, --resume and --finish go on", "leave one of them out")

    @property
    def run(self) -> Path:
        """Folder of checkpoints and logs."""
        return self.folder / "run"


def run_training(
    session: Session,
    processes: Processes,
    *,
    on_crops: OnProgress,
    on_autoencoders: OnProgress,
    on_features: OnProgress,
    on_step: OnStep,
) -> ModelCard | Path | None:
    """Train, and return the card of the model folder that was made.

    Args:
        session: What to do.
        processes: Which processes do it together.
        on_crops: Progress callback: (crops made, crops).
        on_autoencoders: Progress callback: (images learnt from, images).
        on_features: Progress callback: (crops whose features are done, crops).
        on_step: Called after every step.

    Returns:
        The card; the weights' path where no label was read, and so no model can come of it; None in a
        process that is not the first.

    Raises:
        UsageError: Something is wrong that the recipe, the data or the folders say; before anything is made,
            as far as it can be known then.
        MissingError: Data, weights, a package or a device is not there.
        ContractError: A checkpoint, or weights, are of something else.
    """
    recipe, begun = session.recipe, time.time()
    pictures = _checked(session, processes)
    # One process fills the cache, the others read it.
    for turn in (True, False):
        if processes.first == turn:
            crops = prepare_crops(
                pictures, recipe.crop, session.cache, workers=session.workers, on_progress=on_crops
            )
            redrawers = _redrawers(session, crops, processes, on_autoencoders) if recipe.redraws else ()
        processes.wait()
    network, state = train(
        recipe,
        crops,
        session.run,
        processes=processes,
        resume=session.resume and (session.run / LAST).exists(),
        finish=session.finish,
        cache=session.cache if session.keep_features else None,
        redrawers=redrawers,
        on_step=on_step,
        on_features=on_features,
    )
    if not processes.first:
        return None
    if recipe.labels == "none":
        return session.run / BEST
    best = max(state.history, key=lambda row: row[recipe.select])
    return publish(
        network,
        recipe,
        crops,
        session.folder,
        name=session.folder.resolve().name,
        data=", ".join(recipe.sources) or str(session.data),
        trained={
            **_trained(session, pictures, crops, redrawers),
            "date": time.strftime("%Y-%m-%d", time.gmtime(begun)),
            "epochs": f"{int(best['epoch'])} of {len(state.history)} trained and {recipe.epochs} planned",
            "chosen_by": f"{recipe.select} {best[recipe.select]:.4f} on the first half of validation groups",
        },
    )


def _redrawers(
    session: Session, crops: CropSet, processes: Processes, on_progress: OnProgress
) -> tuple[Autoencoder, ...]:
    recipe, device = session.recipe, processes.device.type
    return autoencoders(
        crops,
        reals(crops, recipe),
        session.cache,
        seed=recipe.seed,
        half=recipe.half(device),
        device=device,
        on_progress=on_progress,
    )


def _checked(session: Session, processes: Processes) -> tuple[LabelledPicture, ...]:
    """Return the pictures, all that can be known before crops are cut having been looked at."""
    recipe, last = session.recipe, session.run / LAST
    there = [path for path in (last, session.folder / CARD) if path.exists()]
    if there and not (session.resume or session.finish or session.overwrite):
        raise UsageError(
            f"{session.folder} holds a {'run' if last in there else 'model'} already",
            "go on with --resume, begin anew with --overwrite, or name another folder with --out",
        )
    if last.exists() and not session.overwrite:
        run_files.require_same_recipe(last, recipe.to_json())
    pictures = read_pictures(session.data, recipe.sources)
    trained = {picture.label for picture in pictures if picture.split == "train"}
    if recipe.labels == "given" and trained != set(LABEL_OF.values()):
        lacking = next(name for name, label in LABEL_OF.items() if label not in trained)
        raise UsageError(f"there is no {lacking} picture to train on", "train on both classes")
    pictures += read_pairs_only(session.data, recipe.pairs_only)
    check_recipe(recipe)
    if recipe.weights != "random":
        locate(recipe.network["backbone"]["name"], recipe.weights)
    for path, option in ((session.run, "--out"), (session.cache, "--cache")):
        make_folder(path, option)
    if session.overwrite and processes.first:
        for name in (LAST, BEST, LOG):
            (session.run / name).unlink(missing_ok=True)
        shutil.rmtree(session.run / CURVES, ignore_errors=True)
    return pictures


def check_recipe(recipe: Recipe) -> None:
    """Check that a recipe's network can be built and takes its inputs, without weights: in little time.

    Raises:
        UsageError: A value is wrong, or crops of another size are cut than the network takes.
    """
    side = recipe.crop.input_side
    arrays = recipe.make_preprocessor()(np.zeros((2, side, side, 3), np.uint8))
    with torch.device("meta"):
        network = DETECTORS.get(recipe.method)(**recipe.loss).build(recipe.network)
    if network.side != side:
        raise UsageError(
            f"the network takes crops of {network.side} px, the recipe cuts {side} px",
            f"add crop.resize={network.side}",
        )
    if set(arrays) != set(network.inputs):
        raise UsageError(
            f"the network takes {', '.join(network.inputs)}, the recipe's inputs are {', '.join(arrays)}",
            "leave inputs.kind as the method's own recipe has it",
        )
    network.train()(**{name: torch.from_numpy(array).to("meta") for name, array in arrays.items()})


def _trained(
    session: Session, pictures: tuple[LabelledPicture, ...], crops: CropSet, redrawers: Sequence[Autoencoder]
) -> dict[str, object]:
    recipe = session.recipe
    return {
        "data": ", ".join(sorted({picture.source or str(session.data) for picture in pictures})),
        "terms": recipe.terms,
        "crops": len(crops.where("train", recipe.frames["train"], recipe.sampling)),
        **({"crops_in_pairs_only": len(crops.where(PAIRS))} if recipe.pairs_only else {}),
        **({"autoencoders": _stated(redrawers, recipe, crops)} if redrawers else {}),
        "command": session.command,
        "seed": recipe.seed,
    }


def _stated(redrawers: Sequence[Autoencoder], recipe: Recipe, crops: CropSet) -> dict[str, object]:
    real = reals(crops, recipe)
    some = crops.crops[real[np.linspace(0, len(real) - 1, min(_REDRAWN, len(real))).astype(int)]]
    return {
        "number": len(redrawers),
        "seed": recipe.seed,
        "trained_on": f"{len(real)} real training crops",
        "l1_of_255": [round(redraw.error(some), 2) for redraw in redrawers],
    }
