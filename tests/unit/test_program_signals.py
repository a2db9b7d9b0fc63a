"""What `rolltape run` passes on of the signals that come."""

import signal

from rolltape.scripts.cli.run import Signals


def test_the_third_kills_however_late() -> None:
    """It was counted among those that waited, so that only three within a quarter of a second killed."""
    signals = Signals()
    taken: list[list[int]] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGINT):
        signals.note(number, None)
        taken.append(signals.take())
    assert taken == [[signal.SIGINT], [signal.SIGTERM], [signal.SIGKILL], [signal.SIGKILL]]
    assert signals.take() == []
