"""What a data set of the user's own must be, and the line that says what is wrong with it."""

from collections.abc import Mapping, Sequence

from gen_models.data.dataset import listed
from gen_models.errors import UserError

LEAST = 6  # images of each part: an image and its five nearest, for `coverage`
MOST_CLASSES = 1000
FEW = 10  # images of a class that are too few to learn from
SIDES = range(8, 65, 4)  # heights and widths that the models can make


def check_counts(place: str, counts: Mapping[str, int]) -> None:
    """Refuse a data set of which a split is too small to be measured.

    Args:
        place: The data set, with the option that names it: `data.root=PICTURES`.
        counts: Images of each split.

    Raises:
        UserError: A split has fewer than `LEAST` images.
    """
    split = min(counts, key=lambda name: counts[name])
    if counts[split] < LEAST:
        total = sum(counts.values())
        images = "1 image leaves" if total == 1 else f"{total:,} images leave"
        raise UserError(
            f"{place}: its {images} {counts[split]} for {split}, but a model's metrics need "
            f"{LEAST} or more: add images (with 150 or more in all, each split has enough)"
        )


def check_classes(place: str, count: int) -> None:
    """Refuse more classes than the models take.

    Raises:
        UserError: There are more than `MOST_CLASSES`.
    """
    if count > MOST_CLASSES:
        raise UserError(
            f"{place}: {count:,} classes, but at most {MOST_CLASSES:,} can be used: leave some out"
        )


def small_classes(counts: Mapping[str, int]) -> list[str]:
    """A line that names the classes with too few images to say much of, if there are any."""
    small = [f"{name} ({n})" for name, n in counts.items() if n < FEW]
    return (
        [f"fewer than {FEW} images in a class say little of it: {listed(small)}"] if small else []
    )


def check_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """The height and width that `data.size` asks for; None leaves the pictures as they are.

    Raises:
        UserError: It is no size that the models can make.
    """
    if size is None:
        return None
    sides = list(size) if isinstance(size, Sequence) and not isinstance(size, str) else [size] * 2
    if len(sides) != 2 or any(type(side) is not int for side in sides):
        raise UserError(
            f"data.size={size}: expected a whole number, or [height, width], from 8 to 64"
        )
    height, width = sides
    check_sides(f"data.size={size}".replace(" ", ""), height, width)
    return height, width


def check_sides(place: str, height: int, width: int) -> None:
    """Refuse a height or width that is no multiple of 4 from 8 to 64, with the nearest two.

    Raises:
        UserError: The models cannot make images of this size.
    """
    wrong = [side for side in dict.fromkeys((height, width)) if side not in SIDES]
    if wrong:
        nearest = " and ".join(
            "{} or {} instead of {}".format(*sorted(SIDES, key=lambda s: abs(s - side))[:2], side)
            for side in wrong
        )
        raise UserError(
            f"{place}: {height}x{width}, but height and width must be multiples of 4 from 8 to "
            f"64: choose a data.size with {nearest}"
        )


def check_channels(channels: int | None) -> int | None:
    """The value of `data.channels`.

    Raises:
        UserError: It is none of null, 1 and 3.
    """
    if channels not in (None, 1, 3) or isinstance(channels, bool):
        raise UserError(f"data.channels={channels}: choose 1 (grey), 3 (colour) or null (as it is)")
    return channels
