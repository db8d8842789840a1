"""Proof packs: what happened to one call, as one JSON document that is checked without Airlock.

`story`  what the events of a call say: the action, the decisions, the answers of people, the outcome.
`pack`   a pack made and signed: the story, the policies' texts, the events in their chain.
`check`  whether a pack holds, and which part of it does not.

A pack holds only texts, whole numbers, true, false, null, lists and objects with names of ours, so that any
RFC 8785 library makes the bytes that were signed; what an agent wrote stays JSON text inside a text.
"""
