"""What commands import, loaded once into the server process that `tests.forked` forks."""

import gc
import importlib
import pkgutil

import deepscan
from deepscan.offline import import_onnxruntime

#: What commands import when they need it.
LATER = (
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
for name in (*LATER, *(module.name for module in pkgutil.walk_packages(deepscan.__path__, "deepscan."))):
    importlib.import_module(name)
# What is never collected is never written to, and so is shared with every command.
gc.collect()
gc.freeze()
