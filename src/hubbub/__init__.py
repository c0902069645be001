"""Live Python objects, shared.

Write ordinary classes. Their instances persist, change only in transactions, and are seen live by every process, user
and browser that is connected. See https://github.com/hubbub-project/hubbub for the documentation.
"""
