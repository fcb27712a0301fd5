"""The ARK protocol over gRPC."""
