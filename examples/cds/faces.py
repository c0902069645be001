"""The CD database for those who speak HTTP or XML-RPC: one more peer, that only reads.

uvicorn faces:app          then   curl '127.0.0.1:8000/cds?word=bach'   and   http://127.0.0.1:8000/docs
python -c "import xmlrpc.client as x; print(x.ServerProxy('http://127.0.0.1:8100').find('bach'))"
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socketserver import ThreadingMixIn
from typing import Any
from xmlrpc.server import SimpleXMLRPCServer

import cds
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import hubbub

XML_RPC_PORT = int(os.environ.get("XML_RPC_PORT", "8100"))


class XMLRPCServer(ThreadingMixIn, SimpleXMLRPCServer):
    """A slow client keeps its own thread waiting only."""

    daemon_threads = True


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with hubbub.open(cds.HOST, read_only=True, wait_timeout_s=5) as space:
        app.state.space = space
        with XMLRPCServer(("127.0.0.1", XML_RPC_PORT), logRequests=False) as server:
            server.register_introspection_functions()

            def find(word: str = "") -> list[dict[str, Any]]:
                """Return the CDs that WORD occurs in."""
                return space.read(cds.find, word)

            server.register_function(find)
            serving = threading.Thread(target=server.serve_forever)
            serving.start()
            print(f"XML-RPC on http://127.0.0.1:{server.server_address[1]}", flush=True)
            try:
                yield
            finally:
                server.shutdown()
                serving.join()


app = FastAPI(title="CDs", lifespan=lifespan)


@app.get("/cds")
async def find(word: str = "") -> list[dict[str, Any]]:
    """Return the CDs that `word` occurs in."""
    space: hubbub.Space = app.state.space
    return await space.aread(cds.find, word)  # a load that has to wait doesn't block the loop


@app.exception_handler(hubbub.BrokenError)
async def away(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the database can't be reached at the moment"}, 503)
