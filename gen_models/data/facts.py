"""How to name each data set where its images are shown: title, authors and licence."""

from typing import NamedTuple


class Facts(NamedTuple):
    """A data set as a page or a model card credits it."""

    title: str
    authors: str
    licence: str

    def __str__(self) -> str:
        """All three in one phrase."""
        return f"{self.title} ({self.authors}), {self.licence}"


FACTS = {
    "mnist": Facts("MNIST", "Y. LeCun, C. Cortes, C. Burges", "CC BY-SA 3.0"),
    "fashion_mnist": Facts("Fashion-MNIST", "H. Xiao, K. Rasul, R. Vollgraf, 2017", "MIT"),
    "kmnist": Facts("KMNIST", "T. Clanuwat et al., 2018", "CC BY-SA 4.0"),
    "digits": Facts(
        "Optical Recognition of Handwritten Digits, from scikit-learn, enlarged to 28x28",
        "E. Alpaydin, C. Kaynak, 1998",
        "CC BY 4.0",
    ),
}


def facts_of(name: str) -> Facts:
    """The facts of a data set; one of the user's own has only its name."""
    return FACTS.get(name, Facts(name, "source not recorded", "licence not recorded"))
