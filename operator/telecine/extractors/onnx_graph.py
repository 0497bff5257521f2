"""Networks put together as ONNX graphs from their weights, and run on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from telecine.extractors.loading import cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    Weights = Mapping[str, NDArray[np.float32]]

_OPSET, _IR_VERSION = 17, 8
MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own fused operators, version 1."""


class Builder:
    """Nodes and weights of a graph in the making; each method returns its output's name."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = f"t{len(self._nodes)}"
        self._nodes.append(
            helper.make_node(op, list(inputs), [output], domain=domain, **attributes)
        )
        return output

    def constant(self, value: Any) -> str:
        """An array of numpy."""
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def model(self, name: str, **inputs: tuple[Any, Sequence[str | int]]) -> bytes:
        """The model whose output is that of the last node; `inputs` are numpy types and shapes."""
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        taken = [
            helper.make_tensor_value_info(
                key, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), dims
            )
            for key, (kind, dims) in inputs.items()
        ]
        given = helper.make_tensor_value_info(self._nodes[-1].output[0], TensorProto.FLOAT, None)
        constants = [numpy_helper.from_array(value, key) for key, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, name, taken, [given], constants)
        sets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        made = helper.make_model(graph, opset_imports=sets, ir_version=_IR_VERSION)
        return bytes(made.SerializeToString())


def session(model: bytes) -> InferenceSession:
    """Raises what ONNX Runtime raises for a model that it cannot read."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = cores()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
