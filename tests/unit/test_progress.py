from rolltape.actors.progress import LINE_EVERY_S, CollectProgress, line_of, printing, watching


def progress(**values) -> CollectProgress:
    known = {
        "steps": 12_345,
        "target_steps": 20_000,
        "episodes": 67,
        "target_episodes": None,
        "steps_per_s": 1000.4,
        "mean_return": 22.25,
        "inflight_bytes": 3 << 20,
        "lost_steps": 0,
        "restarts": 0,
    }
    return CollectProgress(**(known | values))


def test_a_line_says_everything() -> None:
    assert line_of(progress()) == "12,345 steps  1,000/s  67 episodes  return 22.25  in flight 3.0 MiB  lost 0"
    assert "return –" in line_of(progress(mean_return=None))


def test_what_was_lost_comes_first() -> None:
    assert line_of(progress(lost_steps=1500, restarts=2)).startswith("lost 1,500, restarts 2  12,345 steps")


def test_where_there_is_no_terminal_a_line_comes_now_and_then(capsys) -> None:
    now = 0.0
    show = printing("CartPole-v1", clock=lambda: now)
    show(progress())
    assert capsys.readouterr().err == ""
    now = LINE_EVERY_S
    show(progress())
    show(progress())
    assert capsys.readouterr().err == f"CartPole-v1: {line_of(progress())}\n"


def test_a_watcher_of_ones_own_and_none(capsys) -> None:
    seen: list[CollectProgress] = []
    with watching(seen.append, "x") as show:
        show(progress())
    for nothing in (False, None):
        with watching(nothing, "x") as show:
            show(progress())
    assert seen == [progress()]
    assert capsys.readouterr() == ("", "")
