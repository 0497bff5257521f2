"""The models of one media extractor: which are on, which are off and why, and what they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from telecine.api.bucket import BlobType
from telecine.extractors import models
from telecine.extractors.models import ModelUnavailableError
from telecine.extractors.parameters import MediaParameters, MultimodalParameters

if TYPE_CHECKING:
    from telecine.extractors.ocr import TextRecognizer
    from telecine.extractors.speech import SpeechModel
    from telecine.extractors.visual import LikenessModel, VisualModel
    from telecine.planning.types import Document, Vector

T = TypeVar("T")


class MediaModels:
    """Models by need. One that nobody named and that cannot be had here turns its feature off;
    one that was named must be there.
    """

    def __init__(self, given: MediaParameters) -> None:
        self.given = given
        self._off: dict[str, str] = {}

    def speech(self) -> SpeechModel | None:
        from telecine.extractors.speech import load_speech_model

        given = self.given
        if not isinstance(given, MultimodalParameters) or not given.run_transcription:
            return None
        named = given.speech_model
        return self._or_off("transcription", named, lambda: load_speech_model(named, given.device))

    def recognizer(self) -> TextRecognizer | None:
        from telecine.extractors.ocr import load_text_recognizer

        if not self.given.run_ocr:
            return None
        named = self.given.ocr_model
        return self._or_off("ocr", named, lambda: load_text_recognizer(named))

    def visual(self) -> VisualModel | None:
        from telecine.extractors.visual import load_visual_model

        named, device = self.given.visual_model, self.given.device
        if not self.given.run_multimodal_embedding:
            return None
        return self._or_off("visual", named, lambda: load_visual_model(named, device))

    def likeness(self) -> LikenessModel | None:
        """Stands in for a visual model that cannot be had: pictures find pictures."""
        from telecine.extractors.visual import load_likeness_model

        if not self.given.run_multimodal_embedding or self.visual() is not None:
            return None
        return self._or_off("likeness", None, lambda: load_likeness_model(self.given.device))

    def _or_off(self, feature: str, named: str | None, load: Callable[[], T]) -> T | None:
        if feature in self._off:
            return None
        try:
            return load()
        except ModelUnavailableError as error:
            if named is not None:
                raise
            self._off[feature] = str(error)
            return None

    def features(self, kind: BlobType) -> dict[str, str]:
        """What is on and off for content of one type: `on`, `disabled` by a parameter, or `off: `
        and why. Loads the models that such content needs, and no others."""
        given, found = self.given, {"text": "on"}
        if kind in (BlobType.TEXT, BlobType.JSON):
            return found
        wanted: dict[str, tuple[bool, Callable[[], Any]]] = {}
        if isinstance(given, MultimodalParameters) and kind is not BlobType.IMAGE:
            wanted["transcription"] = (given.run_transcription, self.speech)
        if kind is not BlobType.AUDIO:
            wanted["ocr"] = (given.run_ocr, self.recognizer)
            wanted["visual"] = (given.run_multimodal_embedding, self.visual)
        for feature, (asked, load) in wanted.items():
            found[feature] = self._told(feature, asked, load)
        if found.get("visual", "on").startswith("off"):
            found["likeness"] = self._told("likeness", True, self.likeness)
        return found

    def _told(self, feature: str, asked: bool, load: Callable[[], Any]) -> str:
        if not asked:
            return "disabled"
        return "on" if load() is not None else f"off: {self._off[feature]}"

    def embed(self, documents: Sequence[Document]) -> None:
        """Fills the vectors from the texts and pictures that documents bring with them."""
        self._embed_texts(documents)
        pictured = [d for d in documents if d.pictures]
        if not pictured:
            return
        pictures = [p for d in pictured for p in d.pictures]
        for name, model in (("visual", self.visual()), ("likeness", self.likeness())):
            if model is None:
                continue
            vectors = iter(model.embed_pictures(pictures))
            for document in pictured:
                document.vectors[name] = mean([next(vectors) for _ in document.pictures])
        for document in pictured:
            document.pictures = []

    def _embed_texts(self, documents: Sequence[Document]) -> None:
        asked = [(d, name, text) for d in documents for name, ts in d.texts.items() for text in ts]
        if not asked:
            return
        vectors = self.text_vectors([text for _, _, text in asked], query=False)
        gathered: dict[tuple[int, str], list[Vector]] = {}
        for (document, name, _), vector in zip(asked, vectors, strict=True):
            gathered.setdefault((id(document), name), []).append(vector)
        for document in documents:
            for name in document.texts:
                document.vectors[name] = mean(gathered[id(document), name])
            document.texts = {}

    def text_vectors(self, texts: list[str], *, query: bool) -> list[list[float]]:
        """Raises ModelUnavailableError."""
        return models.embed(
            models.load_text_model(self.given.text_model, self.given.device),
            texts,
            prompt="",
            batch_size=self.given.batch_size,
            query=query,
        )


def mean(vectors: Sequence[Vector]) -> Vector:
    """The direction of the sum, of length 1."""
    if len(vectors) == 1:
        return vectors[0]
    import numpy as np

    total = np.sum(np.asarray(vectors, dtype=np.float64), axis=0)
    length = float(np.linalg.norm(total)) or 1.0
    result: list[float] = (total / length).tolist()
    return result
