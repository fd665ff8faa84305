"""Maps over a face's crop as small pictures, with the landmarks in their places."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from deepscan.errors import ContractError
from deepscan.faces.align import similarity
from deepscan.report.chart import clock
from deepscan.report.run_info import RunInfo

#: Maps of one output that are shown; a detector may have one for each of its queries.
MAX_MAPS = 4
#: Colours, RGB, of the greatest value above 0, of 0, and of the least below it.
_ABOVE, _ZERO, _BELOW = (196, 60, 32), (250, 250, 250), (32, 96, 176)


@dataclass(frozen=True, slots=True)
class FaceMap:
    """One map.

    Attributes:
        caption: Whose it is and of what, with its range.
        png: The picture, in base64.
    """

    caption: str
    png: str


@dataclass(frozen=True, slots=True)
class FaceMaps:
    """What the score of one face was taken from.

    Attributes:
        caption: Which face.
        maps: The maps.
        numbers: What is no map, in words.
        landmarks: Eyes, nose and mouth corners in the crop, in parts of its side; empty where the run is not
            described.
    """

    caption: str
    maps: tuple[FaceMap, ...]
    numbers: tuple[str, ...]
    landmarks: tuple[tuple[float, float], ...]


def maps_of(frame: Mapping[str, Any], run: RunInfo) -> FaceMaps | None:
    """Return what the score of a face was taken from, None where the record does not have it.

    Args:
        frame: A face's entry of a record.
        run: The run.
    """
    explanation = frame.get("explanation")
    if not explanation:
        return None
    several = len(run.models) > 1
    each = explanation if several else {next(iter(run.models)): explanation}
    maps, numbers = [], []
    for model, outputs in each.items():
        for name, value in outputs.items():
            whose = f"{model}: {name}" if several else name
            if isinstance(value, Mapping):
                maps += list(_maps(whose, value))
            else:
                numbers.append(f"{whose} {'not finite' if value is None else f'{value:.4g}'}")
    if not maps and not numbers:
        return None
    caption = f"frame {frame['index']}, {clock(frame['pts'])}"
    return FaceMaps(caption, tuple(maps), tuple(numbers), _landmarks(frame, run))


def _maps(whose: str, value: Mapping[str, Any]) -> Iterator[FaceMap]:
    (low, high), grid, maps = value["range"], value["grid"], value["maps"]
    for at, steps in enumerate(maps[:MAX_MAPS]):
        which = f" {at + 1} of {len(maps)}" if len(maps) > 1 else ""
        yield FaceMap(f"{whose}{which}, {low:.3g} to {high:.3g}", _png(steps, grid, low, high))


def _png(steps: list[int], grid: int, low: float, high: float) -> str:
    values = low + np.array(steps, dtype=np.float64).reshape(grid, grid, 1) / 255 * (high - low)
    most = max(abs(low), abs(high)) or 1.0
    above, below = np.clip(values / most, 0, 1), np.clip(-values / most, 0, 1)
    zero = np.array(_ZERO)
    rgb = zero + above * (np.array(_ABOVE) - zero) + below * (np.array(_BELOW) - zero)
    made, png = cv2.imencode(".png", np.rint(rgb[:, :, ::-1]).astype(np.uint8))
    if not made:
        raise ContractError("a map could not be drawn", "scan without --explain")
    return base64.b64encode(png.tobytes()).decode("ascii")


def _landmarks(frame: Mapping[str, Any], run: RunInfo) -> tuple[tuple[float, float], ...]:
    # The landmarks lie alike only in crops that are cut alike.
    recipes = {model.recipe for model in run.models.values()}
    recipe = recipes.pop() if len(recipes) == 1 else None
    if recipe is None:
        return ()
    points = np.array(frame["landmarks"], dtype=np.float32)
    matrix = similarity(points, recipe.template)
    placed = (points @ matrix[:, :2].T + matrix[:, 2] + 0.5) / recipe.side
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in placed)
