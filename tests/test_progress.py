import io
import re

import pytest
from rich.console import Console

from offramp import progress
from offramp.progress import Silent, track


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress.time, "monotonic", made.monotonic)
    return made


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def plain(out: io.StringIO) -> Console:
    return Console(file=out, force_terminal=False, width=200)


def test_lines_now_and_then_and_at_the_end(clock, out):
    with track("supernet", 1000, console=plain(out)) as bar:
        bar.advance(0)
        for _ in range(20):
            clock.now += 10
            bar.advance(50, "loss 0.5")
    lines = out.getvalue().splitlines()
    assert len(lines) == 7  # every 30 s of 200, and the last
    assert lines[0] == "supernet: 150/1,000  5.0/s  170 s left  loss 0.5"
    assert lines[-1] == "supernet: 1,000/1,000  5.0/s  0 s left  loss 0.5"


def test_work_done_before_an_interruption_is_no_speed(clock, out):
    with track("supernet", 1000, console=plain(out)) as bar:
        bar.advance(900)
        clock.now += 40
        bar.advance(40)
    assert out.getvalue().splitlines() == ["supernet: 940/1,000  1.0/s  60 s left"]


def test_a_unit_is_told_with_the_rate(clock, out):
    with track("search", 10, unit="networks", console=plain(out)) as bar:
        bar.advance()
        clock.now += 40
        bar.advance(2)
    assert out.getvalue().splitlines() == ["search: 3/10  0.1 networks/s  140 s left"]


def test_what_is_done_already_counts(clock, out):
    with track("search", 10, done=8, console=plain(out)) as bar:
        bar.advance()
        clock.now += 4
        bar.advance(1, "failed")
    assert out.getvalue().splitlines() == ["search: 10/10  0.2/s  0 s left  failed"]


def test_a_terminal_gets_a_bar(out):
    with track("supernet", 10, console=Console(file=out, force_terminal=True, width=120)) as bar:
        bar.advance(10, "loss 0.5")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    assert "supernet" in shown
    assert "10/10" in shown
    assert "loss 0.5" in shown


def test_brackets_in_a_title_are_text(clock, out):
    with track("[bold]x", 1, console=plain(out)) as bar:
        bar.advance(1, "[red]")
    assert "[bold]x" in out.getvalue()
    assert "[red]" in out.getvalue()


def test_silence():
    Silent().advance(3, "nothing")
