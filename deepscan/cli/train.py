"""`deepscan train`: a model folder from labelled face pictures."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.detectors import DETECTORS
from deepscan.errors import require
from deepscan.logs import get_logger
from deepscan.training.recipe_files import recipe_summaries


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Values to change in the recipe: lr=0.0005 epochs=10 crop.scale=0.8",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        opt.MethodName | None,
        typer.Option(
            help=f"Detector to train: {', '.join(DETECTORS.names)}. The last five are baselines.",
            metavar="NAME",
            show_default="that of the recipe, or qtfp",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Name of a recipe below, or a YAML file.",
            metavar="NAME|FILE",
            show_default="that of the method",
        ),
    ] = None,
    data: Annotated[
        Path,
        opt.data_option(
            help="Folder of face pictures with faces.csv. Columns: file, label (real, fake), group, split "
            "(train, val); optional: source, video, mask, face, origin, pair, method, source_face_px. Or a "
            "folder written by prepare; then FaceForensics++ is used, or the data sets in sources=[NAME].",
            metavar="DIR",
        ),
    ] = Path("data"),
    cache: Annotated[
        Path,
        opt.data_option(
            help="Folder that keeps crops, features of a frozen backbone, and face autoencoders for later "
            "runs.",
            metavar="DIR",
        ),
    ] = Path("runs/crops"),
    no_cache: Annotated[
        bool,
        opt.data_option(
            "--no-cache",
            help="Compute the features of a frozen backbone at each step instead of storing them.",
        ),
    ] = False,
    workers: Annotated[
        int, opt.data_option(min=0, help="Processes that load and augment crops.", metavar="N")
    ] = 2,
    out: Annotated[
        Path | None,
        opt.run_option(
            help="Model folder to write. Checkpoints and logs go to the folder run inside it.",
            metavar="DIR",
            show_default="runs/METHOD",
        ),
    ] = None,
    resume: Annotated[
        bool,
        opt.run_option("--resume", help="Resume the run in --out, or start one if there is none."),
    ] = False,
    finish: Annotated[
        bool,
        opt.run_option("--finish", help="Do not train further: make the model from the best epoch so far."),
    ] = False,
    overwrite: Annotated[
        bool, opt.run_option("--overwrite", help="Replace the run and the model in --out.")
    ] = False,
    seed: Annotated[
        int | None,
        opt.run_option(min=0, help="Random seed; same as seed=N.", metavar="N", show_default=False),
    ] = None,
    device: Annotated[
        opt.DeviceName, opt.run_option(help="Device for training. auto uses a GPU if there is one.")
    ] = "auto",
    threads: Annotated[
        int | None,
        opt.run_option(
            min=1,
            help="CPU threads of torch. Use 1 if the machine is busy.",
            metavar="N",
            show_default="all cores",
        ),
    ] = None,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Train a detector, and write a model folder that scan can use.

    Half of the validation groups choose the best epoch and calibrate the model;
    the other half gives the results in its card.

    Examples:
      deepscan train --method fft --recipe compact --data faces
      deepscan train --method fft --recipe compact --data faces --resume
      deepscan train --method corit --data faces --out runs/corit epochs=10
      torchrun --nproc-per-node 4 -m deepscan train --method dfd-hr batch=64
    """
    require(("torch", "safetensors", "sklearn", "onnx", "onnxscript", "tensorboard"), "torch", "training")
    import torch

    from deepscan.cards import ModelCard
    from deepscan.cli.train_view import TrainView
    from deepscan.training.processes import join
    from deepscan.training.recipe import load_recipe
    from deepscan.training.session import Session, run_training

    if threads is not None:
        torch.set_num_threads(threads)
    seeded = [] if seed is None else [f"seed={seed}"]
    chosen = load_recipe(method, recipe, [*(overrides or ()), *seeded])
    session = Session(
        recipe=chosen,
        data=data,
        cache=cache,
        folder=out or Path("runs") / chosen.method,
        command=shlex.join(["deepscan", "train", *_given(sys.argv)]),
        workers=workers,
        keep_features=not no_cache,
        resume=resume,
        finish=finish,
        overwrite=overwrite,
    )
    with join(device) as processes, TrainView(progress if processes.first else "none") as view:
        get_logger(__name__).info(
            "training %s with recipe %s on %s, seed %d",
            chosen.method,
            recipe or chosen.method,
            processes.device,
            chosen.seed,
        )
        made = run_training(
            session,
            processes,
            on_crops=view.crops,
            on_autoencoders=view.autoencoders,
            on_features=view.features,
            on_step=view.step,
        )
    if isinstance(made, ModelCard):
        auc = made.results[0]
        print_line(f"{made.folder}  auc {auc['value']} {auc['interval']} on {auc['n']} held-out crops")
    elif made is not None:
        print_line(f"{made}  train on it with weights={made}")


def recipes_help() -> str:
    """Return the list of recipes that comes with the help of `train`."""
    summaries = recipe_summaries()
    width = max(map(len, summaries))
    return "\n".join(["Recipes:", *(f"  {name:<{width}}  {text}" for name, text in summaries.items())])


def _given(argv: list[str]) -> list[str]:
    given = argv[argv.index("train") + 1 :] if "train" in argv else []
    return [word for word in given if word not in ("--resume", "--finish", "--overwrite")]
