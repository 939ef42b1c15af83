"""The typed records in files and in messages between processes, one module per kind."""
