"""`trl-entropy watch RUN...`: the page of a run while it trains, on this machine's address only."""

from __future__ import annotations

import argparse
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


ADDRESS = "127.0.0.1"


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the `watch` command to a parser's subcommands."""
    parser = subparsers.add_parser(
        "watch",
        help="serve a run's page while it trains",
        description=(
            f"Serve the page that `trl-entropy report` writes at http://{ADDRESS}:PORT, drawn anew whenever a browser "
            "loads it; it loads itself again every few seconds. Nothing outside this machine can reach it."
        ),
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="as for report; a run may begin later")
    parser.add_argument("--port", type=int, default=8421, help="(8421); 0 takes any free one")
    parser.add_argument("--every", type=int, default=30, metavar="SECONDS", help="between two loads (30)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Returns 0, or 2 where the port is taken."""
    try:
        server = make_server(args.runs, args.port, args.every)
    except (OSError, OverflowError) as error:
        print(f"trl-entropy watch: port {args.port}: {error}. Give another --port.", file=sys.stderr)
        return 2
    with server:
        print(f"http://{ADDRESS}:{server.server_port}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def make_server(runs: list[str], port: int, every: int) -> ThreadingHTTPServer:
    """The server, bound to this machine's own address and not yet serving.

    Raises:
        ValueError: If `every` is below 1.
        OSError: If the port is taken.
    """
    if every < 1:
        raise ValueError(f"--every is {every}: give at least 1 second.")

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A foreign page's name that resolves to this address must not read the run
            host = self.headers.get("Host", "").rpartition(":")[0]
            known = host in (ADDRESS, "localhost") and self.path == "/"
            body = page(runs, every).encode() if known else b""
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A line a request is no news."""

    return ThreadingHTTPServer((ADDRESS, port), Page)


def page(runs: list[str], every: int) -> str:
    """The runs' page as their files are; where there is nothing yet, one that says so. Both load themselves again."""
    from html import escape

    from ..report import page_of_paths
    from ..runlog import RunLogError

    try:
        return page_of_paths(runs, refresh=every)[0]
    except (RunLogError, OSError) as error:
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="{every}">'
            f"<title>Waiting</title><p>Nothing to draw yet: {escape(str(error))}</p></html>"
        )
