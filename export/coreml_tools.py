"""coremltools, without its warnings: that it cannot predict here, and was tested with an older torch.

That is why every package is evaluated after it was written.
"""

import logging

logging.getLogger("coremltools").setLevel(logging.ERROR)

import coremltools as coremltools  # noqa: E402
from coremltools.converters.mil.frontend.torch import ops as torch_ops  # noqa: E402
from coremltools.converters.mil.frontend.torch.torch_op_registry import (  # noqa: E402
    _TORCH_OPS_REGISTRY as TORCH_OPERATORS,
)
from coremltools.proto import MIL_pb2, Model_pb2  # noqa: E402

__all__ = ["TORCH_OPERATORS", "MIL_pb2", "Model_pb2", "coremltools", "torch_ops"]
