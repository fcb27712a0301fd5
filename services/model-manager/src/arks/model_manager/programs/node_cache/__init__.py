"""The agent of a node, which keeps copies of models on its disk, and the export of a PVC to agents."""
