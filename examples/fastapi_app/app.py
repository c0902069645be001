"""The chat inside somebody's FastAPI app: same process, same port, and its objects in the app's own routes.

uvicorn app:app            then http://127.0.0.1:8000/live/ and
curl -X POST 'http://127.0.0.1:8000/webhook?text=deployed'
"""

from __future__ import annotations

import sys
from pathlib import Path

from fastapi import FastAPI

import hubbub

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "chat"))
from chat import Line, Room, hub

app = FastAPI(lifespan=hub.lifespan)  # opens the data, runs the hub, drains at the end
app.mount("/live", hub.asgi())


@app.post("/webhook")
async def webhook(text: str) -> None:
    def add(root: hubbub.Root) -> None:
        room: Room = root.setdefault("room", Room())
        room.messages.append(Line("webhook", text, hubbub.now()))

    await hub.run(add)  # durable when it returns; the pages show it as any other line


@app.get("/count")
async def count() -> int:
    def lines(root: hubbub.Root) -> int:
        room: Room | None = root.get("room")
        return len(room.messages) if room is not None else 0

    return int(await hub.read(lines))
