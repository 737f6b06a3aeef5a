"""What this machine gives a process: temporary folders, memory, a place for compiled kernels, log handlers."""
