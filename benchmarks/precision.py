"""Measure QTFP on ViT-L/14 with random weights on a CPU in every precision: time and change of scores.

    python benchmarks/precision.py --data DIR     # DIR has face pictures and faces.csv

Writes precision-ENVIRONMENT.csv next to this file. Each precision runs in one thread, they take turns, and
the minimum CPU time counts, so that other work on the machine has little effect. The scores of random weights
are close together; compare differences with `spread`, their standard deviation in float32.
"""

import argparse
import dataclasses
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.bench.machine import processor
from deepscan.bench.output import write_table
from deepscan.bench.timing import TimedCase, measure_cases, timed
from deepscan.cards import CARD, ModelCard, ModelFile, sha256_of, write_card
from deepscan.data.crops.crop_cache import prepare_crops
from deepscan.data.pictures import read_pictures
from deepscan.detectors import DETECTORS
from deepscan.detectors.preprocess import Preprocessor
from deepscan.detectors.weights import save_weights
from deepscan.engines import ENGINES
from deepscan.engines.engine import Arrays
from deepscan.engines.export import export_model
from deepscan.engines.quantise import quantise
from deepscan.models.lookup import load_card
from deepscan.offline import import_onnxruntime
from deepscan.progress import progress_bar
from deepscan.training.recipe import load_recipe

HERE = Path(__file__).parent
Form = tuple[str, str]
#: Engine and precision; the first one is the reference.
FORMS = (("torch", "fp32"), ("torch", "bf16"), ("onnx", "fp32"), ("onnx", "int8"))
#: Number of crops to calibrate 8 bits on, and per timed run.
CALIBRATION_CROPS, TIMED_CROPS = 32, 4


def main() -> None:
    """Create the model if it does not exist, measure it, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/precision"), help="folder for 5 GB of models and crops"
    )
    parser.add_argument(
        "--turns", type=int, default=16, help="turns of each precision, each with other crops"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe("qtfp")
    inputs = recipe.make_preprocessor()
    crops = prepare_crops(
        read_pictures(arguments.data)[:192],
        recipe.crop,
        arguments.work / "crops",
        workers=1,
        on_progress=progress_bar("cutting faces"),
    ).crops
    card = model(arguments.work / "model", inputs, np.asarray(crops[:CALIBRATION_CROPS]))
    batches = [
        inputs(np.asarray(crops[start : start + TIMED_CROPS]))
        for start in range(
            CALIBRATION_CROPS, CALIBRATION_CROPS + (arguments.turns + 1) * TIMED_CROPS, TIMED_CROPS
        )
    ]
    scores: dict[Form, list[float]] = {form: [] for form in FORMS}
    cases = [case(card, form, batches, scores[form]) for form in FORMS]
    timings = measure_cases(cases, arguments.turns, lambda *_: None)
    seconds = {form: timing.least_cpu / TIMED_CROPS for form, timing in zip(FORMS, timings, strict=True)}
    score_arrays = {form: np.array(values) for form, values in scores.items()}
    path = HERE / f"precision-{environment()}.csv"
    write_table(
        path,
        [{**line(form, seconds, score_arrays), "turns": arguments.turns, **software()} for form in FORMS],
    )
    print(path.read_text(encoding="utf-8"))


def case(card: ModelCard, form: Form, batches: Sequence[Arrays], scores: list[float]) -> TimedCase:
    """Return a case that scores the next batch in each turn."""
    engine = ENGINES.get(form[0])(card, device="cpu", precision=form[1], threads=1)
    turns = iter(batches)

    def work() -> None:
        scores.extend(engine.run(next(turns))["probability"].tolist())

    return TimedCase({}, TIMED_CROPS, "crops", lambda: timed(work))


def model(folder: Path, inputs: Preprocessor, crops: NDArray[np.uint8]) -> ModelCard:
    """Return the model in a folder; create it if it does not exist."""
    if (folder / CARD).exists():
        return load_card(folder)
    recipe = load_recipe("qtfp")
    torch.manual_seed(0)
    settings = {key: value for key, value in recipe.network.items() if key != "tuning"}
    network = DETECTORS.get("qtfp")().build(settings).eval()
    save_weights(folder / "model.safetensors", network)
    card = ModelCard(
        folder=folder,
        name="precision",
        method="qtfp",
        summary="random weights",
        license=recipe.license,
        files={"torch": ModelFile("model.safetensors", sha256_of(folder / "model.safetensors"))},
        network=settings,
        crop=recipe.crop,
        inputs=recipe.inputs,
        mean=recipe.mean,
        std=recipe.std,
    )
    graph, _ = export_model(card, network, inputs, folder)
    card = dataclasses.replace(card, files={"onnx": graph, **card.files})
    card = dataclasses.replace(card, files={**card.files, "onnx-int8": quantise(card, inputs, crops)})
    write_card(card)
    return card


def line(
    form: Form, seconds: Mapping[Form, float], scores: Mapping[Form, NDArray[np.float64]]
) -> dict[str, object]:
    """Return a row of the table."""
    differences = np.abs(scores[form] - scores[FORMS[0]])
    return {
        "engine": form[0],
        "precision": form[1],
        "seconds_a_crop": round(seconds[form], 4),
        "times_as_fast": round(seconds[FORMS[0]] / seconds[form], 2),
        "moved_mean": f"{differences.mean():.1e}",
        "moved_most": f"{differences.max():.1e}",
        "spread": f"{scores[FORMS[0]].std():.1e}",
        "crops": len(differences),
    }


def software() -> dict[str, object]:
    """Return the columns for the processor and the versions."""
    return {
        "cpu": cpu(),
        "torch": torch.__version__,
        "onnxruntime": import_onnxruntime().__version__,
        "python": platform.python_version(),
    }


def cpu() -> str:
    """Return the processor's name and its instructions for precisions below float32."""
    score_arrays = Path("/proc/cpuinfo")
    words = score_arrays.read_text().split() if score_arrays.exists() else []
    wanted = ("avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    return " ".join([processor(), *(flag for flag in wanted if flag in words)])


def environment() -> str:
    """Return a name for the machine: system and processor type."""
    return f"{platform.system()}-{platform.machine()}-cpu".lower()


if __name__ == "__main__":
    main()
