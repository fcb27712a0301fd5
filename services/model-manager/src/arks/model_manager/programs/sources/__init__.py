"""Sources of weights, behind one interface: list files, read ranges. Only download programs import them."""
