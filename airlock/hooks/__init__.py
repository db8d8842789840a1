"""Hooks: a client's own JSON about a tool call that is about to run ⇄ `Call` and `Verdict`. Pure, no I/O.

What a face uses, in this order:

    dialects.choose(payload, client)    the Dialect to read and answer in; also for payloads that are broken
    dialect.read(payload)               HookEvent; None: no tool call, answer `dialect.quiet()`;
                                        UnreadableHook: answer `dialect.deny(str(error), …)`
    tools.is_ours(event, mcp_names)     a tool of Airlock's own MCP entry: answer `dialect.quiet()`
    calls.build_call(event, …)          the Call for the gate, with its parts
    dialect.hold_ms(timeout_ms)         how long the gate may hold it
    dialect.answer(dialect, event, verdict, tool)   the HookAnswer, for HTTP and for a command

A deny is always to be had: `dialect.deny(reason, event=dialect.event_of(payload))`. For Airlock's own
payload alone (`dialects.OWN`) an error status goes with it: `deny(reason, status=400)`.

The shell parser is imported by `shell*.py` only, and those only when a shell line is to be split.
"""
