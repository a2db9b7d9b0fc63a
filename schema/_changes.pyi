import numpy as np

def changes(
    picture: np.ndarray, last: np.ndarray, last_at: int, room: np.ndarray, room_at: int, worth: int, /
) -> int: ...
