"""Jobs on a Ray cluster that is there already: what travels with one, how it is started, followed and stopped.

Never here: how a cluster comes to be.
"""
