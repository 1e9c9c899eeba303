"""Templates in HS_NAMESPACE: one record that answers for every name made of its own and an extension. Pure.

Source: PROTOCOL.md §1.6.
"""
