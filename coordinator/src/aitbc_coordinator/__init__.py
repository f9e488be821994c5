"""The coordinator: matches, meters and attests, and never holds money."""

__version__ = "0.1.0"
