"""Odd payloads, direct and through `airlock stdio`: equal, or refused with a clear error, never changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from support.plain import PREFIX, Both, exact, member, refusal

DEEP = "[" * 100 + "]" * 100

VALUES = {
    "integer beyond 64 bits": "123456789012345678901234567890",
    "integers around 2^53": "[9007199254740991,9007199254740993,-9007199254740993]",
    "very long integer": "7" * 4000,
    "zeros": "[0,0.0,-0.0,0e5]",
    "floats": "[1.0,1.5e300,5e-324,0.1,100.00,1E2,1e-7]",
    "empty": '[{},[],"",null]',
    "null members": '{"a":null,"b":{"c":null}}',
    "odd keys": '{"":1," ":2,"__proto__":{"x":1},"constructor":3,"a.b":4,"$ref":"#","\\u0000":5}',
    "order of keys": '{"z":1,"a":2,"m":{"z":1,"a":2}}',
    "control characters": '"\\u0000\\u0001\\u001f\\u007f\\b\\f\\n\\r\\t"',
    "line ends of others": '"\u2028\u2029\u0085\\u2028\\u2029\\u0085"',
    "escapes": '"\\/\\"\\\\\\u00e9\\ud83d\\ude00"',
    "characters": '"\u00e9\U0001f600\u202e\ufeff\ufffe\U0010ffff"',
    "a hundred levels": DEEP,
    "markup": '"</script><!-- %s {{x}} ${HOME} \\\\u0041"',
    "a lone surrogate": '"\\ud800"',
    "a lone surrogate as a key": '{"\\udc00x":1}',
    "a surrogate before text": '"\\ud800\\u0041"',
    "not a number": "NaN",
    "infinity": "[-Infinity]",
    "a float that overflows": "1e400",
    "a float that would be rounded": "0.1000000000000000055511151231257827021",
    "minus zero": "-0",
    "duplicate keys": '{"a":1,"a":2}',
    "five thousand levels": "[" * 5000 + "]" * 5000,
    "two hundred levels": '{"a":' * 200 + "1" + "}" * 200,
    "bytes that are no UTF-8": '"\udcff\udcfe"',
    "a raw control character": '"a\x01b"',
    "a comment": "[1/*x*/]",
    "a trailing comma": "[1,]",
    "a leading zero": "[01]",
    "single quotes": "['a']",
}
REFUSED = {
    "a lone surrogate",
    "a lone surrogate as a key",
    "a surrogate before text",
    "not a number",
    "infinity",
    "a float that overflows",
    "a float that would be rounded",
    "minus zero",
    "duplicate keys",
    "five thousand levels",
    "two hundred levels",
    "bytes that are no UTF-8",
    "a raw control character",
    "a comment",
    "a trailing comma",
    "a leading zero",
    "single quotes",
}
"""What no two readers of JSON agree on. Everything else passes."""

EMPTY = '{"type":"text","text":""}'
RESULTS = {
    "unknown fields": '{"content":[],"x":1,"y/z":{"a":[null]},"isError":false}',
    "unknown content": '{"content":[{"type":"video","data":"AA==","x":[1]},{"type":"","z":null},{"type":7}]}',
    "content without a type": '{"content":[{},{"text":"x"},null,7,"x",[]]}',
    "no content": '{"structuredContent":{"a":1}}',
    "content that is no list": '{"content":{"a":1}}',
    "structured list": '{"content":[],"structuredContent":[1,[2],{"a":null}]}',
    "structured text": '{"content":[],"structuredContent":"x"}',
    "structured null": '{"content":[],"structuredContent":null}',
    "structured number": '{"content":[],"structuredContent":-1.50}',
    "unknown _meta": '{"content":[],"_meta":{"a/b":[null,{"":1}],"x":1,"io.example/y":"z"}}',
    "_meta that is no object": '{"content":[],"_meta":null}',
    "isError that is no boolean": '{"content":[],"isError":"yes"}',
    "nothing": "{}",
    "annotations": '{"content":[{"type":"text","text":"x","annotations":{"audience":null},"_meta":{}}]}',
    "embedded": '{"content":[{"type":"resource","resource":{"uri":"x://y","blob":"!","z":1},"q":null}]}',
    "five megabytes": f'{{"content":[{{"type":"text","text":"{"é" * 2_500_000}"}}]}}',
    "many items": f'{{"content":[{",".join([EMPTY] * 50_000)}]}}',
    "another result type": '{"content":[],"extra":{"resultType":"odd"}}',
    "a list": "[]",
    "null": "null",
    "text": '"x"',
}
ERRORS = {
    "data of any kind": '{"code":-32602,"message":"m","data":[null,{"":1.50}]}',
    "data null": '{"code":1,"message":"m","data":null}',
    "unknown members": '{"code":-32042,"message":"é\\u0000","x":{"y":null}}',
    "a huge code": '{"code":-123456789012345678901234567890,"message":""}',
    "an empty message": '{"code":0,"message":""}',
}

META = {
    "unknown keys": '"a/b":[null,{"":1.50}],"x":"y"',
    "trace context": '"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"',
    "huge integer": '"n":123456789012345678901234567890',
    "null": '"a":null',
}


def cases() -> dict[str, str]:
    found = {
        f"value: {name}": f'"result":{{"content":[],"structuredContent":{text}}}'
        for name, text in VALUES.items()
    }
    found |= {f"result: {name}": f'"result":{text}' for name, text in RESULTS.items()}
    return found | {f"error: {name}": f'"error":{text}' for name, text in ERRORS.items()}


@pytest.fixture(scope="module", params=["legacy", "modern"])
def both(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp(request.param)
        patch.setenv("AIRLOCK_STATE_DIR", str(folder / "state"))
        found = Both(folder, request.param, cases(), tools=10_000)
    found.direct.greet()
    found.through.greet()
    yield found
    found.close()


def say(both: Both, name: str) -> tuple[bytes, bytes]:
    return both.ask("tools/call", f'{{"name":"say","arguments":{{"case":{json.dumps(name)}}}')


def answer_of(line: bytes) -> Any:
    """The frame without what each line has of its own."""
    return sorted((pair for pair in exact(line) if pair[0] != "id"), key=lambda pair: pair[0])


@pytest.mark.parametrize("name", VALUES)
def test_a_value_in_a_result_arrives_as_it_was_or_the_call_fails(both: Both, name: str) -> None:
    direct, through = say(both, f"value: {name}")
    if name in REFUSED:
        assert "its answer was refused" in refusal(through)
    else:
        assert answer_of(through) == answer_of(direct)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_of_any_shape_arrives_as_it_was(both: Both, name: str) -> None:
    direct, through = say(both, f"result: {name}")
    assert answer_of(through) == answer_of(direct)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_arrives_as_it_was(both: Both, name: str) -> None:
    direct, through = say(both, f"error: {name}")
    assert answer_of(through) == answer_of(direct)


def heard(line: bytes) -> Any:
    """The params that the server got, without what MCP makes each line's own."""
    text = member(member(exact(line), "result"), "content")[0]
    params = member(exact(member(text, "text")), "params")
    meta = [pair for pair in member(params, "_meta") or [] if not str(pair[0]).startswith(PREFIX)]
    found = {str(key): value for key, value in params if key != "_meta"}
    return found | ({"_meta": meta} if meta else {})


