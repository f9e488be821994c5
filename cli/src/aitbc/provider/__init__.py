"""The provider's machine: its GPUs, its session key, what it serves and what it claims."""
