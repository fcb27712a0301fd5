"""The files of one Arks in its directory, `~/.arks` by default: their paths, formats and permissions."""
