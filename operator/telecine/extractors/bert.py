"""BERT sentence encoders on ONNX Runtime: the vectors of sentence-transformers without torch.

Importing torch and sentence-transformers takes a worker 10 to 20 seconds of processor time, which
is more than most runs' whole work. The BERT family (MiniLM, BGE, E5, GTE and their like) is small
enough to be put together here from the weights themselves. Every other model takes the usual way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from telecine.extractors.onnx_graph import MICROSOFT, Builder, session

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from telecine.extractors.onnx_graph import Weights

_MODULES = ("Transformer", "Pooling", "Normalize")
_PREFIXES = ("", "bert.")
_POOLING = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
_LENGTHS = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("tokenizer_config.json", "model_max_length"),
)
"""Where the longest input in tokens is told."""
_ACTIVATIONS = frozenset({"gelu"})
_QUERY_PROMPTS, _DOCUMENT_PROMPTS = ("query",), ("document", "passage", "corpus")


def reads(folder: Path) -> bool:
    """Whether a sentence-transformers model in a directory is a BERT that this module can run."""
    try:
        config, modules = _json(folder / "config.json"), _json(folder / "modules.json")
        kinds = tuple(str(m["type"]).rpartition(".")[2] for m in modules)
        pooling = _pooling(folder, modules) if kinds == _MODULES[: len(kinds)] else ""
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") in _ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and len(kinds) >= 2
        and bool(pooling)
        and modules[0]["path"] == ""
        and (folder / "model.safetensors").is_file()
        and (folder / "tokenizer.json").is_file()
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _pooling(folder: Path, modules: Any) -> str:
    """`cls` or `mean`; empty for any other, for several at once, and where prompts are left out.

    sentence-transformers wrote a flag for each mode before version 6, and writes a name since.
    """
    config = _json(folder / modules[1]["path"] / "config.json")
    if not config.get("include_prompt", True):
        return ""
    if "pooling_mode" in config:
        named = config["pooling_mode"]
        return named if named in _POOLING.values() else ""
    on = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
    return _POOLING.get(on[0], "") if len(on) == 1 else ""


class BertEncoder:
    """One model, loaded; `encode` may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises what reading the files and ONNX Runtime raise: OSError, ValueError, ..."""
        config = _json(folder / "config.json")
        pooling = _pooling(folder, _json(folder / "modules.json"))
        self.dimensions = int(config["hidden_size"])
        self._prompts = _prompts(folder)
        self._tokenizer = _tokenizer(folder, config)
        self._session = session(_graph(_weights(folder), config, pooling))

    def encode(
        self, texts: Sequence[str], *, prompt: str = "", batch_size: int = 32, query: bool = False
    ) -> list[list[float]]:
        """Vectors of length 1, in the order of the texts.

        Without a `prompt` the model's own for queries or documents is put before each text.
        """
        import numpy as np

        before = prompt or self._prompts["query" if query else "document"]
        tokens = self._tokenizer.encode_batch([before + text for text in texts])
        # Batches of one length waste nothing on padding.
        order = sorted(range(len(texts)), key=lambda i: -len(tokens[i].ids))
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for at in range(0, len(order), batch_size):
            chosen = order[at : at + batch_size]
            width = len(tokens[chosen[0]].ids)
            ids = np.zeros((len(chosen), width), np.int64)
            mask = np.zeros((len(chosen), width), np.int32)
            for row, index in enumerate(chosen):
                length = len(tokens[index].ids)
                ids[row, :length] = tokens[index].ids
                mask[row, :length] = 1
            vectors[chosen] = self._session.run(None, {"ids": ids, "mask": mask})[0]
        found: list[list[float]] = vectors.tolist()
        return found


def _prompts(folder: Path) -> dict[str, str]:
    path = folder / "config_sentence_transformers.json"
    config = _json(path) if path.is_file() else {}
    given: dict[str, str] = config.get("prompts") or {}
    default = given.get(config.get("default_prompt_name") or "", "")
    return {
        kind: next((given[name] for name in names if given.get(name)), default)
        for kind, names in (("query", _QUERY_PROMPTS), ("document", _DOCUMENT_PROMPTS))
    }


def _tokenizer(folder: Path, config: Any) -> Tokenizer:
    from tokenizers import Tokenizer

    told = [int(config["max_position_embeddings"])]
    for file, name in _LENGTHS:
        path = folder / file
        told += [int(n)] if path.is_file() and (n := _json(path).get(name)) else []
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(min(told))
    return tokenizer


def _weights(folder: Path) -> Weights:
    """By their names in BertModel, as float32."""
    import numpy as np
    from safetensors.numpy import load_file

    loaded = load_file(folder / "model.safetensors")
    prefix = next(p for p in _PREFIXES if f"{p}embeddings.word_embeddings.weight" in loaded)
    return {
        name.removeprefix(prefix): np.ascontiguousarray(value, np.float32)
        for name, value in loaded.items()
        if name.startswith(prefix) and value.dtype.kind == "f"
    }


class _Builder(Builder):
    def weight(self, name: str, *, transposed: bool = False) -> str:
        value = self.weights[name]
        return self.constant(value.T.copy() if transposed else value)

    def product(self, inputs: str, name: str) -> str:
        """x W^T, as torch's Linear has its weights; the bias is left to the operator after it."""
        return self.node("MatMul", inputs, self.weight(f"{name}.weight", transposed=True))

    def normalized(self, inputs: str, name: str, epsilon: float) -> str:
        weights = (self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))
        return self.node("LayerNormalization", inputs, *weights, epsilon=epsilon, axis=-1)

    def added(self, inputs: str, residual: str, name: str, bias: str, epsilon: float) -> str:
        """Sum, bias and layer normalization in one operator."""
        weights = (self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), self.weight(bias))
        return self.node(
            "SkipLayerNormalization",
            inputs, residual, *weights, domain=MICROSOFT, epsilon=epsilon,
        )  # fmt: skip


