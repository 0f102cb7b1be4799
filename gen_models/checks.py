"""Range checks of constructor arguments: each returns its value or raises ValueError naming it."""

from collections.abc import Sequence


def check_dims(argument: str, dims: Sequence[int]) -> list[int]:
    """Return `dims` as a list; raise ValueError unless it holds positive whole numbers."""
    values = list(dims) if isinstance(dims, Sequence) and not isinstance(dims, str) else []
    if not values or any(type(dim) is not int or dim < 1 for dim in values):
        raise ValueError(f"{argument} must be a list of positive whole numbers, got {dims!r}")
    return values


def check_number(
    argument: str, value: float, low: float, high: float, *, open_low: bool = False
) -> float:
    """Return `value`; raise ValueError unless it lies in (low, high] or [low, high]."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (low < value <= high or (value == low and not open_low)):
        low_end = f"{'(' if open_low else '['}{low:g}"
        raise ValueError(f"{argument} must be a number in {low_end}, {high:g}], got {value!r}")
    return value


def check_whole(argument: str, value: int, low: int) -> int:
    """Return `value`; raise ValueError unless it is a whole number of at least `low`."""
    if type(value) is not int or value < low:
        raise ValueError(f"{argument} must be a whole number of at least {low}, got {value!r}")
    return value


def check_betas(betas: Sequence[float]) -> tuple[float, float]:
    """Return Adam's two decay rates; raise ValueError unless there are two in [0, 1)."""
    values = list(betas) if isinstance(betas, Sequence) and not isinstance(betas, str) else []
    numbers = all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in values)
    if len(values) != 2 or not numbers:
        raise ValueError(f"betas must be two numbers in [0, 1), got {betas!r}")
    return values[0], values[1]


def check_choice(argument: str, value: str, known: Sequence[str]) -> str:
    """Return `value`; raise ValueError unless it is one of those known."""
    if value not in known:
        raise ValueError(f"{argument} must be one of {', '.join(known)}, got {value!r}")
    return value


def check_bool(argument: str, value: bool) -> bool:
    """Return `value`; raise ValueError unless it is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be true or false, got {value!r}")
    return value


def check_shape(argument: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """Return an image's (channels, height, width); raise ValueError if no model takes it."""
    values = tuple(shape)
    if len(values) != 3 or values[0] not in (1, 3) or not set(values[1:]) <= set(range(8, 65, 4)):
        raise ValueError(
            f"{argument} must be channels (1 or 3), height and width (multiples of 4 from 8 to "
            f"64), got {list(values)}"
        )
    return values
