"""A process that answers ListObjectsV2 with pages from a folder: `replay.py FOLDER`.

It prints its port. Page N is asked for by the continuation token N, as the pages themselves say.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def main(folder: Path) -> None:
    pages = {path.stem: path.read_bytes() for path in folder.glob("*.xml")}

    class Replay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            token = parse_qs(urlsplit(self.path).query).get("continuation-token", ["0"])[0]
            body = pages[token]
            head = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + body)

        def log_message(self, *_: object) -> None:
            """Says nothing: a line a request would be measured, too."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Replay)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
