"""The reference ARK engine: llama.cpp behind gRPC, prefill and decode together or apart."""
