"""Bytes to typed messages and back, and their state machines. No I/O.

`hubbub.wire.session` is what users' clients speak, `hubbub.wire.peer` what mounted spaces speak.
"""
