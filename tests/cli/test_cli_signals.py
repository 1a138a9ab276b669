from __future__ import annotations

import signal
import threading

import pytest
from cli_fakes import FakeCancellation

from runner.cli.signals import DRAINING, STOPPING, draining, ending_on_termination


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_drains_second_stops_third_gives_up(number):
    before = signal.getsignal(number)
    cancellation, notices = FakeCancellation(), []
    with draining(cancellation, notices.append):
        signal.raise_signal(number)
        assert (cancellation.level, notices) == (1, [DRAINING])
        signal.raise_signal(number)
        assert (cancellation.level, notices) == (2, [DRAINING, STOPPING])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)

    assert signal.getsignal(number) is before


def test_what_the_process_ignores_stays_ignored():
    """nohup ignores SIGHUP, and a shell ignores SIGINT in the jobs it puts in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        cancellation = FakeCancellation()
        with draining(cancellation, lambda text: None):
            signal.raise_signal(signal.SIGHUP)
        assert cancellation.level == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_termination_ends_a_command_as_ctrl_c_does():
    with ending_on_termination(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_outside_the_main_thread_nothing_is_installed():
    seen = []

    def work():
        with draining(FakeCancellation(), lambda text: None):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]
