"""`make demo` and `make run`: a master and two workers on this machine, from a clone."""
