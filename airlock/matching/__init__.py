"""Whether a rule speaks of a call: names, arguments, expressions, and the index that finds the rules."""
