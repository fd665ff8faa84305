"""`deepscan prepare`: aligned face crops and a benchmark file from the videos of a data set."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.errors import ExitCode, MissingError, UsageError
from deepscan.outcomes import STATUSES

if TYPE_CHECKING:
    from deepscan.crop_recipe import CropRecipe
    from deepscan.data.crops.prepare import PrepareOptions
    from deepscan.data.datasets.layout import DatasetLayout

crops_option = partial(typer.Option, rich_help_panel="Crops")


def prepare(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="Name of a data set: FaceForensics++, Celeb-DF-v2, DFDC, simswap_ff ... df40-ff and "
            "df40-cdf mean all methods of DF40; folders means your own videos in real/ and fake/. --list "
            "shows all.",
            show_default=False,
        ),
    ] = None,
    list_all: Annotated[
        bool,
        opt.input_option(
            "--list", help="List all data sets, their expected folders, and who distributes them."
        ),
    ] = False,
    root: Annotated[
        Path | None,
        opt.input_option(
            help="Folder of the data set, as its authors distribute it.", metavar="DIR", show_default=False
        ),
    ] = None,
    split: Annotated[
        list[str] | None,
        opt.input_option(
            help="Only videos of this split: train, val or test. Repeat for several.", metavar="NAME"
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        opt.input_option(
            help="Only videos with this label, such as FF-DF. Repeat for several.", metavar="LABEL"
        ),
    ] = None,
    compression: Annotated[
        Literal["raw", "c23", "c40"] | None,
        opt.input_option(help="Compression level, if the data set has several.", show_default="c23"),
    ] = None,
    limit: Annotated[
        int | None,
        opt.input_option(
            min=1, help="Only the first N videos of each label and split, as a trial.", metavar="N"
        ),
    ] = None,
    frames: Annotated[
        int, crops_option(min=1, help="Frames to take from each video, evenly spaced.", metavar="N")
    ] = 32,
    faces: Annotated[opt.FacesMode, crops_option(help="How to find faces; see scan --help.")] = "fast",
    faces_device: Annotated[opt.FacesDevice, crops_option(help="Device for finding faces.")] = "cpu",
    model: Annotated[
        str | None,
        crops_option(
            help="Cut the faces as this model needs them.",
            metavar="NAME|DIR",
            show_default="as DeepfakeBench does: 256 px, scale 1.3",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        opt.run_option(
            help="Folder for DATASET.json and DATASET/ with frames, landmarks and masks.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        opt.run_option(
            help="Name for your own data set.", metavar="NAME", show_default="the data set's name"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        opt.run_option(
            min=1,
            help="Decoding processes. One more process finds faces.",
            metavar="N",
            show_default="half the cores",
        ),
    ] = None,
    retry: Annotated[
        list[str] | None,
        opt.run_option(help=f"Also retry videos with this status: {', '.join(STATUSES)}.", metavar="STATUS"),
    ] = None,
    overwrite: Annotated[
        bool, opt.run_option("--overwrite", help="Replace earlier results in --out.")
    ] = False,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> int:
    """Cut the faces out of a data set's videos, and write a benchmark file.

    Finds and cuts faces as scan does, for train and eval. To resume, repeat the
    command. Prints the path of the benchmark file, DATASET.json.
    DATASET.videos.jsonl records the outcome of each video, DATASET.crop.json
    how the faces were cut.

    Examples:
      deepscan prepare --list
      deepscan prepare Celeb-DF-v2 --root ~/Celeb-DF-v2 --out crops --split test
      deepscan prepare FaceForensics++ --root ~/FF++ --out crops --limit 5
      deepscan prepare folders --root mine --out crops --name mine
    """
    from deepscan.data.datasets import DATASETS, names_of

    if list_all:
        print_line(_catalogue([DATASETS.get(found) for found in DATASETS.names]))
        return ExitCode.OK
    if dataset is None:
        raise UsageError(
            "no data set is named", "deepscan prepare --list shows their names and expected folders"
        )
    layouts = [DATASETS.get(found) for found in names_of(dataset)]
    if root is None:
        raise UsageError(
            f"--root is missing, the folder of {layouts[0].dataset}",
            f"add --root DIR, with DIR as: {layouts[0].expects}. To get the data: {layouts[0].origin}",
        )
    if out is None:
        raise UsageError("--out is missing", "add --out DIR, a folder for the crops and the benchmark file")
    if name is not None and len(layouts) > 1:
        raise UsageError(
            f"--name is for one data set, and {dataset} means {len(layouts)}", "leave --name out"
        )
    from deepscan.data.crops.prepare import PrepareOptions

    options = PrepareOptions(
        recipe=_recipe(model),
        frames=frames,
        faces=faces,
        faces_device=faces_device,
        splits=tuple(split or ()),
        kinds=tuple(kind or ()),
        compression=compression,
        name=name,
        limit=limit,
        retry=frozenset(retry or ()),  # type: ignore[arg-type]  # it checks itself
        overwrite=overwrite,
        workers=workers,
    )
    return _all(layouts, root, out, options, progress)


def _recipe(model: str | None) -> "CropRecipe":
    from deepscan.crop_recipe import CropRecipe
    from deepscan.models.lookup import load_card

    return CropRecipe() if model is None else load_card(model).face_crop


def _all(
    layouts: Sequence["DatasetLayout"], root: Path, out: Path, options: "PrepareOptions", progress: str
) -> int:
    from deepscan.cli.prepare_view import PrepareView
    from deepscan.data.crops.prepare import prepare_dataset as prepare_one

    worst, absent = ExitCode.OK, []
    for layout in layouts:
        with PrepareView(progress, options.name or layout.dataset, root) as view:
            try:
                prepared = prepare_one(layout, root, out, options, view)
            except MissingError as error:
                if len(layouts) == 1:
                    raise
                absent.append(error)
                view.note(f"skipped: {error.message}")
                continue
        view.show_summary(prepared)
        worst = max(worst, prepared.exit_code)
        print_line(str(prepared.json))
    if len(absent) == len(layouts):
        raise absent[0]
    return worst


def _catalogue(layouts: Sequence["DatasetLayout"]) -> str:
    """Return the list of data sets; the methods of DF40, whose folders are alike, share an entry."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for layout in layouts:
        method = layout.dataset.rpartition("_")[0]
        labels = ", ".join(
            f"{kind} ({'fake' if is_fake else 'real'})" for kind, is_fake in layout.labels.items()
        )
        lines = [f"labels:  {labels}", f"folders: {layout.expects}", f"from:    {layout.origin}"]
        if method:
            lines = [line.replace(f"{method}_", "METHOD_").replace(f"{method}/", "METHOD/") for line in lines]
        alike.setdefault(tuple(lines), []).append(layout.dataset)
    return "\n\n".join("\n  ".join([", ".join(names), *lines]) for lines, names in alike.items())
