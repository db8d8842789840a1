"""One client: what it may ask, and what becomes of it, whatever carried it here."""
