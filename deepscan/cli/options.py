"""The panels that options stand in, and the options that several commands take in the same words."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepscan.analyses import ANALYSES
from deepscan.detectors import DETECTORS
from deepscan.engines import ENGINES
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.faces.finder import FINDERS
from deepscan.media.decoders import AUTO, DECODERS
from deepscan.models.layouts import WEIGHT_LAYOUTS

# An option in one panel of a command's help; each takes what `typer.Option` takes.
input_option = partial(typer.Option, rich_help_panel="Input")
frames_option = partial(typer.Option, rich_help_panel="Frames and faces")
model_option = partial(typer.Option, rich_help_panel="Model")
data_option = partial(typer.Option, rich_help_panel="Data")
output_option = partial(typer.Option, rich_help_panel="Output")
run_option = partial(typer.Option, rich_help_panel="Run")

#: Every precision that some engine offers; which one does is for the engine to say.
PrecisionName = Literal["auto", "fp32", "fp16", "bf16", "int8"]
DeviceName = Literal["auto", "cpu", "cuda"]
FacesDevice = Literal["cpu", "cuda"]
Style = Literal["auto", "plain", "none"]
PROTOCOL_NAMES = ", ".join(PROTOCOLS.names)
if TYPE_CHECKING:
    # A type checker takes no choices that are known only when registries are read.
    AnalysisName = str
    DecoderName = str
    LayoutName = str
    MethodName = str
    EngineName = str
    FacesMode = str
    ProtocolName = str
else:
    AnalysisName = Literal[ANALYSES.names]
    DecoderName = Literal[(AUTO, *DECODERS.names)]
    LayoutName = Literal[WEIGHT_LAYOUTS.names]
    MethodName = Literal[DETECTORS.names]
    EngineName = Literal[(AUTO, *ENGINES.names)]
    FacesMode = Literal[FINDERS.names]
    ProtocolName = Literal[PROTOCOLS.names]

Model = Annotated[str, model_option(help="Name or folder of a model.", metavar="NAME|DIR")]
Engine = Annotated[EngineName, model_option(help="What runs the model.")]
Device = Annotated[DeviceName, model_option(help="Where the model runs.")]
FullPrecision = Annotated[
    PrecisionName, model_option(help="bf16 needs torch, int8 onnx; auto chooses as scan does.")
]
Protocol = Annotated[
    ProtocolName, data_option(help=f"Protocol whose test sets to use: {PROTOCOL_NAMES}.", metavar="NAME")
]
Data = Annotated[
    Path,
    data_option(
        help="Folder of benchmark files (Celeb-DF-v2.json ...) from prepare, DeepfakeBench or DF40. "
        "in-domain and robustness also take a folder with faces.csv.",
        metavar="DIR",
    ),
]
Root = Annotated[
    Path | None,
    data_option(
        help="Folder of the crops that benchmark files name.", metavar="DIR", show_default="as the files say"
    ),
]
SetsOf = Annotated[
    MethodName | None,
    data_option(help="Use the test sets of this method's paper.", show_default="the model's method"),
]
Only = Annotated[
    list[str] | None,
    data_option(
        "--set",
        help="Use this test set only, or a benchmark file of your own. Repeat for several.",
        metavar="NAME",
    ),
]
Available = Annotated[bool, data_option("--available", help="Skip test sets that are missing.")]
Frames = Annotated[int, data_option(min=0, help="Frames per video; 0 for all.")]
ScoresOut = Annotated[
    Path | None,
    output_option(
        help="Folder for scores, figures and plots. Scores that are there are used: repeat the command to "
        "resume.",
        metavar="DIR",
        show_default="runs/eval/MODEL-PROTOCOL-DATA",
    ),
]
Cache = Annotated[Path, output_option(help="Folder for crops cut from pictures.", metavar="DIR")]
DiscardScores = Annotated[bool, output_option("--overwrite", help="Discard the scores in --out.")]
Overwrite = Annotated[bool, output_option("--overwrite", help="Replace what is in --out.")]
PROGRESS_HELP = "auto: a bar at a terminal, plain lines elsewhere."
Progress = Annotated[Style, output_option(help=PROGRESS_HELP)]
RunProgress = Annotated[Style, run_option(help=PROGRESS_HELP)]
