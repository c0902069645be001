"""Users and the web: commands, pushes, streams, polls, minds and memory of Hubbub's host.

The clients here are bare sockets that say what a well-behaved client says, acknowledgements included, and cost as
little as they can: what is measured is the server. The same ones drive the bare servers in `bench.rivals`.
"""
