"""Cannot be imported."""

raise RuntimeError("the shop has no address")
