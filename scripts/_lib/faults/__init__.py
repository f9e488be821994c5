"""The kill matrix: a market of bookings, whose coordinator is killed at every point once."""
