"""A server with the manners of Mux, for which no runnable one exists: for demo and tests."""

from telecine.dev.mux.library import MuxLibrary, SigningKey
from telecine.dev.mux.server import MuxServer
from telecine.dev.mux.webhooks import event, signature

__all__ = ["MuxLibrary", "MuxServer", "SigningKey", "event", "signature"]
