"""`python -m telecine.dev.mux`: a Mux test server with films of yours, for trying Telecine out."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from telecine.dev.mux import MuxLibrary, MuxServer


def main() -> None:
    """Serves until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m telecine.dev.mux", description=__doc__)
    parser.add_argument("films", nargs="*", type=Path, help="each becomes an asset that is ready")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--passthrough", help="of every asset")
    parser.add_argument("--captions", type=Path, help="WebVTT in English, of every asset")
    given = parser.parse_args()
    captions = {"en": given.captions} if given.captions else None
    library = MuxLibrary()
    server = MuxServer(library, address=(given.host, given.port))
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with server:
        print(f"{server.url}, access_token_id {server.token_id}", flush=True)
        print(f"access_token_secret {server.token_secret}", flush=True)
        for film in given.films:
            ident = library.add(film, passthrough=given.passthrough, captions=captions)
            print(f"{ident}  {film}", flush=True)
        signal.sigwait(stop)


if __name__ == "__main__":
    main()
