"""How the threads of one computation wait for one another, set before torch is loaded."""

import os


def wait_passively() -> None:
    """Let threads that wait give their core away, unless the user has chosen (OMP_WAIT_POLICY).

    torch's OpenMP threads wait by spinning: beside any other work, two threads on two cores then
    train several times slower, because each waits for one that has no core (docs/speed.md).
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
