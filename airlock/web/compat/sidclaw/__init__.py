"""SidClaw's API, as its clients call it: evaluate, approvals, traces, policies, agents, webhooks."""

from __future__ import annotations

from airlock.config import FaceConfig
from airlock.web.compat.face import Face
from airlock.web.compat.sidclaw import (
    agentroutes,
    approvals,
    evaluate,
    hookroutes,
    policyroutes,
    polling,
    reporting,
    traces,
    webhooks,
)
from airlock.web.compat.sidclaw.faults import render
from airlock.web.compat.sidclaw.words import FACE


def make_face(_: FaceConfig) -> Face:
    """This face."""
    return Face(
        name=FACE,
        routes=(
            *evaluate.ROUTES,
            *approvals.ROUTES,
            *polling.ROUTES,
            *traces.ROUTES,
            *reporting.ROUTES,
            *policyroutes.ROUTES,
            *agentroutes.ROUTES,
            *hookroutes.ROUTES,
        ),
        claims=("/api/v1/",),
        render=render,
        request_ids=True,
        announce=webhooks.announce,
        sign=webhooks.sign,
        retries=webhooks.RETRIES,
        events=webhooks.EVENTS,
    )
