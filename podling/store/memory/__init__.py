"""A store in the memory of one process: fast, complete, and gone with the process."""
