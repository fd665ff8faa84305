"""Options that several commands take in the same words."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deepscan.analyses import ANALYSES
from deepscan.detectors import DETECTORS
from deepscan.engines import ENGINES
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.faces.finder import FINDERS
from deepscan.media.decoders import AUTO, DECODERS
from deepscan.models.layouts import WEIGHT_LAYOUTS

MODEL, DATA, OUTPUT = "Model", "Data", "Output"

Style = Literal["auto", "plain", "none"]
#: Every precision that some engine offers; which one does is for the engine to say.
Precision = Literal["auto", "fp32", "fp16", "bf16", "int8"]
FacesDevice = Literal["cpu", "cuda"]
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

Model = Annotated[
    str, typer.Option(help="Name or folder of a model.", metavar="NAME|DIR", rich_help_panel=MODEL)
]
Engine = Annotated[EngineName, typer.Option(help="What runs the model.", rich_help_panel=MODEL)]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where the model runs.", rich_help_panel=MODEL)
]
FullPrecision = Annotated[
    Precision,
    typer.Option(help="bf16 needs torch, int8 onnx; auto chooses as scan does.", rich_help_panel=MODEL),
]
Data = Annotated[
    Path,
    typer.Option(
        help="Folder of benchmark files (Celeb-DF-v2.json ...) from prepare, DeepfakeBench or DF40. "
        "in-domain and robustness also take a folder with faces.csv.",
        metavar="DIR",
        rich_help_panel=DATA,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the crops that benchmark files name.",
        metavar="DIR",
        show_default="as the files say",
        rich_help_panel=DATA,
    ),
]
SetsOf = Annotated[
    MethodName | None,
    typer.Option(
        help="Use the test sets of this method's paper.",
        show_default="the model's method",
        rich_help_panel=DATA,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Use this test set only, or a benchmark file of your own. Repeat for several.",
        metavar="NAME",
        rich_help_panel=DATA,
    ),
]
Available = Annotated[
    bool, typer.Option("--available", help="Skip test sets that are missing.", rich_help_panel=DATA)
]
Frames = Annotated[int, typer.Option(min=0, help="Frames per video; 0 for all.", rich_help_panel=DATA)]
Cache = Annotated[
    Path, typer.Option(help="Folder for crops cut from pictures.", metavar="DIR", rich_help_panel=OUTPUT)
]
DiscardScores = Annotated[
    bool, typer.Option("--overwrite", help="Discard the scores in --out.", rich_help_panel=OUTPUT)
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what is in --out.", rich_help_panel=OUTPUT)
]


def progress_option(panel: str) -> Any:
    """Return the option --progress.

    Args:
        panel: Where it stands in the command's help.
    """
    return typer.Option(help="auto: a bar at a terminal, plain lines elsewhere.", rich_help_panel=panel)
