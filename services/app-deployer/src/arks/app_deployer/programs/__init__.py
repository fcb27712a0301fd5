"""Programs that run as processes of their own: the shim of an engine, the engine llama.cpp, process 1 of its pod."""
