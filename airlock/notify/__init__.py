"""Ways to tell people that something waits. A failure here is logged and never changes a verdict."""

from __future__ import annotations

from airlock.config import Config
from airlock.ports import Notifier


def make_notifiers(config: Config) -> list[Notifier]:
    """The notifiers of `notify:`, in the order of the config."""
    made: list[Notifier] = []
    for one in config.notify:
        if one.type == "command":
            from airlock.notify.command import CommandNotifier

            made.append(CommandNotifier(one))
        elif one.type == "webhook":
            from airlock.notify.webhook import WebhookNotifier

            made.append(WebhookNotifier(one))
        else:
            from airlock.notify.bell import BellNotifier

            made.append(BellNotifier())
    return made
