"""`deepscan train`: labelled face pictures in, a model folder with its card out."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from deepscan.cli.options import MethodName, Style, progress_option
from deepscan.errors import require

DATA, RUN = "Data", "Run"


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Values of the recipe to change: lr=0.0005 epochs=10 crop.scale=0.8",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        MethodName | None,
        typer.Option(
            help="What to train. unifd, effort, gend, lora and fft are baselines.",
            show_default="the recipe's, or qtfp",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe in YAML, or the name of one that comes with deepscan, such as convnet; "
            "without one, the method's own, which is its paper's.",
            metavar="FILE|NAME",
        ),
    ] = None,
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of face pictures and faces.csv, with the columns file, label (real, fake), group, "
            "split (train, val) and, if known, source, video, mask, face, origin, pair, method and "
            "source_face_px; or of what prepare has made: "
            "FaceForensics++, or those named by sources=[NAME].",
            metavar="DIR",
            rich_help_panel=DATA,
        ),
    ] = Path("data"),
    cache: Annotated[
        Path,
        typer.Option(
            help="Folder for what is made once: the aligned crops, a frozen backbone's features, and the "
            "autoencoders that redraw faces.",
            metavar="DIR",
            rich_help_panel=DATA,
        ),
    ] = Path("runs/crops"),
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Train a frozen backbone live, without keeping its features on disk.",
            rich_help_panel=DATA,
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make the crops.", rich_help_panel=DATA)
    ] = 2,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write; checkpoints and logs go into its folder run.",
            metavar="DIR",
            show_default="runs/METHOD",
            rich_help_panel=RUN,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume an interrupted run; start one where there is none.",
            rich_help_panel=RUN,
        ),
    ] = False,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Train no further: make the model from an interrupted run's best epoch.",
            rich_help_panel=RUN,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the run and the model in --out.", rich_help_panel=RUN),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="The same as seed=N.", show_default=False, rich_help_panel=RUN),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="auto takes CUDA where there is one.", rich_help_panel=RUN),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads of torch on a CPU; 1 is best beside other work.",
            show_default="all cores",
            rich_help_panel=RUN,
        ),
    ] = None,
    progress: Annotated[Style, progress_option(RUN)] = "auto",
) -> None:
    """Train a detector and write a model folder that scan can use.

    Selection and calibration use half of the validation groups, the figures in the card come from the other.

    On several GPUs: torchrun --nproc-per-node 4 -m deepscan train ...; each takes its share of every batch.
    """
    require(("torch", "safetensors", "sklearn", "onnx", "onnxscript", "tensorboard"), "torch", "training")
    import torch

    from deepscan.cards import ModelCard
    from deepscan.cli.train_view import TrainView
    from deepscan.training.processes import join
    from deepscan.training.recipe import load_recipe
    from deepscan.training.session import Session, perform

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
        made = perform(
            session,
            processes,
            crops_told=view.crops,
            autoencoders_told=view.autoencoders,
            features_told=view.features,
            told=view.step,
        )
    if isinstance(made, ModelCard):
        auc = made.results[0]
        typer.echo(f"{made.folder}  auc {auc['value']} {auc['interval']} on {auc['n']} held-out crops")
    elif made is not None:
        typer.echo(f"{made}  train on it with weights={made}")


def _given(argv: list[str]) -> list[str]:
    given = argv[argv.index("train") + 1 :] if "train" in argv else []
    return [word for word in given if word not in ("--resume", "--finish", "--overwrite")]
