"""What the arks command prints, as text made from plain data. Pure: no I/O, no clock."""
