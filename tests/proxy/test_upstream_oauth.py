"""Logging in at upstreams: a real authorization server, a real protected server, real redirects."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from airlock import logins
from airlock.config import OAuthConfig, ProviderConfig
from airlock.errors import NotPermitted, UpstreamError, UsageError
from airlock.ids import now_ms
from airlock.proxy.link import Facing
from airlock.proxy.login.guard import Guard, GuardedTransport, guarded_client
from airlock.proxy.login.oauth import Bearer, Keeper, LoginNeeded, with_tokens
from airlock.proxy.login.redirect import Landing
from airlock.proxy.login.tokens import Login, TokenFile
from airlock.reach import reach
from support.logins import SECONDS, Browser, Site, site, visit
from support.upstreams import LEGACY, MODERN, at_once, call, running

pytestmark = pytest.mark.anyio

EITHER = pytest.mark.parametrize("facing", [LEGACY, MODERN], ids=["legacy", "modern"])


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as found:
        yield found


@pytest.fixture(autouse=True)
def usual(place: Site) -> None:
    place.behave()


async def logged_in(provider: ProviderConfig) -> Browser:
    browser = Browser()
    await logins.login(provider, browser, seconds=SECONDS)
    assert (await browser.visits[-1])[0] == 200
    return browser


def aged(provider: ProviderConfig, **changes: Any) -> Login:
    """The kept login as it will be later."""
    file = TokenFile(provider)
    found = file.read()
    assert found is not None
    changed = replace(found, **changes)
    file.write(changed)
    return changed


async def token_sent(provider: ProviderConfig, facing: Facing = LEGACY) -> str:
    """The token that reaches the server."""
    async with running(provider, facing) as (upstream, _):
        said: str = (await call(upstream, "who"))["content"][0]["text"]
        return said.removeprefix("Bearer ")


# -- a person in the browser -----------------------------------------------------------------------


@EITHER
async def test_after_a_login_calls_carry_its_token(place: Site, facing: Facing) -> None:
    provider = place.provider()
    await logged_in(provider)
    assert await token_sent(provider, facing) in place.seen("access")


async def test_a_login_sends_pkce_state_and_resource_and_registers_airlock(place: Site) -> None:
    browser = await logged_in(place.provider())
    asked = {name: values[0] for name, values in parse_qs(urlsplit(browser.shown[0]).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["state"]) > 20
    assert asked["resource"] == place.mcp
    assert urlsplit(asked["redirect_uri"]).hostname == "127.0.0.1"
    assert place.seen("registrations")[-1]["client_name"] == "Airlock"
    assert place.seen("grants")[-1]["resource"] == place.mcp


async def test_a_client_of_the_config_is_not_registered_and_asks_for_its_scopes(place: Site) -> None:
    before = len(place.seen("registrations"))
    browser = await logged_in(place.provider(client_id="known", scope="write"))
    assert "client_id=known" in browser.shown[0]
    assert "scope=write&" in browser.shown[0] + "&"
    assert len(place.seen("registrations")) == before


async def test_a_provider_without_a_login_is_broken_and_says_the_command(place: Site) -> None:
    async with running(place.provider("fresh"), ready=False) as (upstream, _):
        assert upstream.state.reason == "it needs a login: run `airlock login fresh`"


async def test_a_server_that_wants_a_login_that_the_config_does_not_know_says_what_to_do(place: Site) -> None:
    plain = replace(place.provider(), oauth=None)
    async with running(plain, ready=False) as (upstream, _):
        assert "set `oauth: true` for this provider and run `airlock login docs`" in upstream.state.reason


async def test_a_running_upstream_finds_the_login_that_somebody_makes(place: Site) -> None:
    provider = place.provider()
    async with running(provider, ready=False, backoff=at_once()) as (upstream, listener):
        await logged_in(provider)
        await listener.until(lambda: upstream.state.phase == "ready")


async def test_what_the_person_refuses_is_no_login(place: Site) -> None:
    place.behave(deny=True)
    with pytest.raises(NotPermitted, match="was refused: not") as refused:
        await logins.login(place.provider("no"), Browser(), seconds=SECONDS)
    assert "\n" not in str(refused.value)
    assert TokenFile(place.provider("no")).read() is None


async def test_nobody_who_comes_ends_the_wait_after_its_time(place: Site) -> None:
    shown: list[str] = []
    with pytest.raises(UpstreamError, match="nobody logged in at `docs` within"):
        await logins.login(place.provider(), shown.append, seconds=1)
    port = urlsplit(parse_qs(urlsplit(shown[0]).query)["redirect_uri"][0]).port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_left_unless_it_is_registered(place: Site) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken:
        await logged_in(place.provider(callback_port=port))
        with pytest.raises(UsageError, match="oauth_callback_port"):
            await logged_in(place.provider(client_id="known", callback_port=port))


async def test_a_logout_forgets_the_login_and_revokes_it(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    kept = TokenFile(provider).read()
    assert kept is not None
    assert await logins.logout(provider)
    assert not await logins.logout(provider)
    assert kept.refresh_token in place.seen("revoked")
    assert not TokenFile(provider).path.exists()


# -- renewing --------------------------------------------------------------------------------------


async def test_a_token_that_ends_soon_is_renewed_also_after_a_restart(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    old = aged(provider, renew_at=1, expires_at=now_ms() + 60_000)
    sent = await token_sent(provider)
    assert sent != old.access_token
    fresh = TokenFile(provider).read()
    assert fresh is not None
    assert fresh.access_token == sent
    assert fresh.refresh_token != old.refresh_token


async def test_a_token_that_is_refused_is_renewed_once_and_the_call_goes_through(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    async with running(provider) as (upstream, _):
        before = (await call(upstream, "who"))["content"][0]["text"]
        place.behave(forget="access")
        after = (await call(upstream, "who"))["content"][0]["text"]
        assert before != after


async def test_a_login_that_has_ended_breaks_the_provider_with_the_command(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    async with running(provider) as (upstream, listener):
        place.behave(forget=True)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        upstream.request("tools/call", {"name": "who", "arguments": {}}, answer.set_result)
        async with asyncio.timeout(SECONDS):
            assert "run `airlock login docs`" in (await answer)["error"]["message"]
        await listener.until(lambda: upstream.state.phase == "broken")
        assert "its login has ended" in upstream.state.reason


async def test_while_the_authorization_server_is_down_a_token_is_used_to_its_end(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    old = aged(provider, renew_at=1, expires_at=now_ms() + 60_000)
    place.behave(down=True)
    assert await token_sent(provider) == old.access_token
    aged(provider, expires_at=1)
    async with running(provider, ready=False) as (upstream, _):
        assert "HTTP 503" in upstream.state.reason


async def test_a_login_is_renewed_once_whoever_asks(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    aged(provider, renew_at=1)
    before = len(place.seen("grants"))
    keepers = [Keeper(provider) for _ in range(4)]  # as four processes have them
    found = await asyncio.gather(*(keeper.current() for keeper in keepers for _ in range(3)))
    assert len({one.access_token for one in found}) == 1
    assert len(place.seen("grants")) == before + 1


RENEW = """
import asyncio, json, sys
from airlock.config import OAuthConfig, ProviderConfig
from airlock.proxy.login.oauth import Keeper
one = ProviderConfig(name="docs", type="http", url=sys.argv[1], oauth=OAuthConfig(callback_port=0))
print(asyncio.run(Keeper(one).current()).access_token)
"""


async def test_two_processes_renew_one_after_the_other(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    aged(provider, renew_at=1)
    before = len(place.seen("grants"))

    def other() -> str:
        words = [sys.executable, "-c", RENEW, place.mcp]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    assert len(set(await asyncio.gather(asyncio.to_thread(other), asyncio.to_thread(other)))) == 1
    assert len(place.seen("grants")) == before + 1


# -- client credentials ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["basic", "post"])
async def test_client_credentials_need_nobody(place: Site, way: str) -> None:
    place.behave(secret_in=way)
    provider = place.robot()
    assert await token_sent(provider) in place.seen("access")
    place.behave(secret_in=way, forget=True)
    assert await token_sent(provider) in place.seen("access")


async def test_wrong_client_credentials_are_told(place: Site) -> None:
    provider = place.robot()
    wrong = replace(provider, oauth=replace(provider.oauth or OAuthConfig(), client_id="stranger"))
    async with running(wrong, ready=False) as (upstream, _):
        assert "invalid_client" in upstream.state.reason


# -- attacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"issuer": "https://bank.example"}, "issuer mismatch"),
        ({"iss": "https://bank.example"}, "iss mismatch"),
    ],
)
async def test_a_login_stops_at_whoever_claims_to_be_another(
    place: Site, rules: dict[str, Any], said: str
) -> None:
    place.behave(**rules)
    before = len(place.seen("grants"))
    with pytest.raises(NotPermitted, match=said):
        await logins.login(place.provider(), Browser(), seconds=SECONDS)
    assert len(place.seen("grants")) == before


@pytest.mark.parametrize(
    "rules",
    [
        {"prm": "http://192.0.2.1/"},
        {"authorize": "http://bank.example/authorize"},
        {"authorize": "file:///etc/passwd"},
        {"token_url": "http://bank.example/token"},
    ],
    ids=str,
)
async def test_an_address_that_is_not_of_the_web_is_never_opened(place: Site, rules: dict[str, Any]) -> None:
    place.behave(**rules)
    browser = Browser()
    with pytest.raises((UpstreamError, NotPermitted)):
        await logins.login(place.provider(), browser, seconds=SECONDS)
    assert [one for one in browser.shown if not one.startswith(place.login)] == []
    await asyncio.gather(*browser.visits)


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.7/x",
        "https://169.254.169.254/latest",
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.7]/x",
        "https://[64:ff9b::a00:7]/x",
        "http://127.0.0.1/x",
        "http://93.184.216.34/x",
        "https://user:word@93.184.216.34/x",
        "ftp://93.184.216.34/x",
    ],
)
async def test_a_login_never_leads_further_inside_than_the_server(url: str) -> None:
    with pytest.raises(UpstreamError, match="refused"):
        await Guard("https://93.184.216.34/mcp").address(httpx2.URL(url))


async def test_a_server_inside_may_have_its_login_inside_but_not_on_this_machine() -> None:
    guard = Guard("https://10.0.0.7/mcp")
    assert await guard.address(httpx2.URL("https://10.0.0.8/token")) == "10.0.0.8"
    assert await guard.address(httpx2.URL("https://93.184.216.34/token")) == "93.184.216.34"
    assert [reach(one) for one in ("127.0.0.1", "fe80::1%eth0", "8.8.8.8", "2606:4700::1")] == [0, 1, 2, 2]
    with pytest.raises(UpstreamError, match="inner address"):
        await guard.address(httpx2.URL("https://127.0.0.1/token"))


async def test_the_address_that_was_checked_is_the_one_that_is_used(
    place: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def once(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr("airlock.proxy.login.guard.addresses", once)
    port = urlsplit(place.login).port
    guard = Guard("http://127.0.0.1/")
    async with httpx2.AsyncClient(transport=GuardedTransport(guard)) as http:
        found = await http.get(f"http://localhost:{port}/.well-known/oauth-authorization-server")
    assert found.status_code == 200
    assert found.request.url.host == "localhost"
    assert asked[0] == "localhost"
    assert asked.count("localhost") == 1  # resolved once: there is no second answer to change


async def test_behind_a_proxy_the_text_of_an_address_is_still_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with guarded_client(Guard("https://93.184.216.34/mcp")) as http:
        with pytest.raises(UpstreamError, match="not https"):
            await http.get("http://93.184.216.34/")


async def test_a_redirected_token_request_is_not_followed_elsewhere(place: Site) -> None:
    heard: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.close()

    thief = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with thief:
        place.behave(moved=f"http://127.0.0.1:{thief.sockets[0].getsockname()[1]}/token")
        with pytest.raises(NotPermitted):
            await logins.login(place.provider(), Browser(), seconds=SECONDS)
        place.behave()
        provider = place.provider()
        await logged_in(provider)
        aged(provider, renew_at=1, expires_at=1)
        place.behave(moved=f"http://127.0.0.1:{thief.sockets[0].getsockname()[1]}/token")
        with pytest.raises(UpstreamError):
            await Keeper(provider).current()
    assert heard == []


async def test_only_the_answer_with_our_state_ends_the_wait() -> None:
    landing = Landing()
    async with landing.listening(0, may_move=False):
        base = f"http://127.0.0.1:{landing.port}"

        async def come(path: str) -> int:
            return (await asyncio.to_thread(visit, base + path))[0]

        assert await come("/callback?code=x&state=") == 400  # nothing is waited for yet
        landing.state = "mine"
        assert await come("/callback?code=x&state=theirs") == 400
        assert await come("/callback?code=x&state=mine&state=theirs") == 400
        assert await come("/elsewhere?code=x&state=mine") == 404
        reader, writer = await asyncio.open_connection("127.0.0.1", landing.port)
        writer.write(b"GET /callback?code=x&state=mine HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert b" 421 " in await reader.readline()
        writer.close()
        waiting = asyncio.ensure_future(landing.answer())
        assert not waiting.done()
        status, page = await asyncio.to_thread(visit, base + "/callback?code=<script>&state=mine")
        assert status == 200
        assert "<script>" not in page
        assert (await waiting)["code"] == "<script>"


async def test_a_login_is_bound_to_the_providers_name_address_and_client(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    assert TokenFile(provider).read() is not None
    moved = replace(provider, url=place.mcp.replace("127.0.0.1", "localhost"))
    for other in (moved, replace(provider, name="other"), place.provider(client_id="known")):
        assert TokenFile(other).read() is None
    TokenFile(moved).path.write_bytes(TokenFile(provider).path.read_bytes())
    assert TokenFile(moved).read() is None


async def test_a_token_goes_to_the_providers_own_origin_only(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    bearer = Bearer(provider, Keeper(provider))
    for url, carried in ((place.mcp, True), (place.login + "/mcp", False), ("https://x.example/", False)):
        flow = bearer.async_auth_flow(httpx2.Request("POST", url))
        request = await anext(flow)
        assert ("authorization" in request.headers) is carried
        await flow.aclose()


async def test_tokens_lie_in_a_private_file_and_never_print(place: Site) -> None:
    provider = place.provider()
    await logged_in(provider)
    path = TokenFile(provider).path
    kept = TokenFile(provider).read()
    assert kept is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.is_relative_to(os.environ["AIRLOCK_STATE_DIR"])
    assert kept.access_token not in repr(kept)
    assert kept.refresh_token not in repr(kept)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"bound_to": 1}', '{"access_token": 1}'])
async def test_a_damaged_file_is_no_login(place: Site, text: str) -> None:
    file = TokenFile(place.provider())
    file.path.write_text(text)
    assert file.read() is None
    with pytest.raises(LoginNeeded):
        await Keeper(place.provider()).current()


@pytest.mark.parametrize(
    "found",
    [{"access_token": "a b"}, {"access_token": "a\r\nX: y"}, {"access_token": "a", "token_type": "mac"}],
)
def test_what_is_no_bearer_token_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError):
        with_tokens(Login(), found, 0)


@pytest.mark.parametrize(
    ("life", "renew", "end"), [(3600, 3_300_000, 3_600_000), (60, 30_000, 60_000), (None, 0, 0), ("x", 0, 0)]
)
def test_a_token_is_renewed_before_its_end(life: Any, renew: int, end: int) -> None:
    found = with_tokens(Login(), {"access_token": "a", "expires_in": life}, 0)
    assert (found.renew_at, found.expires_at) == (renew, end)


SLOW = Path(__file__).parents[1] / "fixtures" / "slow_json_server.py"


async def test_slow_answers_of_a_json_server_do_not_wait_for_one_another(place: Site) -> None:
    """With a lock around each request the second call would never be heard, and the first never answered."""
    process = subprocess.Popen([sys.executable, str(SLOW)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    try:
        assert process.stdout
        url = json.loads(process.stdout.readline())
        provider = replace(place.robot(), url=url)
        async with running(provider) as (upstream, _):
            both = asyncio.gather(call(upstream, "meet"), call(upstream, "meet"))
            async with asyncio.timeout(SECONDS):
                assert [one["content"][0]["text"] for one in await both] == ["met", "met"]
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)
