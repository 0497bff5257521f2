"""A document for every ten seconds of a film, with the vector of what is seen in them."""

import os

from mixpeek import FileTools, Mixpeek


def handler(event):
    mixpeek = Mixpeek(os.getenv("API_KEY"))
    file_url = mixpeek.file_url(event["bucket"], event["key"])
    video_chunks = FileTools.split_video(file_url, frame_interval=10)

    full_video = []

    for chunk in video_chunks:
        obj = {
            "embedding": mixpeek.embed.video(chunk, "mixpeek/vuse-generic-v1"),
            "start": chunk.start,
            "end": chunk.end,
        }
        full_video.append(obj)

    return full_video
