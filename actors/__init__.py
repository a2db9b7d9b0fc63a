"""How things move: environment workers, recorder, producer, hub, writer, fleet.

Never here: what a column or a file on disk looks like; only `on_ray` calls ray.init and ray.remote.
"""
