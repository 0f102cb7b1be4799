"""Quality against cost: where groups, their seeds and their solvers' steps are."""

from gen_models.analysis.groups import Group
from gen_models.analysis.runs import Run
from gen_models.comparison.cost import SAMPLING, TRAINING, against_cost

BOUNDS = {"floor/fid_lenet": 0.2}


def group(label: str, *fids: float, seconds: float = 1.0, **more: float) -> Group:
    """Runs with these distances; a run of seed n takes n + 1 times the seconds."""
    runs = [
        Run(
            {"model": label.split()[0].lower(), "seed": seed, "status": "done", "phase": "best"},
            {
                "fid_lenet": fid,
                "gaussian/fid_lenet": 60.0,
                "gaussian/coverage": 0.1,
                "coverage": 0.0 if fid >= 60 else 0.5,
                "cost/sampling_seconds": seconds * (seed + 1),
                "cost/flops_per_sample": 1e6,
                **more,
            },
        )  # fmt: skip
        for seed, fid in enumerate(fids)
    ]
    return Group(label, tuple(runs))


def flow(*fids: float) -> Group:
    """A model with as many steps as one likes: 8 steps are its own number."""
    steps = {
        f"steps/{name}/{key}": value
        for name, fid, cost in (
            ("euler-1", 40.0, 1.0), ("euler-2", 20.0, 2.0), ("euler-16", 2.0, 16.0),
            ("heun-1", 16.0, 2.0), ("dopri5", 1.5, 100.0),
        )
        for key, value in (
            ("fid_lenet", fid), ("sampling_seconds", cost), ("flops_per_sample", 1e6 * cost)
        )
    }  # fmt: skip
    return group("FLOW best", *fids, seconds=8.0, **steps)


def test_a_group_is_a_point_with_the_spread_of_its_sound_seeds() -> None:
    groups = [group("GAN best", 4.0, 2.0, 3.0, 99.0), group("VAE best", 99.0)]
    seconds, flops = against_cost(groups, SAMPLING, BOUNDS)
    gan, vae = seconds.series
    assert gan.sound == [(2.0, 3.0)]
    assert gan.bars == [((1.0, 3.0), (3.0, 3.0)), ((2.0, 2.0), (2.0, 4.0))]
    assert (vae.sound, len(vae.failed), vae.bars) == ([], 1, [])
    assert seconds.level == ("real images 0.20", 0.2)
    assert 0 <= seconds.y.place(0.2) < seconds.y.place(3.0) <= 100
    assert "operations" in flops.x_label


def test_each_solver_is_a_curve_with_its_numbers_of_steps() -> None:
    (plot, _) = against_cost([flow(3.0), group("GAN best", 4.0)], SAMPLING, BOUNDS)
    euler, heun, dopri5 = sorted(plot.series[0].curves, key=lambda curve: -len(curve))[:3]
    assert euler == [(1.0, 40.0, "euler 1"), (2.0, 20.0, "2"), (16.0, 2.0, "16")]
    assert {heun[0][2], dopri5[0][2]} == {"heun 1", "dopri5"}
    assert plot.series[1].curves == []
    assert "FLOW best, euler 2 20.00 at 2" in plot.alt


def test_the_training_has_no_steps_and_nothing_measured_no_plot() -> None:
    own = flow(3.0)
    assert against_cost([own], TRAINING, BOUNDS) == []
    trained = group("FLOW best", 3.0, **{**own.runs[0].metrics, "cost/seconds": 50.0})
    (plot,) = against_cost([trained], TRAINING, {})
    assert plot.series[0].curves == []
    assert plot.level is None


def test_many_groups_share_the_mark_of_their_phase() -> None:
    (plot, _) = against_cost([group(f"GAN {i}", 4.0) for i in range(20)], SAMPLING, BOUNDS)
    (series,) = plot.series
    assert (series.label, len(series.sound)) == ("GAN best", 20)
