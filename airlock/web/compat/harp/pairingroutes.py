"""The routes of pairing, and the shapes of what they say."""

from __future__ import annotations

from airlock.web import schemas
from airlock.web.compat.harp.faults import CONFLICT, ERROR, MALFORMED, NOT_FOUND
from airlock.web.compat.harp.pairings import STATES
from airlock.web.compat.harp.words import DECIDE, ID, SEE, SUBMIT, TEXT, TEXT_OR_NULL, wanted
from airlock.web.routes import Parameter, Reply, Route, Serve

STATE = {"type": "string", "enum": list(STATES)}
STATUS = schemas.record(
    {
        "pairingNonce": TEXT,
        "state": STATE,
        "responseJson": TEXT_OR_NULL,
        "routingToken": TEXT_OR_NULL,
        "expiresAt": schemas.TIME,
    }
)
CODE = {"pairingNonce": TEXT, "pairingCode": TEXT, "nonce": TEXT, "code": TEXT, "expiresAt": schemas.TIME}
ENFORCER = {
    "enforcerLabel": TEXT_OR_NULL,
    "workspaceName": TEXT_OR_NULL,
    "x25519PublicKey": TEXT_OR_NULL,
    "gatewayUrl": TEXT_OR_NULL,
}
KEYS = {
    "approverId": TEXT,
    "x25519PublicKey": TEXT,
    "publicKey": TEXT,
    "signerKeyId": TEXT,
    "deviceId": TEXT,
}
RESOLVED = schemas.record(
    {
        "pairingNonce": TEXT,
        "nonce": TEXT,
        "state": STATE,
        "enforcerId": TEXT,
        "deviceId": TEXT,
        "enforcerLabel": TEXT,
        "workspaceName": TEXT,
        "x25519PublicKey": TEXT_OR_NULL,
        "expiresAt": schemas.TIME,
    }
)


def routes(
    *,
    initiate: Serve,
    status: Serve,
    revoke: Serve,
    pre_generate: Serve,
    claim: Serve,
    resolve: Serve,
    complete: Serve,
) -> tuple[Route, ...]:
    """They, each with what serves it."""
    return (
        Route(
            method="POST",
            path="/v1/pairing/initiate",
            summary="Begin a pairing: a code of six characters, for ten minutes",
            scopes=SUBMIT,
            serve=initiate,
            body=wanted({"deviceId": TEXT, "enforcerId": ID}, **ENFORCER),
            error=ERROR,
            replies={
                200: Reply(
                    "the code, and the nonce to poll with",
                    schemas.record({**CODE, "deviceId": TEXT, "gatewayUrl": TEXT}),
                ),
                400: MALFORMED,
                409: CONFLICT,
            },
        ),
        Route(
            method="GET",
            path="/v1/pairing/{nonce}/status",
            summary="What became of a pairing",
            scopes=SEE,
            serve=status,
            parameters=(
                Parameter(name="nonce", place="path", schema=TEXT, description="The pairing's nonce."),
            ),
            error=ERROR,
            replies={200: Reply("its state", STATUS), 404: NOT_FOUND, 409: CONFLICT},
        ),
        Route(
            method="POST",
            path="/v1/pairing/revoke",
            summary="End a pairing by its routing token",
            scopes=SUBMIT | DECIDE,
            serve=revoke,
            body=wanted({"routingToken": TEXT}),
            error=ERROR,
            replies={
                200: Reply("ended", schemas.record({"status": {"const": "revoked"}, "enforcerId": TEXT})),
                400: MALFORMED,
                404: NOT_FOUND,
                409: CONFLICT,
            },
        ),
        Route(
            method="POST",
            path="/v1/pairing/pre-generate",
            summary="A person makes a pairing code, good for thirty minutes and for one claim",
            scopes=DECIDE,
            people=True,
            serve=pre_generate,
            body=wanted({}, workspaceName=TEXT_OR_NULL, **KEYS),
            error=ERROR,
            replies={200: Reply("the code", schemas.record(CODE)), 400: MALFORMED, 409: CONFLICT},
        ),
        Route(
            method="POST",
            path="/v1/pairing/claim",
            summary="An enforcer claims a code that was made before",
            scopes=SUBMIT,
            serve=claim,
            body=wanted({"pairingCode": TEXT, "enforcerId": ID}, deviceId=TEXT_OR_NULL, **ENFORCER),
            error=ERROR,
            replies={
                200: Reply("claimed, and paired where the approver's keys are known", STATUS),
                400: MALFORMED,
                404: NOT_FOUND,
                409: CONFLICT,
            },
        ),
        Route(
            method="GET",
            path="/v1/pairing/resolve/{code}",
            summary="An approver reads who wants to be paired",
            scopes=DECIDE,
            people=True,
            serve=resolve,
            parameters=(
                Parameter(name="code", place="path", schema=TEXT, description="The code, as it was told."),
            ),
            error=ERROR,
            replies={200: Reply("who", RESOLVED), 404: NOT_FOUND},
        ),
        Route(
            method="POST",
            path="/v1/pairing/complete",
            summary="An approver outside gives its keys",
            scopes=DECIDE,
            people=True,
            serve=complete,
            body=wanted({"approverId": ID}, pairingNonce=TEXT, nonce=TEXT, **KEYS),
            error=ERROR,
            replies={
                200: Reply("paired", STATUS),
                400: MALFORMED,
                404: NOT_FOUND,
                409: CONFLICT,
            },
        ),
    )
