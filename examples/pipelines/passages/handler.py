"""The paragraphs of a text, each with its vector and how many words it has."""

import os

from mixpeek import FileTools, Mixpeek
from words import count


def handler(event):
    mixpeek = Mixpeek(os.getenv("API_KEY"))
    file_url = mixpeek.file_url(event["bucket"], event["key"])
    for chunk in FileTools.split_text(file_url, chunk_size=600, overlap=0):
        yield {
            "text": chunk.text,
            "words": count(chunk.text),
            "embedding": mixpeek.embed.text(chunk.text),
        }
