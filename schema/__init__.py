"""What things are: spaces, payloads, records between actors, configuration, log codes, errors.

Never here: Ray, files, threads or clocks; it imports no other package of Rolltape.
"""
