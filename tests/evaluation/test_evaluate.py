"""`gen-models evaluate` on runs of a second: everything is measured, written and shown."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Trained, read_curves, read_metrics
from safetensors.torch import load_file, save_file
from synthetic import make_run
from test_cli import call

from gen_models.data.module import MNISTDataModule
from gen_models.evaluation import bounds
from gen_models.evaluation.bounds import measure_bounds
from gen_models.evaluation.evaluate import evaluate_run
from gen_models.evaluation.measure import Effort, measure, measure_encoder, measure_generation
from gen_models.evaluation.reference import Reference, reference
from gen_models.evaluation.reporting import rating, show_line, show_run
from gen_models.metrics.classifier import Classifier, classifier_path, load_classifier
from gen_models.metrics.latent import measure_latent_space
from gen_models.models.interface import draw_fixed, encode_means
from gen_models.models.vae import VAE
from gen_models.runs import load_model

LITTLE = Effort(restarts=1, iterations=10, importance_samples=50)


@pytest.fixture
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def real() -> Reference:
    datamodule = MNISTDataModule(name="digits", batch_size=32)
    datamodule.setup()
    return reference(datamodule.dataset, load_classifier(classifier_path("digits", Path("data"))))


@pytest.mark.parametrize("model", ["gan", "vae"])
def test_a_run_is_measured_into_its_directory(model: str, copied: Trained, tmp_path: Path) -> None:
    run = copied(f"model={model}")
    before = read_metrics(run)
    code, text = call("evaluate", run.path, "--restarts", 2, "--iterations", 40)
    assert code == 0, text
    metrics = read_metrics(run)
    assert before.items() < metrics.items()
    assert metrics["samples"] == 200
    assert metrics["floor/fid_lenet"] < metrics["fid_lenet"]
    assert metrics["missing_digits"] == int(metrics["missing_digits"]) <= 9
    assert metrics["nearest/mse"] < metrics["mean_image/mse"]
    assert "kid_lenet" in metrics
    assert ("encoder/mse" in metrics) == (model == "vae")
    assert ("grey_pixels/negative_elbo" in metrics) == (model == "vae")
    assert not any(key.startswith("likelihood/") for key in metrics)
    with np.load(run.path / "evaluation.npz") as arrays:
        assert arrays["inversion_mse"].mean() == pytest.approx(metrics["inversion/mse"], rel=1e-5)
        shapes = {"samples": (100,), "test": (40,), "recreated": (40,)}
        shapes |= {"interpolation": (8, 11), "traversal": (8, 11)}
        for name, shape in shapes.items():
            assert arrays[f"pictures_{name}"].shape == (*shape, 28, 28)
            assert arrays[f"pictures_{name}"].dtype == np.uint8
        rebuilt = load_model(run.path)
        expected = draw_fixed(rebuilt, 100).squeeze(1).numpy()
        assert np.abs(arrays["pictures_samples"] - 255 * expected).max() < 0.501
        errors = (arrays["pictures_recreated"] / 255 - arrays["pictures_test"] / 255) ** 2
        way = "encoder_mse" if model == "vae" else "inversion_mse"
        assert errors.mean((1, 2)) == pytest.approx(arrays[way][:40], rel=0.02)
        # a path begins and ends at what the model makes of its two test images
        ends = arrays["pictures_recreated"][:16].reshape(8, 2, 28, 28).astype(float)
        paths = arrays["pictures_interpolation"]
        assert np.abs(paths[:, [0, -1]] - ends).max() <= 1
    assert {"recreated", "interpolation", "traversal"} <= {
        path.stem for path in run.figures.glob("*.png")
    }
    assert (run.figures / "latent_map.png").exists() == (model == "vae")
    assert metrics["cost/training_flops"] == 8 * metrics["cost/flops_per_step"]
    assert metrics["cost/seconds"] == run.read_status()["seconds"]
    assert metrics["cost/peak_memory_mib"] > 50
    assert metrics["inversion/restarts"] == 2
    assert metrics["inversion/iterations"] == 40
    assert metrics["inversion/control_share"] == pytest.approx(
        metrics["inversion/control_mse"] / metrics["inversion/mse"]
    )
    for name in ("random_lenet", "pixels_50"):
        assert 0 < metrics[f"floor/features/{name}"] < metrics[f"features/{name}"]
    assert "features/lenet_1" not in metrics  # digits have no other classifiers
    assert metrics["floor/samples"] == 200
    assert metrics["memorisation/low"] < metrics["memorisation"] < metrics["memorisation/high"]
    record = run.read_status()["evaluation"]
    shipped = json.loads(classifier_path("digits", Path("data")).with_suffix(".json").read_text())
    assert record["classifier"] == shipped["sha256"]
    assert record["versions"]["torch"] == torch.__version__
    for shown in ("fid ↓", "crude Gaussian", "recreate by search", str(run.metrics), "Next"):
        assert shown in text


@pytest.mark.usefixtures("_own_cache")
@pytest.mark.slow
def test_measuring_again_gives_the_same_and_leaves_nothing_behind(copied: Trained) -> None:
    run = copied("model=vae")
    lines: list[str] = []
    state = torch.random.get_rng_state()
    first = evaluate_run(run.path, effort=LITTLE, say=lines.append)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert any("crude models" in line for line in lines)
    files = _files(run.path)
    curves = read_curves(run.path)
    lines.clear()
    again = evaluate_run(run.path, effort=LITTLE, say=lines.append)
    assert not any("crude models" in line for line in lines)
    timing = {"cost/sampling_seconds": 0.0}
    assert again.metrics | timing == first.metrics | timing
    for name, array in first.arrays.items():
        assert torch.equal(again.arrays[name], array), name
    assert _files(run.path) == files
    assert read_curves(run.path) == curves


@pytest.mark.parametrize("model", [pytest.param("gan", marks=pytest.mark.slow), "vae"])
def test_after_training_the_model_in_memory_is_measured_as_the_saved_run(
    model: str, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gen_models.evaluation.measure.Effort", lambda: LITTLE)
    reads: list[Path] = []

    def counted(path: Path) -> Classifier:
        reads.append(path)
        return load_classifier(path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read from the disk")

    monkeypatch.setattr("gen_models.runs.classifier.load_classifier", counted)
    for effort in ("quick", "full"):
        with monkeypatch.context() as patched:
            for name in ("load_model", "MNISTDataModule"):
                patched.setattr(f"gen_models.evaluation.evaluate.{name}", refuse)
            run = trained(f"model={model}", f"evaluate={effort}", "overwrite=true")
        after_training = read_metrics(run)
        evaluate_run(run.path, quick=effort == "quick", say=lambda line: None)
        timing = {"cost/sampling_seconds": 0.0}
        assert read_metrics(run) | timing == after_training | timing
    assert len(reads) <= 1


def _files(run: Path) -> list[str]:
    """Every file, TensorBoard's without the time in its name."""
    return sorted(str(path.relative_to(run)).split(".tfevents")[0] for path in run.rglob("*"))


