"""The wiring: from a config to a running gate, and to the processes that serve it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from airlock import texts
from airlock.config import Config
from airlock.errors import ConfigError, NotPermitted, Problem, StoreError
from airlock.home import state
from airlock.ids import make_id, now_ms
from airlock.keys import key_path, load_key
from airlock.redaction import Redactor
from airlock.values import dataclass

if TYPE_CHECKING:
    from airlock.gate import Gate
    from airlock.keyring import Keyring
    from airlock.policy import Policy
    from airlock.store.sqlite import SQLiteStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One opened Airlock: everything a face needs."""

    config: Config
    policy: Policy
    store: SQLiteStore
    gate: Gate


def find_config(explicit: Path | None, *, starts_programs: bool) -> state.Located:
    """The config that counts. UsageError when there is none, NotPermitted when it must be trusted first.

    A config that was only found in the working directory can start programs, so whoever put it there
    could run anything (decisions.md 7).
    """
    located = state.locate(explicit, os.environ, Path.cwd())
    if starts_programs and located.found and not state.trusted(located.path):
        if state.trusted_text(located.path) is not None:
            raise NotPermitted(
                f"`{located.path}` changed since it was trusted: `airlock trust {located.path}` shows the "
                "difference"
            )
        raise NotPermitted(
            f"`{located.path}` was only found in the working directory and can start programs: "
            f"read it, then run `airlock trust {located.path}`, or name it with --config"
        )
    return located


def load_located(located: state.Located) -> Config:
    """The config that was located, and that is the very text that is trusted where trust is needed."""
    from airlock.loader.file import load

    config = load(located.path)
    if located.found and not state.trusted(located.path, config.digest):
        raise NotPermitted(
            f"`{located.path}` changed since it was trusted: `airlock trust` shows the difference"
        )
    return config


def checked_policy(config: Config) -> Policy:
    """The compiled policy, its own tests passed; ConfigError when it does not compile or a test fails."""
    from airlock import __version__
    from airlock.policy import compile_policy

    policy = compile_policy(config)
    # What passed once under this version need not run again at every start.
    passed = _digest(config)
    if config.tests and not state.passed(passed, __version__):
        _run_cases(policy, config)
        state.remember_passed(passed, __version__)
    return policy


def _digest(config: Config) -> str:
    """Of all that the policy depends on, with what came from the environment."""
    parts = (
        config.profiles,
        config.agents,
        config.rules,
        config.tests,
        config.people,
        list(config.providers),
    )
    return hashlib.sha256(f"{config.digest}{parts!r}".encode(errors="surrogateescape")).hexdigest()


def _run_cases(policy: Policy, config: Config) -> None:
    from airlock.cases import run_cases

    failed = [result for result in run_cases(policy, config) if not result.passed]
    if failed:
        raise ConfigError(tuple(_problem(result.case.where, result.message) for result in failed))


def _problem(where: str, message: str) -> Problem:
    file, _, line = where.rpartition(":")
    return Problem(file=file, line=int(line or 0), path="tests", message=message)


def database_path(config: Config) -> Path:
    """The file behind `database:`."""
    return Path("/" + config.database.removeprefix("sqlite://").lstrip("/"))


async def open_store(config: Config) -> SQLiteStore:
    """The config's database, opened and migrated."""
    from airlock.store.sqlite import SQLiteStore

    return await SQLiteStore.open(database_path(config), clock=now_ms, durability=config.audit.durability)


@contextlib.asynccontextmanager
async def open_keyring(config: Config) -> AsyncIterator[Keyring]:
    """The keys of a config's database."""
    from airlock.keyring import Keyring

    store = await open_store(config)
    try:
        yield Keyring(store, clock=now_ms, make_id=make_id)
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def opened(
    config: Config, *, road: str, agent: str = "", address: str = "", notify: bool = True
) -> AsyncIterator[Runtime]:
    """An opened Airlock for one road (`stdio`, `gateway`, `hook`, `cli`); closed whole on the way out."""
    from airlock.gate import Gate
    from airlock.notify import make_notifiers

    policy = checked_policy(config)
    store = await open_store(config)
    try:
        key = load_key(key_path(database_path(config)))
        gate = Gate(
            policy=policy,
            store=store,
            config=config,
            redactor=Redactor(config.audit.redact_fields, key),
            fingerprint_key=key,
            notifiers=make_notifiers(config) if notify else (),
        )
        if config.agents:  # a person's command comes without a policy: it decides nothing by one
            await keep_policy(store, config)
        with state.registered_process(config, road=road, agent=agent, address=address):
            try:
                yield Runtime(config=config, policy=policy, store=store, gate=gate)
            finally:
                await gate.close()
    finally:
        await store.close()


async def keep_policy(store: SQLiteStore, config: Config) -> None:
    """Keep the policy's text: a decision names it by its digest. A failure is told, and calls go on."""
    try:
        await texts.keep(store, [config.policy_text], now_ms())
    except StoreError as error:
        log.warning("the text of the policy could not be kept: %s", error)


def adopt(opened: Runtime, config: Config, policy: Policy) -> None:
    """Decide by this config from now on. What is started with the process stays: a change there is said."""
    key = load_key(key_path(database_path(opened.config)))
    opened.gate.adopt(policy, config, Redactor(config.audit.redact_fields, key))
    for name in ("providers", "database", "server", "compat"):
        if getattr(config, name) != getattr(opened.config, name):
            log.warning("`%s` changed in `%s`: it takes effect when airlock is restarted", name, config.file)
