"""Ids are random and never given out twice, neither to two threads nor to a parent and its child."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

from airlock.ids import ALPHABET, make_code, make_id


def test_an_id_is_thirty_two_hex_digits() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{32}", make_id()) for _ in range(300))


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(lambda _: [make_id() for _ in range(5_000)], range(4)))
    ids = [one for part in parts for one in part]
    assert len(set(ids)) == len(ids)


def test_a_child_never_gives_out_its_parents_ids() -> None:
    make_id()
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(sink, "".join(make_id() for _ in range(300)).encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as read:
        text = read.read().decode()
    os.waitpid(child, 0)
    theirs = {text[at : at + 32] for at in range(0, len(text), 32)}
    assert len(theirs) == 300
    assert theirs.isdisjoint(make_id() for _ in range(300))


def test_a_code_has_no_look_alikes() -> None:
    assert set(make_code(2_000)) <= set(ALPHABET)
    assert not set("0O1IL") & set(ALPHABET)
