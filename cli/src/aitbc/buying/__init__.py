"""A buyer's side of a booking: what is verified before anything is signed or paid, and paying."""
