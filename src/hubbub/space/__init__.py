"""Persistent objects in transactions over any store."""
