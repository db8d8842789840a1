"""The approval queue as the gate uses it: opening, waiting, deciding and ending questions."""
