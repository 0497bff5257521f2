"""Telecine keeps a Weaviate index of media in step with the places where the media live."""

__version__ = "0.1.0"
