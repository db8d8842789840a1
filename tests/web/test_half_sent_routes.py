"""A body that does not come before the gateway ends, on every route that reads one, the sister APIs' too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airlock.web.app import build_app, whole_table
from airlock.web.compat import faces_for
from airlock.web.routes import Route
from tests.support.gates import open_gate
from tests.support.gateways import SECRET
from tests.support.listeners import connected, turns

pytestmark = pytest.mark.anyio

POLICY = f"""
server: {{api_secret: {SECRET}}}
agents: {{one: {{}}}}
"""
FACES = ("agentgate", "sidclaw", "firewall", "harp")


def half(route: Route) -> bytes:
    path = re.sub(r"\{[^}]*\}", "x", route.path)
    names = ("Authorization: Bearer", "X-API-Key:")
    lines = [f"{route.method} {path} HTTP/1.1", "Host: localhost", *(f"{name} {SECRET}" for name in names)]
    return "\r\n".join([*lines, "Content-Length: 90", "", '{"a": ']).encode()


@pytest.mark.parametrize("face", ["", *FACES])
async def test_a_body_that_does_not_come_is_503_in_the_shape_of_its_api(tmp_path: Path, face: str) -> None:
    async with open_gate(tmp_path, POLICY + (f"compat: [{face}]\n" if face else "")) as gate:
        app = build_app(gate, keys=gate.store)  # type: ignore[arg-type]
        reading = [one for one in whole_table(faces_for(gate.config)) if one.body is not None]
        told = 0
        for route in reading:
            connection, line = connected(app)
            connection.data_received(half(route))
            await turns(30)
            if connection._unstarted:
                connection._start_unstarted()
                await turns(30)
            early = line.out
            connection.shutdown()
            connection._end_bodies()
            await turns(30)
            assert line.closed, route.path
            head, _, body = (line.out or early).partition(b"\r\n\r\n")
            status = int(head.split()[1])
            assert status in {200 if route.path == "/hook" else 503, 401, 503}, (route.path, status, body)
            if status == 503:
                told += 1
                assert b"retry-after: 1" in head.lower(), route.path
                assert "the gateway is ending" in json.dumps(json.loads(body)), route.path
            connection.connection_lost(None)
        assert told >= len(reading) - 2  # the hook's deny, and a 401 that needs no body
        await app.state.drain(0)