@pytest.mark.parametrize("name", VALUES)
def test_arguments_reach_the_server_as_they_were_or_nothing_does(both: Both, name: str) -> None:
    params = f'{{"name":"hear","arguments":{{"v":{VALUES[name]}}}'
    direct, through = both.ask("tools/call", params)
    if name in REFUSED:
        assert json.loads(through)["error"]["code"] in {-32700, -32600}
        assert len(refusal(through)) > 10
    else:
        assert heard(through) == heard(direct)


@pytest.mark.parametrize(
    "params", ['{"name":"hear"', '{"name":"hear","arguments":{}', '{"name":"hear","arguments":null']
)
def test_empty_arguments_stay_as_empty_as_they_were(both: Both, params: str) -> None:
    direct, through = both.ask("tools/call", params)
    if params.endswith("null"):
        assert "arguments" in refusal(through)
    else:
        assert heard(through) == heard(direct)


def test_unknown_params_reach_the_server(both: Both) -> None:
    direct, through = both.ask("tools/call", '{"name":"hear","arguments":{},"x":[null],"y/z":{"":1.50}')
    assert heard(through) == heard(direct)


def test_the_experimental_task_of_2025_is_the_one_param_that_stays_behind(both: Both) -> None:
    """Airlock does not promise that feature, so it cannot be asked for; it says so in docs/mcp.md."""
    direct, through = both.ask("tools/call", '{"name":"hear","arguments":{},"task":{"ttl":1}')
    assert heard(direct).pop("task")
    assert heard(through) == {name: one for name, one in heard(direct).items() if name != "task"}


@pytest.mark.parametrize("name", META)
def test_meta_of_a_call_reaches_the_server(both: Both, name: str) -> None:
    direct, through = both.ask("tools/call", '{"name":"hear","arguments":{}', META[name])
    assert heard(through) == heard(direct)


def test_ten_thousand_tools_are_listed_as_they_are(both: Both) -> None:
    def listed(line_of: Any) -> list[Any]:
        found, cursor = [], ""
        while True:
            result = member(exact(line_of("tools/list", "{" + cursor)), "result")
            found += member(result, "tools")
            following = member(result, "nextCursor")
            if following is None:
                return found
            cursor = f'"cursor":{json.dumps(following)}'

    direct, through = listed(both.direct.ask), listed(both.through.ask)
    assert len(direct) == 10_002
    assert through == direct


def test_what_is_no_message_is_answered_with_an_error_and_reaches_nobody(both: Both) -> None:
    for line in (b"[]", b"7", b"{", b'{"jsonrpc":"1.0","id":1,"method":"ping"}', b"\xff"):
        both.through.write(line)
        assert re.search(rb'"code":-32(700|600)', both.through.answer(1))
    assert b'"result"' in both.through.ask("tools/list" if both.through.modern else "ping", "{")
