"""How recordings are kept and read: parts, frames, commits, catalog, lake, ledger.

Never here: Ray, environments or anything that steps one; it imports only rolltape.schema.
"""
