"""SIGTERM and Ctrl-C end a run in order: nothing half done, exit code 143 or 130."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_received: list[int] = []  # signals are the process's, so this is too


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let both signals raise SystemExit, at once or, while Lightning trains, after a whole batch.

    An exception inside a step would leave D updated and G not. Lightning puts its own handler of
    SIGTERM in front of ours while it trains or validates, so Ctrl-C is passed on as one. A second
    Ctrl-C ends at once. A process that was started with Ctrl-C ignored goes on ignoring it.

    Raises:
        SystemExit: With the code of the signal (Lightning's has none: Lightning#21623).
    """

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        _received.append(signum)
        if signal.getsignal(signal.SIGTERM) is on_terminate:  # Lightning is not at work
            raise SystemExit

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        again = bool(_received)
        _received.append(signum)
        if again or signal.getsignal(signal.SIGTERM) is on_terminate:
            raise SystemExit
        signal.raise_signal(signal.SIGTERM)

    _received.clear()
    handlers = {signal.SIGTERM: on_terminate, signal.SIGINT: on_interrupt}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in `nohup python train.py &`
        del handlers[signal.SIGINT]
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield
        exit_if_stopped()
    except SystemExit as stop:
        # Without a signal of ours: Lightning's own end, or submitit's code for "start it again".
        code = 128 + _received[0] if _received else stop.code or 128 + signal.SIGTERM
        raise SystemExit(code) from stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def exit_if_stopped() -> None:
    """Raise SystemExit for a signal that came when Lightning no longer looked for one."""
    if _received:
        raise SystemExit
