"""Who may do what: credentials, portal, realm, avatars, minds, calls, live queries, backlog and session.

The way of a call: `session` -> `desk` -> `host` (serial order) -> the avatar's method -> commit queue -> `host` ->
`desk` -> `session`. The way up: commits -> `live_query`, `portal.release` (notices) -> `session` -> backlog -> carrier.
"""
