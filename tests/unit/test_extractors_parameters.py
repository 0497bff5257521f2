"""Parameters: strict, and refused in one line by their names."""

from __future__ import annotations

from typing import Any

import pytest
from telecine.extractors.image_extractor import ImageExtractor
from telecine.extractors.multimodal_extractor import MultimodalExtractor
from telecine.extractors.parameters import MultimodalParameters


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split_method": "mood"}, "parameters.split_method: .*'time', 'scene' or 'silence'"),
        ({"time_split_interval": 0.5}, "parameters.time_split_interval: "),
        ({"time_split_interval": "10"}, "parameters.time_split_interval: "),
        ({"scene_detection_threshold": 1.1}, "parameters.scene_detection_threshold: "),
        ({"silence_db_threshold": 3}, "parameters.silence_db_threshold: "),
        ({"transcription_language": "English"}, "parameters.transcription_language: "),
        ({"run_video_description": True}, "parameters.run_video_description: .*leave it false"),
        ({"max_pixels": 1}, "parameters.max_pixels: "),
        ({"device": "tpu"}, "parameters.device: "),
        ({"visual_model": "a\nb"}, "parameters.visual_model: "),
        ({"colour": "red"}, "parameters.colour: unknown; multimodal_extractor v1 has .*accurate"),
        ({"chunk_size": 200, "chunk_overlap": 150}, "chunk_overlap"),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        MultimodalExtractor.validate(given)
    assert "\n" not in str(caught.value)


def test_numbers_may_be_whole_and_what_is_off_may_be_said() -> None:
    MultimodalExtractor.validate({"time_split_interval": 30, "run_video_description": False})


def test_a_picture_extractor_has_no_parameters_of_films() -> None:
    with pytest.raises(ValueError, match="image_extractor v1 has"):
        ImageExtractor.validate({"split_method": "time"})


def test_models_whose_vectors_share_no_space_have_collections_of_their_own() -> None:
    keys = {
        MultimodalParameters.parse(given).model_key()
        for given in ({}, {"text_model": "a"}, {"visual_model": "a"}, {"speech_model": "tiny"})
    }
    assert len(keys) == 3, "the speech model makes no vectors"
