"""The development stack: MongoDB, Postgres and Redis as child processes in one data folder.

Never used in production: the servers come from PyPI wheels (extra `stack`), listen on
loopback only and ask for no password. `stack.Stack` is the interface for Python,
`eider stack` the one for the shell.
"""