def _graph(weights: Weights, config: Any, pooling: str) -> bytes:
    """Token ids and mask in, unit vectors out."""
    import numpy as np

    build = _Builder(weights)
    hidden = _embedded(build, float(config["layer_norm_eps"]))
    for number in range(int(config["num_hidden_layers"])):
        hidden = _layer(build, f"encoder.layer.{number}", hidden, config)
    pooled = _pooled(build, hidden, pooling)
    length = build.node("ReduceL2", pooled, axes=[1], keepdims=1)
    least = build.constant(np.array(1e-12, np.float32))
    build.node("Div", pooled, build.node("Max", length, least))
    shape = ("batch", "length")
    return build.model("bert", ids=(np.int64, shape), mask=(np.int32, shape))


def _embedded(build: _Builder, epsilon: float) -> str:
    words = build.node("Gather", build.weight("embeddings.word_embeddings.weight"), "ids")
    length = build.node("Shape", "ids", start=1, end=2)
    positions = build.node(
        "Slice",
        build.weight("embeddings.position_embeddings.weight"),
        build.constant(_ints(0)),
        length,
    )
    # There is one sentence: every token is of type 0.
    first = build.constant(build.weights["embeddings.token_type_embeddings.weight"][0])
    placed = build.node("Add", build.node("Add", words, positions), first)
    return build.normalized(placed, "embeddings.LayerNorm", epsilon)


def _layer(build: _Builder, name: str, hidden: str, config: Any) -> str:
    import numpy as np

    epsilon = float(config["layer_norm_eps"])
    attention = f"{name}.attention.self"
    parts = ("query", "key", "value")
    matrix = np.concatenate([build.weights[f"{attention}.{p}.weight"].T for p in parts], axis=1)
    bias = np.concatenate([build.weights[f"{attention}.{p}.bias"] for p in parts])
    attended = build.node(
        "Attention",
        hidden, build.constant(matrix), build.constant(bias), "mask",
        domain=MICROSOFT, num_heads=int(config["num_attention_heads"]),
    )  # fmt: skip
    dense = build.product(attended, f"{name}.attention.output.dense")
    norm = f"{name}.attention.output.LayerNorm"
    hidden = build.added(dense, hidden, norm, f"{name}.attention.output.dense.bias", epsilon)
    inner = build.product(hidden, f"{name}.intermediate.dense")
    bias_name = build.weight(f"{name}.intermediate.dense.bias")
    inner = build.node("BiasGelu", inner, bias_name, domain=MICROSOFT)
    dense = build.product(inner, f"{name}.output.dense")
    norm = f"{name}.output.LayerNorm"
    return build.added(dense, hidden, norm, f"{name}.output.dense.bias", epsilon)


def _pooled(build: _Builder, hidden: str, pooling: str) -> str:
    if pooling == "cls":
        return build.node("Gather", hidden, build.constant(_ints(0)[0]), axis=1)
    weights = build.node("Cast", "mask", to=1)
    kept = build.node("Mul", hidden, build.node("Unsqueeze", weights, build.constant(_ints(2))))
    total = build.node("ReduceSum", kept, build.constant(_ints(1)), keepdims=0)
    count = build.node("ReduceSum", weights, build.constant(_ints(1)), keepdims=1)
    return build.node("Div", total, count)


def _ints(*values: int) -> Any:
    import numpy as np

    return np.array(values, np.int64)
