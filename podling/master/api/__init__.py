"""The HTTP shape of the operations, one file per resource."""
