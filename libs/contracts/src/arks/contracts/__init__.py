"""What Arks services share: resources, subjects, facts, messages. No I/O."""
