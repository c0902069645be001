"""Hubbub's peers: what a process does that mounts the space over TCP."""
