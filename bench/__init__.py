"""``make bench``: measure Hubbub on this machine. Each metric is a JSON line."""
