"""NLP policies: what an action means, judged by a model that the config names or by local detectors.

A policy here can refuse an action or put it before a person. It never allows one, and where it cannot judge
it asks.
"""
