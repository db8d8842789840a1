"""Tells people by a POST of JSON, which goes inside only where the config names the address itself."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl

from airlock.config import NotifyConfig
from airlock.model import ApprovalRequest
from airlock.notify.news import What, facts
from airlock.posting import FAILURES, TEMPORARY, Target, Undeliverable, post

log = logging.getLogger("airlock.notify")

TIME_LIMIT = 10.0
ATTEMPTS = 3


class WebhookNotifier:
    """Posts each piece of news, trying again a little later when the other side is busy."""

    def __init__(
        self,
        config: NotifyConfig,
        *,
        seconds: float = TIME_LIMIT,
        pause: float = 1.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = config.url
        self._headers = config.headers
        self._seconds = seconds
        self._pause = pause
        self._tls = tls

    async def opened(self, request: ApprovalRequest) -> None:
        """Tell that a request waits."""
        await self._tell("opened", request)

    async def settled(self, request: ApprovalRequest) -> None:
        """Tell that a request ended."""
        await self._tell("settled", request)

    async def _tell(self, what: What, request: ApprovalRequest) -> None:
        body = json.dumps(facts(what, request)).encode()
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause * 2 ** (attempt - 1))
            try:
                status = await post(
                    Target.of(self._url), self._revealed(), body, seconds=self._seconds, tls=self._tls
                )
            except Undeliverable as error:
                log.warning("notify: %s", error)
                return
            except FAILURES as error:
                problem = str(error) or type(error).__name__
                continue
            if status < 300:
                return
            problem = f"it answered {status}"
            if status not in TEMPORARY:
                break
        log.warning("notify: webhook `%s` not delivered: %s", self._shown(), problem)

    def _shown(self) -> str:
        """The address without its query, which often holds a key."""
        return self._url.partition("?")[0]

    def _revealed(self) -> dict[str, str]:
        return {name: value.reveal() for name, value in self._headers.items()}
