"""The output of the arks command, as text made from plain data. Pure: no I/O, no clock."""