def test_the_projector_shows_digits_with_their_labels(copied: Trained) -> None:
    run = copied("model=vae")
    evaluate_run(run.path, effort=LITTLE, say=lambda line: None)
    folder = run.path / "projector"
    config = (folder / "projector_config.pbtxt").read_text()
    tensors, labels = (
        folder / re.findall(rf'{key}: "(.+)"', config)[0]
        for key in ("tensor_path", "metadata_path")
    )
    real = MNISTDataModule(name="digits", batch_size=32)
    real.setup()
    found = [int(label) for label in labels.read_text().split()]
    assert sorted(found) == sorted(real.splits["test"].labels.tolist())
    points = torch.tensor(np.loadtxt(tensors), dtype=torch.float32)
    model = load_model(run.path)
    with torch.no_grad():
        means, _ = model.encode(real.splits["test"].images.float() / 255)
    # the same means of the same labels, in another order
    for label in range(10):
        ours = points[torch.tensor(found) == label].mean(0)
        theirs = means[real.splits["test"].labels == label].mean(0)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_the_effort_is_chosen_and_recorded(copied: Trained) -> None:
    run = copied("model=vae", "model.binarize=true")
    options = ["--restarts", 1, "--iterations", 3, "--importance-samples", 7]
    options += ["--likelihood-images", 20]
    code, text = call("evaluate", run.path, *options)
    assert code == 0, text
    metrics = read_metrics(run)
    assert metrics["inversion/restarts"] == 1
    assert metrics["inversion/iterations"] == 3
    assert metrics["likelihood/importance_samples"] == 7
    assert metrics["likelihood/images"] == 20
    with np.load(run.path / "evaluation.npz") as arrays:
        assert arrays["inversion_curve"].shape == (4, 1)
        assert arrays["negative_elbo"].shape == arrays["iwae"].shape == (20,)
        assert arrays["iwae"].mean() == pytest.approx(-metrics["likelihood/iwae"])


