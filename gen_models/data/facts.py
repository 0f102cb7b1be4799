"""What a page or a model card says of a data set: who made it, and under which licence."""

from typing import NamedTuple


class Facts(NamedTuple):
    """A data set as it is credited."""

    title: str
    authors: str
    licence: str
    image_shape: tuple[int, int, int] = (1, 28, 28)  # channels, height, width
    class_names: tuple[str, ...] = tuple("0123456789")

    @property
    def credit(self) -> str:
        """All of it, as part of a sentence."""
        return f"{self.title} ({self.authors}), {self.licence}"


FACTS = {
    "mnist": Facts("MNIST", "Y. LeCun, C. Cortes and C. Burges", "CC BY-SA 3.0"),
    "fashion_mnist": Facts(
        "Fashion-MNIST", "H. Xiao, K. Rasul and R. Vollgraf (Zalando SE), 2017", "MIT"
    ),
    "kmnist": Facts("KMNIST", "T. Clanuwat et al. (CODH), 2018", "CC BY-SA 4.0"),
    "digits": Facts(
        "Optical Recognition of Handwritten Digits, of scikit-learn, enlarged to 28x28",
        "E. Alpaydin and C. Kaynak, 1998",
        "CC BY 4.0",
    ),
}


def facts_of(name: str) -> Facts:
    """The facts of a data set; one of the user's own has none but its name."""
    return FACTS.get(name, Facts(name, "source not recorded", "licence not recorded"))
