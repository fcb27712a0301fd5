"""How many replicas an application shall have: from what is measured of it to a number with a reason. Pure."""
