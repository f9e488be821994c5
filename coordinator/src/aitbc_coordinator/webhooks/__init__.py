"""Signed webhooks: messages are written with what they tell of, and posted until they are taken."""
