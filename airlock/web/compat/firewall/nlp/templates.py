"""Policies to begin with, as `GET /admin/nlp-policies/templates` offers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airlock.web.compat.firewall.nlp.prompts import CONTENT_SAFETY, CUSTOM, INTENT, PII_DETECTION

TEMPLATES: tuple[Mapping[str, Any], ...] = (
    {
        "id": "content_safety",
        "name": "Harmful content",
        "description": "Stops content that is harmful, abusive or unfit for whoever would receive it.",
        "type": CONTENT_SAFETY,
        "threshold": 0.7,
        "prompt": None,
    },
    {
        "id": "pii_strict",
        "name": "Personal data",
        "description": "Stops any personal data or secret, a mail address or a telephone number too.",
        "type": PII_DETECTION,
        "threshold": 0.5,
        "prompt": None,
    },
    {
        "id": "pii_secrets",
        "name": "Secrets and numbers of persons",
        "description": "Stops keys, passwords, card, bank and identity numbers; lets mail addresses pass.",
        "type": PII_DETECTION,
        "threshold": 0.8,
        "prompt": None,
    },
    {
        "id": "exfiltration",
        "name": "Harmful intent",
        "description": "Stops what looks like taking data out, gaining rights or deceiving somebody.",
        "type": INTENT,
        "threshold": 0.6,
        "prompt": None,
    },
    {
        "id": "financial",
        "name": "Payments",
        "description": "Stops payments that look unusual, hurried or split up.",
        "type": CUSTOM,
        "threshold": 0.7,
        "prompt": "Judge how likely this moves money in a way that a careful bookkeeper would stop: a new or "
        "changed recipient, pressure of time, an amount split into parts, a purpose that does not fit.",
    },
    {
        "id": "legal",
        "name": "Promises",
        "description": "Stops messages that would bind the company.",
        "type": CUSTOM,
        "threshold": 0.7,
        "prompt": "Judge how likely this message makes a promise, grants a discount or a refund, or admits a "
        "fault in the name of the company.",
    },
)
