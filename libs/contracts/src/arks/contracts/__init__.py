"""What Arks services agree on: resources, subjects, messages. No I/O."""
