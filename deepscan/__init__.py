"""Batch video forensics: which videos show a manipulated face, how sure that is, and why.

The Python API: `scan` and `read_records` give a `Record` for each video; `find_faces` and `load_detector`
find and score the faces of pictures. docs/python.md shows how.
"""

# As typing.TYPE_CHECKING, without importing typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from deepscan.api import read_records, read_run, record_schema, run_schema, scan
    from deepscan.cards import Calibration
    from deepscan.crop_recipe import CropRecipe
    from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError
    from deepscan.face_scoring import Detector, FoundFace, find_faces, load_detector
    from deepscan.outcomes import Status, Verdict
    from deepscan.records import (
        Credentials,
        EmptyFrame,
        ExplanationMaps,
        FaceQuality,
        FaceScore,
        Media,
        ModelResult,
        ModelScore,
        Record,
        SavedPicture,
        Shot,
        Track,
        TrackShot,
        UsedModel,
    )
    from deepscan.run_description import RunDescription
    from deepscan.version import __version__

__all__ = [
    "Calibration",
    "ContractError",
    "Credentials",
    "CropRecipe",
    "DeepscanError",
    "Detector",
    "EmptyFrame",
    "ExplanationMaps",
    "FaceQuality",
    "FaceScore",
    "FoundFace",
    "Media",
    "MissingError",
    "ModelResult",
    "ModelScore",
    "Record",
    "RunDescription",
    "SavedPicture",
    "Shot",
    "Status",
    "Track",
    "TrackShot",
    "UsageError",
    "UsedModel",
    "Verdict",
    "__version__",
    "find_faces",
    "load_detector",
    "read_records",
    "read_run",
    "record_schema",
    "run_schema",
    "scan",
]

#: Modules of the names that are not in `records`. They are imported on first use, so that `import deepscan`
#: stays light.
_OWNERS = {
    "scan": "api",
    "read_records": "api",
    "read_run": "api",
    "record_schema": "api",
    "run_schema": "api",
    "find_faces": "face_scoring",
    "load_detector": "face_scoring",
    "Detector": "face_scoring",
    "FoundFace": "face_scoring",
    "DeepscanError": "errors",
    "UsageError": "errors",
    "ContractError": "errors",
    "MissingError": "errors",
    "Status": "outcomes",
    "Verdict": "outcomes",
    "Calibration": "cards",
    "CropRecipe": "crop_recipe",
    "RunDescription": "run_description",
    "__version__": "version",
}


if not TYPE_CHECKING:
    # Hidden from type checkers, which would take every name for one that exists.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        module = importlib.import_module(f"{__name__}.{_OWNERS.get(name, 'records')}")
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
