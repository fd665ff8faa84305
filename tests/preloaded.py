"""Imports of all commands, loaded once in the server process that `tests.forked` forks."""

import gc
import importlib
import pkgutil

import deepscan
from deepscan.offline import import_onnxruntime
from tests.covered import let_decoders_end

#: Modules that commands import on demand.
ON_DEMAND = (
    "av",
    "cv2",
    "jinja2",
    "matplotlib.figure",
    "PIL.Image",
    "pydantic",
    "scipy.optimize",
    "sklearn.metrics",
)

import_onnxruntime()
let_decoders_end()
for name in (*ON_DEMAND, *(module.name for module in pkgutil.walk_packages(deepscan.__path__, "deepscan."))):
    importlib.import_module(name)
# Frozen objects are not written to by the garbage collector, so every command shares their memory.
gc.collect()
gc.freeze()
