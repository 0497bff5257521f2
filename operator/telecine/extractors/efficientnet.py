"""EfficientNet-Lite0 without its classifier, as an ONNX graph of weights that torch saved.

The architecture: Tan and Le, EfficientNet (arXiv 1905.11946), in the Lite variant of its authors:
no squeeze and excitation, ReLU6 throughout, stem and head of fixed size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from telecine.extractors.loading import made_once
from telecine.extractors.onnx_graph import Builder

if TYPE_CHECKING:
    from telecine.extractors.onnx_graph import Weights

#: Repeats, kernel, stride and expansion of each stage (table 1 of the paper).
_STAGES = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)
_EPSILON = 1e-3


def network(weights: Path) -> bytes:
    """The graph: `pictures` (N, 3, 224, 224) in, vectors (N, 1280) of length 1 out.

    Made once a machine, because reading the file takes torch.

    Raises:
        ImportError: torch or onnx is missing.
        OSError: the file cannot be read, or the cache not written.
    """
    path = made_once(
        "efficientnet-lite0", weights.stat().st_size, lambda to: _write(_read(weights), to)
    )
    return path.read_bytes()


def _read(path: Path) -> Weights:
    import torch

    loaded = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value.numpy() for name, value in loaded.items() if value.is_floating_point()}


class _Builder(Builder):
    def convolved(
        self, x: str, name: str, norm: str, *, stride: int = 1, active: bool = True
    ) -> str:
        """A convolution with its batch normalization folded into it, and ReLU6."""
        import numpy as np

        weight = self.weights[f"{name}.weight"]
        variance = self.weights[f"{norm}.running_var"]
        scale = self.weights[f"{norm}.weight"] / np.sqrt(variance + _EPSILON)
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * scale
        channels, per_group, kernel, _ = weight.shape
        x = self.node(
            "Conv",
            x,
            self.constant((weight * scale[:, None, None, None]).astype(np.float32)),
            self.constant(bias.astype(np.float32)),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            # The weights were trained with TensorFlow's `same` padding.
            auto_pad="SAME_UPPER",
            group=channels if per_group == 1 and channels > 1 and kernel > 1 else 1,
        )
        if not active:
            return x
        low, high = (self.constant(np.array(v, np.float32)) for v in (0.0, 6.0))
        return self.node("Clip", x, low, high)


def _write(weights: Weights, path: Path) -> None:
    import numpy as np

    build = _Builder(weights)
    x = build.convolved("pictures", "_conv_stem", "_bn0", stride=2)
    number = 0
    for repeats, _, stride, expansion in _STAGES:
        for turn in range(repeats):
            x = _block(build, x, f"_blocks.{number}", stride if turn == 0 else 1, expansion)
            number += 1
    x = build.convolved(x, "_conv_head", "_bn1")
    x = build.node("Flatten", build.node("GlobalAveragePool", x))
    build.node("LpNormalization", x, axis=1, p=2)
    shape = ("batch", 3, 224, 224)
    path.write_bytes(build.model("efficientnet_lite0", pictures=(np.float32, shape)))


def _block(build: _Builder, x: str, name: str, stride: int, expansion: int) -> str:
    """An inverted residual block."""
    inner = x
    if expansion != 1:
        inner = build.convolved(inner, f"{name}._expand_conv", f"{name}._bn0")
    inner = build.convolved(inner, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
    inner = build.convolved(inner, f"{name}._project_conv", f"{name}._bn2", active=False)
    channels = build.weights[f"{name}._project_conv.weight"].shape[0]
    entered = build.weights[
        f"{name}._expand_conv.weight" if expansion != 1 else f"{name}._depthwise_conv.weight"
    ].shape[1 if expansion != 1 else 0]
    return build.node("Add", inner, x) if stride == 1 and channels == entered else inner
