"""The Handle protocol as the authority speaks it."""