def test_what_hinders_a_command_names_no_option_that_it_has_not(
    copied: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of somebody else's, or one at which another process is at work."""
    run = copied("model=vae")
    commands = (["evaluate", run.path], ["fit-sampler", run.path])

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    said = []
    with monkeypatch.context() as patched:
        patched.setattr("tempfile.TemporaryFile", refuse)
        said += [call(*words) for words in commands]
    assert all("copy the run" in text for _, text in said)
    with run.lock():
        said += [call(*words) for words in commands]
    for code, text in said:
        assert (code, text.count("\n")) == (1, 1), text
        assert str(run.path) in text
        assert not any(option in text for option in ("output_dir", "seed or", "overwrite"))


def test_an_evaluation_that_cannot_be_written_leaves_the_earlier_one(
    copied: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied("model=gan")
    options = ["--restarts", 1, "--iterations", 2]
    assert call("evaluate", run.path, *options)[0] == 0
    file = run.path / "evaluation.npz"
    before, status = file.read_bytes(), run.read_status()

    def fill_the_disk(path: Path, **arrays: np.ndarray) -> None:
        Path(path).write_bytes(b"a half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fill_the_disk)
    code, text = call("evaluate", run.path, *options)
    assert code == 1
    assert f"{file}: cannot be written (No space left on device)" in text.splitlines()[-1]
    assert file.read_bytes() == before
    assert run.read_status() == status
    assert not list(run.path.glob(".tmp*"))


def test_a_batch_that_takes_validation_images_too_is_measured(copied: Trained) -> None:
    """It is larger than the training images that a run is measured against."""
    run = copied("model=gan", "data.train_on_validation=true", "data.batch_size=1400", batches=1.0)
    code, text = call("evaluate", run.path, "--restarts", 1, "--iterations", 2)
    assert code == 0, text
    assert read_metrics(run)["cost/flops_per_step"] > 0


def test_a_likelihood_needs_binarised_training(copied: Trained, real: Reference) -> None:
    model = load_model(copied("model=vae", "model.binarize=true").path)
    metrics = measure(model, real, effort=LITTLE).metrics
    assert metrics["likelihood/images"] == 300  # of 1,000 asked
    assert metrics["likelihood/iwae/low"] < metrics["likelihood/iwae"]
    assert metrics["likelihood/iwae"] < metrics["likelihood/negative_elbo"]  # nats lost
    assert metrics["likelihood/negative_elbo"] == pytest.approx(
        metrics["likelihood/recon"] + metrics["likelihood/kl"], rel=1e-5
    )
    assert not any(key.startswith("grey_pixels/") for key in metrics)


def test_a_density_has_a_name_of_its_own_and_labels_count_nowhere(real: Reference) -> None:
    model = VAE(latent_dim=4, likelihood="gaussian", prior="vamp", conditional=True).eval()
    metrics, arrays = measure_encoder(model, real, LITTLE)
    assert 0 <= metrics["active_units"] <= 4
    expected = metrics["grey_density/recon"] + metrics["grey_density/kl"]
    assert metrics["grey_density/negative_elbo"] == pytest.approx(expected, rel=1e-5)
    assert arrays["negative_elbo"].shape == (len(real.test),)
    assert not any(key.startswith(("grey_pixels/", "likelihood/")) for key in metrics)
    looked = measure_latent_space(
        model, real.test, encode_means(model, real.test, real.labels), real.labels
    )
    assert sorted(looked["traversal_units"].tolist()) == [0, 1, 2, 3]


def test_the_vaes_test_loss_is_measured_alike_in_training_and_afterwards(
    copied: Trained, real: Reference
) -> None:
    run = copied("model=vae", epochs=5, batches=1.0)
    metrics = measure(load_model(run.path), real, effort=LITTLE).metrics
    assert metrics["grey_pixels/kl"] == pytest.approx(read_metrics(run)["test/kl"], rel=1e-4)
    assert metrics["grey_pixels/recon"] == pytest.approx(read_metrics(run)["test/recon"], rel=0.01)


def test_a_model_whose_images_are_not_finite_is_refused(copied: Trained) -> None:
    run = copied("model=vae")
    weights = load_file(run.weights)
    weights["network.dec2.bias"][:] = float("nan")
    save_file(weights, run.weights)
    code, text = call("evaluate", run.path)
    assert code == 1
    assert "its images cannot be measured" in text


def test_floor_and_ceilings_are_in_order(real: Reference) -> None:
    bounds = measure_bounds(real)
    for name in ("fid_lenet", "kid_lenet", "label_kl"):
        assert bounds[f"floor/{name}"] < bounds[f"gaussian/{name}"] < bounds[f"noise/{name}"]
    for name in ("recall", "coverage"):
        assert bounds[f"floor/{name}"] > bounds[f"gaussian/{name}"]
    assert bounds["floor/memorisation/low"] < 1 < bounds["floor/memorisation/high"]


def test_a_dropped_digit_is_missed(real: Reference) -> None:
    labels = real.classifier.read(real.train).labels
    whole, without = real.train[:200], real.train[labels != 4][:200]
    for images, missing in ((whole, 0), (without, 1)):
        assert measure_generation(images, real)["missing_digits"] == missing


def test_a_run_ends_with_a_screen_that_says_how_good_it_is_and_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = make_run(tmp_path / "a & b", "model=vae")
    run.write_status(epoch=30, seconds=34.2, steps=900)
    bounds = {"floor/fid_lenet": 2.7, "gaussian/fid_lenet": 14.8, "samples": 300.0}
    bounds |= {"floor/coverage": 0.955, "gaussian/coverage": 0.183}
    good = read_metrics(run) | bounds | {"fid_lenet": 3.62, "coverage": 0.817}
    good |= {"missing_digits": 0.0, "active_units": 9.0}
    run.metrics.write_text(json.dumps(good))
    typed = ["model=vae", "phase=best", "lr=1e-3", "data=digits", "model.conditional=true"]
    show_run(run, typed)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 27
    assert lines[1] == "✓ VAE final on mnist, seed 0: 30 of 100 epochs in 34 s"
    (fid,) = (line.split() for line in lines if "fid ↓" in line)
    assert fid == ["realism", "fid", "↓", "3.62", "2.70", "14.80", "good"]
    assert any(line.startswith("Healthy: all 10 digits appear") for line in lines)
    assert any(line.startswith("One seed says little") for line in lines)
    following = lines[lines.index("Next") + 1 :]
    play, train, compare, _ = (shlex.split(line.replace("  ", " ")) for line in following)
    assert play == ["play", "gen-models", "explore", str(run.path)]
    kept = ["phase=best", "data=digits", "model.conditional=true"]  # its rate is the VAE's own
    assert train[-4:] == ["model=gan", *kept]
    assert compare == ["gen-models", "compare", str(tmp_path / "a & b/mnist")]

    run.metrics.write_text(json.dumps(good | {"fid_lenet": 20.41, "coverage": 0.1}))
    show_run(run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("✗ FAILED: fid 20.41 and coverage 0.100 are no better than a crude")
    assert not any("Healthy" in line for line in lines)
    show_line(run)
    line = capsys.readouterr().out
    assert line.startswith("✗ FAILED: VAE final on mnist, seed0: 30 of 100 epochs in 34 s")
    assert "only tests the setup" not in line
    run.write_status(steps=40)
    show_line(run)
    assert "only tests the setup" in capsys.readouterr().out

    run.metrics.write_text(json.dumps({"val/fid_lenet": 4.0, "val/coverage": 0.8}))
    show_line(run)
    assert capsys.readouterr().out.endswith("coverage ↑ 0.800 on validation images\n")


@pytest.mark.parametrize(
    ("value", "real", "crude", "smaller", "word"),
    [
        (2.0, 2.7, 14.8, True, "good"),
        (5.0, 2.7, 14.8, True, "good"),
        (8.0, 2.7, 14.8, True, "fair"),
        (9.0, 2.7, 14.8, True, "poor"),
        (0.5, 0.96, 0.03, False, "fair"),
        (0.0, 0.0, 0.0, True, ""),
        (1.0, None, 3.0, True, ""),
        (1126.0, 83.5, 68.5, True, ""),  # of few images, the Gaussian can be nearer
        (0.5, 0.9, 1.0, False, ""),
    ],
)
def test_a_rating_is_the_way_from_real_images_to_a_crude_gaussian(
    value: float, real: float | None, crude: float, smaller: bool, word: str
) -> None:
    assert rating(value, real, crude, smaller=smaller) == word


def test_a_model_is_left_as_it_was(copied: Trained, real: Reference) -> None:
    model = load_model(copied("model=gan").path)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    measure(model, real, effort=LITTLE)
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable


def test_a_classifier_is_made_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gen_models.metrics.fit_classifier.LEAST_STEPS", 20)
    monkeypatch.setattr("gen_models.metrics.fit_classifier.EPOCHS", 1)
    output = tmp_path / "mine"
    code, text = call("train-classifier", "--data", "digits", "--output", output)
    assert code == 0, text
    assert "% of the test images" in text
    assert load_classifier(output).record["data"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluate", "{tmp}"], "not a finished run"),
        (["train-classifier", "--data", "cifar"], "--data: name must be one of"),
    ],
)
def test_errors_are_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    code, text = call(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert code == 1
    assert says in text
    assert text.count("\n") == 1


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(
    real: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(bounds, "measure_bounds", lambda images: {"floor/fid_lenet": 1.0})
    said: list[str] = []
    assert bounds.find_bounds("digits", real, said.append) == {"floor/fid_lenet": 1.0}
    assert "cannot be written (Not a directory), so they will be measured again" in said[-1]


@pytest.mark.usefixtures("_own_cache")
@pytest.mark.parametrize("content", ["", "[1]"])
def test_a_damaged_cache_is_measured_anew_and_said(
    content: str, real: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"floor/fid_lenet": 1.0, "floor/samples": 50.0}
    monkeypatch.setattr(bounds, "measure_bounds", lambda images: made)
    few = replace(real, train=real.train[:100], test=real.test[:50])
    bounds.find_bounds("digits", few, print)
    (file,) = (tmp_path / "cache" / "gen-models").iterdir()
    file.write_text(content, encoding="utf-8")
    said: list[str] = []
    assert bounds.find_bounds("digits", few, said.append) == made
    assert said[0].startswith(str(file))
    assert said[0].endswith("measuring again")
    assert json.loads(file.read_text(encoding="utf-8")) == made
    said.clear()
    assert bounds.find_bounds("digits", few, said.append) == made
    assert said == []


def test_a_user_without_a_home_directory_has_no_cache(
    real: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: str(path))  # an id without a name
    monkeypatch.setattr(bounds, "measure_bounds", lambda images: {"floor/samples": 50.0})
    said: list[str] = []
    assert bounds.find_bounds("digits", real, said.append) == {"floor/samples": 50.0}
    assert "there is no home directory to keep it in" in said[0]


@pytest.mark.usefixtures("_own_cache")
def test_bounds_are_measured_anew_when_what_they_depend_on_changes(
    real: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another image, another classifier, other code of what reads them: never a stale bound."""
    measured: list[Reference] = []

    def count(images: Reference) -> dict[str, float]:
        measured.append(images)
        return {"floor/fid_lenet": float(len(measured)), "floor/samples": 50.0}

    monkeypatch.setattr(bounds, "measure_bounds", count)
    few = replace(real, train=real.train[:100], test=real.test[:50])
    first = bounds.find_bounds("digits", few, print)
    assert bounds.find_bounds("digits", few, print) == first
    brighter = few.train.clone()
    brighter[0, 0, 0, 0] += 0.5
    bounds.find_bounds("digits", replace(few, train=brighter), print)
    other = Classifier(real.classifier.network, real.classifier.record | {"sha256": "other"})
    bounds.find_bounds("digits", replace(few, classifier=other), print)
    monkeypatch.setattr(bounds, "hash_code", lambda files: "other code")
    bounds.find_bounds("digits", few, print)
    assert len(measured) == 4
