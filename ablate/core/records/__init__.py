"""The typed records that cross a process border or lie in a file, one module per kind."""
