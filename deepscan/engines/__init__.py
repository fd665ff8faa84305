"""Running a model: ONNX Runtime, torch and TensorRT behind one protocol, and the export between them."""

from deepscan.engines.engine import Engine
from deepscan.registry import Registry

#: What can run a model's network. The order is that in which `auto` tries them.
ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    {
        "onnx": "deepscan.engines.onnx",
        "torch": "deepscan.engines.torch",
        "torch-compile": "deepscan.engines.compiled",
        "tensorrt": "deepscan.engines.tensorrt",
    },
)
