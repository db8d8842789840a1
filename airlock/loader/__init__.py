"""From a YAML file to a `Config`, or to everything that is wrong with it: `file.load` is the way in."""
