"""The panels of a command's help, and the options that several commands share."""

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

# One panel of a command's help each; they take the arguments of `typer.Option`.
input_option = partial(typer.Option, rich_help_panel="Input")
frames_option = partial(typer.Option, rich_help_panel="Frames and faces")
model_option = partial(typer.Option, rich_help_panel="Model")
data_option = partial(typer.Option, rich_help_panel="Data")
output_option = partial(typer.Option, rich_help_panel="Output")
run_option = partial(typer.Option, rich_help_panel="Run")
message_option = partial(typer.Option, rich_help_panel="Messages")

#: The precisions of all engines; each engine refuses those that it lacks.
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
Engine = Annotated[EngineName, model_option(help="Library that runs the model.")]
Device = Annotated[DeviceName, model_option(help="Device for the model.")]
FullPrecision = Annotated[
    PrecisionName, model_option(help="bf16 needs engine torch, int8 needs onnx. auto chooses as scan does.")
]
Protocol = Annotated[
    ProtocolName, data_option(help=f"Protocol whose test sets to use: {PROTOCOL_NAMES}.", metavar="NAME")
]
Data = Annotated[
    Path,
    data_option(
        help="Folder of benchmark files (Celeb-DF-v2.json ...) written by prepare, or from DeepfakeBench or "
        "DF40. in-domain and robustness also accept a folder with faces.csv.",
        metavar="DIR",
    ),
]
Root = Annotated[
    Path | None,
    data_option(
        help="Folder of the crops listed in the benchmark files.",
        metavar="DIR",
        show_default="as in the files",
    ),
]
SetsOf = Annotated[
    MethodName | None,
    data_option(help="Use the test sets of this method's paper.", show_default="that of the model"),
]
Only = Annotated[
    list[str] | None,
    data_option(
        "--set",
        help="Only this test set, or your own benchmark file. Repeat for several.",
        metavar="NAME",
    ),
]
Available = Annotated[bool, data_option("--available", help="Skip test sets that are missing.")]
Frames = Annotated[int, data_option(min=0, help="Frames per video; 0 for all.", metavar="N")]
ScoresOut = Annotated[
    Path | None,
    output_option(
        help="Folder for scores, results and plots. Existing scores are reused: to resume, repeat the "
        "command.",
        metavar="DIR",
        show_default="runs/eval/MODEL-PROTOCOL-DATA",
    ),
]
Cache = Annotated[Path, output_option(help="Folder that keeps crops for later runs.", metavar="DIR")]
DiscardScores = Annotated[bool, output_option("--overwrite", help="Discard existing scores in --out.")]
Overwrite = Annotated[bool, output_option("--overwrite", help="Replace existing files in --out.")]
# `Command` in cli/command.py acts on the last two, for every command.
Progress = Annotated[
    Style,
    message_option(help="auto: a bar at a terminal, plain lines elsewhere. none: no progress, no notes."),
]
Quiet = Annotated[bool, message_option("--quiet", "-q", help="Show only errors on stderr.")]
Verbose = Annotated[
    int,
    message_option(
        "--verbose", "-v", count=True, help="Explain what is done and why; -vv for more.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
