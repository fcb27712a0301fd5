"""The outbound edge: engines over HTTP, reports onto the bus, GPUs by NVML, processes by /proc."""
