"""The Agent Action Firewall: actions of agents, policies that judge them, people who approve them.

An action is a request like any other: `firewall/TOOL/OPERATION` in the policy, in the queue with a code, in
history. Who sends `X-Agent-Key` is an agent; what people do takes `Authorization: Bearer`.
"""

from __future__ import annotations

from airlock.config import FaceConfig
from airlock.web.compat.face import Face
from airlock.web.compat.firewall import actions, approvals, history, trial
from airlock.web.compat.firewall.faults import render
from airlock.web.compat.firewall.nlp import routes as nlp
from airlock.web.compat.firewall.rego import routes as rego
from airlock.web.compat.firewall.words import ADMIN_PER_MINUTE, FACE

CLAIMS = ("/v1/actions", "/v1/approvals", "/v1/dry-run", "/admin/")


def make_face(_: FaceConfig) -> Face:
    """This face."""
    return Face(
        name=FACE,
        routes=(
            *actions.ROUTES,
            *approvals.ROUTES,
            *trial.ROUTES,
            *rego.ROUTES,
            *nlp.ROUTES,
            *history.ROUTES,
        ),
        claims=CLAIMS,
        render=render,
        per_minute=ADMIN_PER_MINUTE,
    )
