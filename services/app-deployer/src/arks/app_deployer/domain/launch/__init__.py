"""How engines are started: pure functions from a spec to command lines, checked by golden files."""
