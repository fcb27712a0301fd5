"""Messages about mistakes in manifests."""
