"""Engines that run a model (ONNX Runtime, torch, TensorRT), and the export to ONNX and 8 bits."""

from deepscan.engines.engine import Engine
from deepscan.registry import Registry

#: Name of an engine -> its class, in the order in which `auto` tries them.
ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    {
        "onnx": "deepscan.engines.onnx",
        "torch": "deepscan.engines.torch",
        "torch-compile": "deepscan.engines.compiled",
        "tensorrt": "deepscan.engines.tensorrt",
    },
)
