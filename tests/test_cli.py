import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from conftest import Trained
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from gen_models.cli import app


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_sample_writes_arrays_that_a_seed_decides(copied: Trained, tmp_path: Path) -> None:
    run = copied("model=gan").path
    arrays = []
    for name, count, seed in (("a", 1300, 0), ("b", 5, 0), ("c", 5, 1)):
        output = tmp_path / f"{name}.npy"
        code, text = call("sample", run, "--count", count, "--seed", seed, "--output", output)
        assert code == 0
        assert str(output) in text
        arrays.append(np.load(output))
        assert arrays[-1].shape == (count, 28, 28)
        assert arrays[-1].dtype == np.uint8
    long, short, other = arrays
    assert np.array_equal(long[:5], short)
    assert not np.array_equal(short, other)
    assert len(np.unique(long.reshape(1300, -1), axis=0)) == 1300


def test_sample_writes_a_grid(copied: Trained, tmp_path: Path) -> None:
    output = tmp_path / "grid.png"
    code, _ = call("sample", copied("model=vae").path, "--count", 10, "--output", output)
    assert code == 0
    with Image.open(output) as image:
        assert image.size == (3 * (4 * 29 + 1), 3 * (3 * 29 + 1))


def test_a_file_that_cannot_be_written_whole_leaves_the_earlier_one(
    copied: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(path: Path, content: bytes) -> None:
        path.write_text("a half")
        raise OSError(28, "No space left on device")

    run = copied("model=gan").path
    output = tmp_path / "out" / "images.npy"
    output.parent.mkdir()
    output.write_bytes(b"the earlier one")
    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    code, text = call("sample", run, "--count", 10, "--output", output)
    assert code == 1
    assert text.startswith(f"--output {output}: cannot be written (No space left on device)")
    assert text.count("\n") == 1
    assert output.read_bytes() == b"the earlier one"
    assert list(output.parent.iterdir()) == [output]


def test_best_weights_are_an_extra(copied: Trained, tmp_path: Path) -> None:
    run = copied("model=vae").path
    output = tmp_path / "best.npy"
    assert call("sample", run, "--checkpoint", "best", "--output", output)[0] == 0
    assert np.load(output).shape == (64, 28, 28)


@pytest.mark.usefixtures("_real_pictures")
def test_reconstruct(copied: Trained, tmp_path: Path) -> None:
    output = tmp_path / "pairs.png"
    run = copied("model=vae").path
    code, text = call("reconstruct", run, "--output", output, "--count", 7)
    assert (code, text) == (0, f"7 pairs in {output}\n")
    with Image.open(output) as image:
        assert image.size[0] > image.size[1] > 0
    text = call("reconstruct", run, "--output", output, "--count", 1000)[1]
    assert text == f"300 pairs in {output}\n"  # all that there are


def test_a_gan_does_not_reconstruct(copied: Trained, tmp_path: Path) -> None:
    code, text = call("reconstruct", copied("model=gan").path, "--output", tmp_path / "x.png")
    assert code == 1
    assert "GAN has no encoder" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sample", "{tmp}"], "not a finished run"),
        (["sample", "{tmp}/nothing"], "not a finished run"),
        (["sample", "{tmp}", "--output", "x.jpg"], "must end in .npy or .png"),
        (["sample", "{tmp}", "--output", "{tmp}/no/x.npy"], "there is no folder"),
        (["reconstruct", "{tmp}", "--output", "x.npy"], "must end in .png"),
    ],
)
def test_errors_are_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    code, text = call(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1
    assert says in text
    assert text.count("\n") == 1


def test_help_lists_every_command_once_in_its_group() -> None:
    code, text = call("--help")
    assert code == 0
    at = [text.index(f" {group} ") for group in ("Look", "Measure", "Manage")]
    assert at == sorted(at)
    listed = re.findall(r"^\W+([a-z-]+)  ", text[at[0] :], re.MULTILINE)
    assert listed[:2] == ["explore", "sample"]  # those that one wants first
    assert sorted(listed) == sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_the_version() -> None:
    assert call("--version") == (0, f"{version('gen-models')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "x", "--count", "0"],
        ["evaluate", "x", "--restarts", "1001"],
        ["evaluate", "x", "--likelihood-images", "1"],
        ["simple"],
        ["sample"],
    ],
)
def test_wrong_calls_are_refused(arguments: list[str]) -> None:
    assert call(*arguments)[0] == 2
