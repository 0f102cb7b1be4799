"""Guards of speed, memory and precision: what no run may do, whatever it computes."""

import gc
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import directory_of, small, train
from safetensors.torch import load_file

from gen_models.training.callbacks import RunLog


def _held() -> int:
    """Returns the bytes of all tensors that anything in this process still holds.

    An export leaves fake tensors behind, which are of other types and have no bytes.
    """
    gc.collect()
    kinds = (torch.Tensor, torch.nn.Parameter)
    storages = [kept.untyped_storage() for kept in gc.get_objects() if type(kept) in kinds]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.mark.slow
def test_a_sweep_does_not_grow_from_job_to_job(tmp_path: Path) -> None:
    held = []
    for seed in range(6):
        model = ("gan", "vae")[seed % 2]
        train(*small(tmp_path, f"model={model}", f"seed={seed}", "hidden_dims=[1024]", epochs=1))
        held.append(_held())
    # The weights of one such VAE take 7 MB. Resident memory would tell as much of malloc as of us.
    assert max(held[2:]) - held[1] < 2**20, held


def test_steps_behind_their_logging_read_nothing_from_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each such read makes a GPU wait; here they are counted within and between 8 steps."""
    counted: dict[int, list[str]] = {}
    now: list[int] = []
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        original = getattr(torch.Tensor, name)

        def read(tensor: Any, *args: Any, _name: str = name, _original: Any = original) -> Any:
            if now:
                counted.setdefault(now[-1], []).append(_name)
            return _original(tensor, *args)

        monkeypatch.setattr(torch.Tensor, name, read)
    begin = RunLog.on_train_batch_end
    start = RunLog.on_train_start

    def on_start(self: RunLog, trainer: Any, module: Any) -> None:
        start(self, trainer, module)
        now.append(1)

    def on_end(self: RunLog, trainer: Any, *args: Any) -> None:
        begin(self, trainer, *args)
        now.append(trainer.global_step + 1)

    monkeypatch.setattr(RunLog, "on_train_start", on_start)
    monkeypatch.setattr(RunLog, "on_train_batch_end", on_end)
    for model in (["model=gan", "model.ema_decay=0.9", "model.d_steps=2"],
                  ["model=vae", "model.binarize=true"],
                  ["model=flow", "hidden_dims=[32]"]):  # fmt: skip
        now.clear()
        counted.clear()
        every = "trainer.log_every_n_steps=4"
        options = small(tmp_path, *model, epochs=1, batches=8)
        train(*(text for text in options if "log_every" not in text), every)
        assert {4} <= set(counted)  # the mocks do count
        assert {step for step in counted if step < 8} <= {4}, counted


def test_convolutions_are_the_same_each_time_while_a_model_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a GPU: cuDNN's default gives other weights to each repetition of a run."""
    backend, seen = torch.backends.cudnn, set[tuple[bool, bool]]()
    before = backend.deterministic, backend.allow_tf32
    original = RunLog.on_train_batch_end

    def on_end(self: RunLog, *arguments: Any) -> None:
        seen.add((backend.deterministic, backend.allow_tf32))
        original(self, *arguments)

    monkeypatch.setattr(RunLog, "on_train_batch_end", on_end)
    train(*small(tmp_path, "model=vae", epochs=1))
    assert seen == {(True, False)}
    assert (backend.deterministic, backend.allow_tf32) == before


@pytest.mark.parametrize("model", ["gan", "vae", "flow"])
def test_losses_and_images_are_float32_under_bf16(model: str, tmp_path: Path) -> None:
    overrides = small(
        tmp_path, f"model={model}", "hidden_dims=[32]", "precision=bf16-mixed",
        "+callbacks.kinds._target_=test_guards.Kinds",
    )  # fmt: skip
    Kinds.found.clear()
    train(*overrides)
    assert Kinds.found == {torch.float32}
    weights = load_file(directory_of(overrides).weights)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


class Kinds(pl.Callback):
    """Notes the types of what a step returns and of images made under autocast."""

    found: set[torch.dtype] = set()  # noqa: RUF012

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.found.update(value.dtype for value in outputs.values())
        with trainer.precision_plugin.forward_context():
            self.found.add(pl_module.sample(2).dtype)
            if hasattr(pl_module, "encode"):
                self.found.update(part.dtype for part in pl_module.encode(pl_module.sample(2)))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        for group in optimizer.param_groups:
            self.found.update(parameter.grad.dtype for parameter in group["params"])


@pytest.mark.parametrize("fast", [True, False])
def test_a_processor_without_bfloat16_is_said_to_be_slow(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    train(*small(tmp_path, "model=vae", "precision=bf16-mixed", epochs=1))
    assert capsys.readouterr().out.count("bf16-mixed will be slow") == (not fast)
