"""The HTTP application: what every endpoint shares."""
