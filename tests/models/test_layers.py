"""Dropout: its share, its scale, its independence, and its masks over several processes."""

import pytest
import torch
import torch.distributed as dist

from gen_models.models.layers import Dropout


def dropped(n: int, width: int, share: float = 0.3) -> torch.Tensor:
    """Which units a fresh mask drops, (n, width) float64."""
    return (Dropout(share)(torch.ones(n, width)) == 0).double()


@pytest.mark.parametrize("share", [0.001, 0.3, 0.5, 0.95])
def test_share_and_scale(share: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(share)
    made = layer(torch.ones(1000, 1001))
    exact = round(65536 * share) / 65536
    assert torch.unique(made).tolist() == pytest.approx([0, 1 / (1 - exact)])
    n = made.numel()  # five standard deviations of a binomial share
    assert abs((made == 0).double().mean() - exact) < 5 * (exact * (1 - exact) / n) ** 0.5


def test_units_are_independent() -> None:
    """No correlation between units, neighbours and bytes of one 64-bit draw among them."""
    torch.manual_seed(1)
    n = 20_000
    correlations = torch.corrcoef(dropped(n, 64).T) - torch.eye(64)
    assert correlations.abs().max() < 5 / n**0.5
    flat = dropped(1, n).flatten() - 0.3
    for lag in range(1, 17):  # along a row
        assert abs((flat[lag:] * flat[:-lag]).mean() / flat.var()) < 5 / n**0.5


def test_a_mask_follows_from_the_generator_alone() -> None:
    masks = []
    for seed in (3, 4, 3):
        torch.manual_seed(seed)
        masks.append(dropped(7, 5))
    assert masks[0].equal(masks[2])
    assert not masks[0].equal(masks[1])


def test_gradients_pass_where_units_do() -> None:
    x = torch.ones(50, 30, requires_grad=True)
    made = Dropout(0.5)(x)
    made.sum().backward()
    assert x.grad is not None
    assert x.grad.equal(made)


def test_nothing_is_dropped_after_training() -> None:
    x = torch.randn(5, 4)
    assert Dropout(0.5).eval()(x) is x


def test_processes_share_one_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    whole = dropped(6, 10)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(5)
        assert dropped(3, 10).equal(whole[rank::2])
