"""What Airlock keeps in the user's state directory: trusted configs, running processes, private files."""
