"""Asks a model over an OpenAI-compatible API: only at the address that the config names.

Bounded in time, in size and in how many questions are under way. No redirects. Whatever goes wrong is
`Unjudged`, whose text holds neither what was sent nor what came back.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from airlock import __version__
from airlock.config import JudgeConfig
from airlock.web.compat.firewall.nlp.prompts import Answer, Malformed, Messages, answer, request, said
from airlock.web.compat.firewall.turns import Full, Turns

if TYPE_CHECKING:
    import httpx2

LARGEST = 256 * 1024
MOST_WAITING = 64
"""So many questions of one agent wait; turns go round among the agents."""

_FORMS = ((True, True), (True, False), (False, False))
"""With a schema and a temperature, then without what a server may not know."""

_UNKNOWN_FORM = frozenset({400, 422})


class Unjudged(Exception):
    """Nobody can say what is to be thought of it; the text says why."""


class Endpoint:
    """One server of models."""

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._turns = Turns(most=MOST_WAITING, at_once=config.parallel)
        self._form = 0
        self._client: httpx2.AsyncClient | None = None

    async def ask(self, model: str, told: Messages, who: str) -> Answer:
        """What a model says to `who`, in time; Unjudged otherwise."""
        seconds = self.config.timeout_ms / 1000
        try:
            async with asyncio.timeout(seconds), self._turns.turn(who, seconds=seconds):
                return answer(said(await self._completion(model, told)))
        except Full:
            raise Unjudged("too many questions wait for its model") from None
        except TimeoutError:
            raise Unjudged("its model did not answer in time") from None
        except Malformed as error:
            raise Unjudged(f"the answer of its model {error}") from None

    async def _completion(self, model: str, told: Messages) -> object:
        """The first answer to a form that the server knows; that form is the first next time."""
        status = 0
        for form in range(self._form, len(_FORMS)):
            schema, steady = _FORMS[form]
            status, body = await self._post(request(model, told, schema=schema, steady=steady))
            if status == 200:
                self._form = form
                return _json(body)
            if status not in _UNKNOWN_FORM:
                break
        raise Unjudged(f"the server of its model answered {status}")

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        import httpx2

        try:
            async with self._http().stream(
                "POST", self.config.url + "/chat/completions", content=body
            ) as got:
                return got.status_code, await _bounded(got)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError):
            raise Unjudged("the server of its model cannot be reached") from None

    def _http(self) -> httpx2.AsyncClient:
        import httpx2

        if self._client is None:
            headers = {
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"airlock/{__version__}",
            }
            if self.config.api_key is not None:
                headers["Authorization"] = f"Bearer {self.config.api_key.reveal()}"
            self._client = httpx2.AsyncClient(
                headers=headers,
                timeout=self.config.timeout_ms / 1000,
                follow_redirects=False,
                limits=httpx2.Limits(max_connections=self.config.parallel, max_keepalive_connections=0),
            )
        return self._client


async def _bounded(got: httpx2.Response) -> bytes:
    data = bytearray()
    async for piece in got.aiter_raw():  # unpacked it could be any size
        data += piece
        if len(data) > LARGEST:
            raise Unjudged("the answer of its model is too large")
    return bytes(data)


def _json(body: bytes) -> object:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("is not JSON") from None
    return value
