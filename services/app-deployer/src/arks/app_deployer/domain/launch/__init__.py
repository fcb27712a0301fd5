"""Generated text: command lines and manifests from a spec. Pure, checked by golden files."""
