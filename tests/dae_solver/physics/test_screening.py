"""Screening: closed forms, the fine engine, stored references, what is promised and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dae_solver.physics import (
    Calibration,
    Fault,
    PowerSystem,
    fault,
    generator_trip,
    line_trip,
    load_step,
)
from dae_solver.physics.abstention import quantile
from dae_solver.physics.case import Branch, Bus, Case, Device, Generator
from dae_solver.physics.contingencies import of_kinds
from dae_solver.physics.looks import Findings, FirstLook, fine
from dae_solver.physics.margins import margins
from dae_solver.physics.roc import operating_points, rates
from dae_solver.physics.screening import doubtful
from dae_solver.physics.separation import gone
from dae_solver.physics.trial_faults import fitting
from power_references import Reference
from scimind.errors import InputError

ROUGH = {"step": 0.1, "fine_step": 1 / 30, "t_end": 3.0}
POWER, INERTIA, W0 = 0.8, 10.0, 2 * np.pi * 60


def one_machine() -> PowerSystem:
    """A classical machine against one of infinite inertia."""
    case = Case(name="smib")
    case.buses = [Bus(id=1), Bus(id=2), Bus(id=3)]
    case.branches = [
        Branch(id="a", from_bus=1, to_bus=3, r=0.0, x=0.2),
        Branch(id="b", from_bus=3, to_bus=2, r=0.0, x=0.2),
    ]
    case.generators = [
        Generator(id="G", bus=1, p=POWER, v_set=1.0),
        Generator(id="inf", bus=2, p=0.0, v_set=1.0, slack=True),
    ]
    case.devices = [
        Device(model="GENCLS", id="G", of="G", parameters={"M": INERTIA, "D": 0.0, "xd1": 0.3}),
        Device(model="GENCLS", id="inf", of="inf", parameters={"M": 1e9, "xd1": 1e-6}),
    ]
    return PowerSystem(case)


class EqualArea:
    """The criterion for a fault at bus 3, during which no power flows."""

    def __init__(self, grid: PowerSystem) -> None:
        start = grid.scenarios([])
        angle = start.x0[grid.dae.rows("delta"), 0]
        e = start.parameters["field"][:, 0]
        self.peak = float(e[0] * e[1] / (0.7 + 1e-6))
        self.first = float(angle[0] - angle[1])
        self.last = np.pi - self.first
        cosine = POWER / self.peak * (self.last - self.first) + np.cos(self.last)
        reached = np.arccos(cosine) - self.first
        self.critical = float(np.sqrt(2 * reached * INERTIA / (W0 * POWER)))

    def margin(self, clear: float) -> float:
        """Decelerating less accelerating area, over the accelerating one."""
        angle = self.first + 0.5 * W0 * POWER / INERTIA * clear**2
        accelerating = POWER * (angle - self.first)
        decelerating = self.peak * (np.cos(angle) - np.cos(self.last)) - POWER * (self.last - angle)
        return float((decelerating - accelerating) / accelerating)


@pytest.fixture(scope="module")
def smib() -> PowerSystem:
    return one_machine()


@pytest.fixture(scope="module")
def wscc() -> PowerSystem:
    return PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3")


@pytest.fixture(scope="module")
def rough(wscc: PowerSystem) -> Calibration:
    """Of a first look that makes mistakes."""
    return wscc.calibrate_screen(cases=30, lines=("4-5", "7-8"), **ROUGH)


@pytest.mark.parametrize("every", [1 / 60, 1 / 15])
def test_margins_of_one_machine_are_those_of_the_equal_area_criterion(
    smib: PowerSystem, every: float
) -> None:
    area = EqualArea(smib)
    clear = area.critical * np.array([0.8, 0.9, 0.95, 0.99, 1.01, 1.05, 1.1, 1.2])
    scenarios = smib.scenarios(*(fault(3, t=0.1, clear=float(each)) for each in clear))
    runs = smib.simulate(scenarios, t_end=2.0, every=every, step=1 / 60)
    found = margins(runs)
    expected = np.array([area.margin(float(each)) for each in clear])
    assert np.array_equal(found.swing > 0, clear < area.critical)
    assert np.array_equal(runs.stable, clear < area.critical)
    # The fault has a reactance of 1e-4 pu, over which a little power flows.
    assert found.swing == pytest.approx(np.clip(expected, -1.0, 1.0), abs=5e-3)
    assert np.array_equal(found.advanced, np.repeat([[True, False]], len(clear), 0))


def test_margins_do_not_depend_on_the_reference_angle(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.1, clear=0.05, trip="5-7"), fault(7, t=0.1, clear=0.3))
    runs = wscc.simulate(scenarios, t_end=1.5, every=1 / 30, step=1 / 30)
    before = margins(runs)
    turned = replace(runs, solution=replace(runs.solution, x=runs.solution.x.copy()))
    turned.solution.x[..., wscc.dae.rows("delta")] += 0.9
    turned.solution.events = []  # states at events would have to turn too
    runs.solution.events = []
    assert margins(turned).margin == pytest.approx(margins(runs).margin, abs=1e-9)
    assert before.margin[0] > 0 > before.margin[1]


def test_margins_pass_zero_at_the_critical_clearing_time(wscc: PowerSystem) -> None:
    faults = [Fault(bus=7, trip="5-7"), Fault(bus=9, trip="8-9")]
    found = wscc.cct(faults, step=1 / 30, t_end=2.0)
    near = np.array([0.9, 0.97, 0.99, 1.01, 1.03, 1.1])
    scenarios = wscc.scenarios(
        *(
            fault(each.bus, t=0.0, clear=float(share * time), trip=each.trip)
            for each, time in zip(faults, found.cct, strict=True)
            for share in near
        )
    )
    runs = wscc.simulate(scenarios, t_end=2.0, every=1 / 30, step=1 / 30)
    margin = margins(runs).margin.reshape(2, -1)
    assert (margin[:, :3] > 0).all()
    assert (margin[:, 3:] <= 0).all()
    assert (np.diff(margin, axis=1) < 0).all()
    assert np.abs(margin[:, 2:4]).max() < 0.1


def test_a_machine_that_has_tripped_is_not_out_of_step(wscc: PowerSystem) -> None:
    runs = wscc.simulate(
        wscc.scenarios(generator_trip("G3", t=0.5)), t_end=8.0, every=1 / 15, step=1 / 15
    )
    assert np.ptp(runs.delta[0, -1]) > np.pi  # its angle rests while those of the others drift
    assert runs.stable.all()
    assert runs.connected[0, runs.t <= 0.5].all()
    assert not runs.connected[0, runs.t > 0.5, 2].any()
    assert margins(runs).margin[0] > 0.5


def test_scenarios_leave_a_batch_once_they_have_separated(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.1, clear=0.1), fault(7, t=0.1, clear=0.3))
    whole = wscc.simulate(scenarios, t_end=2.0, every=1 / 30, step=1 / 30)
    short = wscc.simulate(scenarios, t_end=2.0, every=1 / 30, step=1 / 30, until=gone(wscc.dae))
    assert np.array_equal(short.separated, whole.separated)
    assert np.array_equal(short.stable, [True, False])
    assert short.solution.ended[0] == 2.0
    assert short.separated[1] <= short.solution.ended[1] < 1.5
    seen = np.isfinite(short.delta[1, :, 0])
    # Sums may be added up in another order, beside other scenarios.
    assert np.abs(short.delta[1, seen] - whole.delta[1, seen]).max() < 1e-9
    assert seen.sum() < len(seen)


@pytest.mark.parametrize("name", ["wscc9_zip_dev", "wscc9_constz_dev", "ieee39_zip_dev"])
def test_first_looks_agree_with_independent_trajectories(name: str, real_data: Path) -> None:
    reference = Reference(real_data / "dae_solver", name)
    t_end = float(reference.arrays["t"][-1])
    runs = FirstLook(t_end=t_end).trajectories(reference.grid, reference.scenarios)
    found = Findings.of(runs, voltages=False)
    assert found.stable.tolist() == [meta["stable"] for meta in reference.meta]
    for meta, separated in zip(reference.meta, found.separated, strict=True):
        if not meta["stable"]:
            assert separated == pytest.approx(meta["t_sep"], abs=0.03)


def test_verdicts_are_those_of_the_fine_engine(wscc: PowerSystem, rough: Calibration) -> None:
    rng = np.random.default_rng(11)
    each = []
    for _ in range(120):  # lines, loads and times that the calibration did not see
        bus, line = [(7, "5-7"), (6, "6-9"), (9, "8-9"), (4, "4-6")][int(rng.integers(4))]
        each.append(fault(bus, t=0.15, clear=float(rng.uniform(0.05, 0.4)), trip=line))
    level = rng.uniform(0.8, 1.1, len(each))
    found = wscc.screen(each, alpha=0.05, calibration=rough, load_level=level, **ROUGH)
    truth = fine(wscc, found.scenarios, 1 / 60, 3.0).stable
    assert np.array_equal(found.stable, truth)
    assert (~truth).sum() > 20
    assert found.abstention < 0.2
    decided = ~found.abstained
    assert np.array_equal(found.first.margin[decided], found.margin[decided])
    assert (found.first.margin[decided & truth] > found.limits[0]).all()


def test_a_screen_lists_everything_with_the_most_severe_first(
    wscc: PowerSystem, rough: Calibration
) -> None:
    each = of_kinds(wscc, ("line", "fault", "generator", "load"), clear=(0.1, 0.3))
    found = wscc.screen(each, alpha=0.05, calibration=rough, **ROUGH)
    assert len(each) == 9 + 9 * 2 * 2 + 3 + 3 * 2
    assert len(found.refused) == 3 + 3 * 4  # the transformers of the three machines
    assert all("[power.island]" in one.reason for one in found.refused)
    table = found.to_pandas()
    assert sorted(table["number"]) == list(range(len(each)))
    assert (table["verdict"] == "not simulated").sum() == len(found.refused)
    simulated = table[table["verdict"] != "not simulated"]
    assert simulated["margin"].is_monotonic_increasing
    unstable = simulated["verdict"] == "unstable"
    assert np.array_equal(unstable, np.isfinite(simulated["separated_s"].astype(float)))
    assert (simulated["margin"][unstable] <= 0).all()
    lost = simulated[simulated["kind"] == "generator_trip"]
    assert (lost["lowest_frequency_hz"] < 59.9).all()
    assert simulated["lowest_voltage_pu"].dropna().between(0.0, 1.1).all()


def test_a_double_trip_is_simulated_or_refused(wscc: PowerSystem) -> None:
    pairs = of_kinds(wscc, ("double",))
    assert len(pairs) == 36
    assert [one.kind for one in pairs[0]] == ["line_trip", "line_trip"]


def test_weakest_voltage_and_nadir_are_those_of_the_trajectory(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(load_step(5, t=0.2, p=1.4), fault(7, t=0.2, clear=0.05))
    runs = wscc.simulate(scenarios, t_end=1.0, every=1 / 30, step=1 / 30)
    found = Findings.of(runs, voltages=True)
    size = np.abs(runs.voltages())
    after = [0.2, 0.25]
    for k in range(2):
        seen = size[k, runs.t > after[k]]
        assert found.voltage[k] == seen.min()
        assert found.bus[k] == np.unravel_index(seen.argmin(), seen.shape)[1]
    share = wscc.dae.inertia / wscc.dae.inertia.sum()
    assert found.nadir == pytest.approx(60 * (runs.omega @ share).min(1), rel=1e-12)


def test_a_certificate_that_reaches_over_180_degrees_leaves_the_verdict_open(
    wscc: PowerSystem,
) -> None:
    scenarios = wscc.scenarios(
        fault(7, t=0.1, clear=0.05), fault(7, t=0.1, clear=0.1), fault(7, t=0.1, clear=0.5)
    )
    runs = wscc.simulate(scenarios, t_end=1.5, every=1 / 30, step=1 / 30)
    left = 90.0 - 0.5 * np.degrees(runs.spread.max(1))  # an angle may be off by so much
    assert (left[:2] > 0).all()
    for bound, decided in (
        (left[1] - 0.1, [True, True, True]),
        (left[1] + 0.1, [True, False, True]),
        (left[0] + 0.1, [False, False, True]),
        (np.inf, [False, False, False]),
    ):
        sure = replace(runs, certificate=np.full(3, bound))
        assert Findings.of(sure, voltages=False).decided.tolist() == decided


def test_the_share_of_misses_is_what_alpha_promises() -> None:
    # For continuous margins a new one exceeds the limit with probability 1 - rank / (number + 1).
    rng = np.random.default_rng(3)
    number, repeats = 199, 4000
    for alpha, expected in ((0.05, 10 / 200), (0.01, 2 / 200), (0.013, 2 / 200)):
        draws = rng.normal(size=(repeats, number + 1))
        limit = [quantile(row[:-1], alpha, "unstable") for row in draws]
        missed = (draws[:, -1] > limit).mean()
        assert expected <= alpha
        assert missed == pytest.approx(expected, abs=4 * np.sqrt(expected / repeats))


def overlapping(wscc: PowerSystem, number: int = 400) -> Calibration:
    """Margins of a first look that is often wrong."""
    rng = np.random.default_rng(4)
    return Calibration(
        case=wscc.case.name,
        load_model=str(wscc.dae.load_model),
        look=FirstLook().name,
        stable=np.clip(rng.normal(0.3, 0.2, number), -1.0, 1.0),
        unstable=np.clip(rng.normal(-0.3, 0.2, number), -1.0, 1.0),
    )


def test_abstention_grows_as_alpha_falls(wscc: PowerSystem) -> None:
    calibration = overlapping(wscc)
    scenarios = wscc.scenarios(
        *(fault(7, t=0.1, clear=float(each)) for each in np.linspace(0.02, 0.3, 15))
    )
    first = Findings.of(FirstLook().trajectories(wscc, scenarios), voltages=False)
    alphas = (0.2, 0.05, 0.02, 0.01, 0.005)
    doubt = [doubtful(first, calibration.limits(alpha)) for alpha in alphas]
    for more, less in zip(doubt[1:], doubt[:-1], strict=True):
        assert (more | ~less).all()
    assert doubt[0].sum() < doubt[-1].sum()
    points = operating_points(calibration, alphas)
    assert [point.alpha for point in points] == list(alphas)
    shares = [point.abstained for point in points]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_rates_are_counts_over_all_limits(wscc: PowerSystem) -> None:
    calibration = replace(
        overlapping(wscc), stable=np.array([0.1, 0.5, np.inf]), unstable=np.array([-0.5, 0.2])
    )
    missed, alarms = rates(calibration)
    # Limits: below all, -0.5, 0.1, 0.2, 0.5, above all.
    assert missed == pytest.approx([1, 0.5, 0.5, 0, 0, 0])
    assert alarms == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 1])


def test_a_calibration_can_be_kept(wscc: PowerSystem, tmp_path: Path) -> None:
    calibration = replace(overlapping(wscc), lines=("4-5",))
    calibration.stable[0], calibration.unstable[0] = np.inf, -np.inf
    calibration.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert np.array_equal(again.stable, calibration.stable)
    assert np.array_equal(again.unstable, calibration.unstable)
    assert again.lines == ("4-5",)
    assert again.limits(0.01) == calibration.limits(0.01)
    (tmp_path / "other.json").write_text("[1, 2]")
    for name in ("other.json", "nothing.json"):
        with pytest.raises(InputError, match="no calibration of a screen"):
            Calibration.load(tmp_path / name)


def test_two_stages_find_what_the_fine_engine_finds(wscc: PowerSystem) -> None:
    faults = [Fault(bus=bus, trip=trip) for bus, trip in ((7, "5-7"), (9, "8-9"), (4, "4-6"))]
    faults.append(Fault(bus=3, r=0.5))  # never unstable
    level = np.array([1.0, 1.05, 0.9, 1.0])
    options = {"step": 1 / 30, "t_end": 2.0, "tolerance": 1e-3}
    alone = wscc.cct(faults, load_level=level, coarse=None, **options)
    both = wscc.cct(faults, load_level=level, **options)
    assert np.abs(both.cct[:3] - alone.cct[:3]).max() <= 1e-3
    assert np.isinf(both.cct[3])
    assert np.isinf(alone.cct[3])
    assert ((both.unstable - both.stable)[:3] <= 1e-3).all()
    assert both.simulations < alone.simulations / 3


def test_a_wrong_coarse_engine_does_not_make_a_wrong_time(smib: PowerSystem) -> None:
    # Steps of a quarter of a second miss by far more than the tolerance.
    area = EqualArea(smib)
    off = smib.cct(3, step=0.25, coarse=None, tolerance=1e-4, t_end=2.0).cct[0]
    assert abs(off - area.critical) > 2e-3
    found = smib.cct(3, step=1 / 60, coarse=0.25, tolerance=1e-4, t_end=2.0)
    assert found.cct[0] == pytest.approx(area.critical, abs=1e-3)
    assert found.unstable[0] - found.stable[0] <= 1e-4 * (1 + 1e-6)


def test_wrong_requests_say_why(wscc: PowerSystem) -> None:
    calibration, trip = overlapping(wscc), line_trip("4-5", t=0.1)
    few = replace(calibration, unstable=calibration.unstable[:40])
    other = replace(calibration, case="another")
    cases = [
        ({"calibration": few}, "needs at least 99 unstable .* there are 40"),
        ({"calibration": few, "alpha": 0.02}, "needs at least 49 unstable"),
        ({"calibration": calibration, "alpha": 0.0}, "alpha=0 is not between 0 and 1"),
        ({"calibration": other}, "the case 'another'"),
        ({"calibration": calibration, "step": 0.1}, "the first look 'rk4 with 0.0666667"),
        ({"calibration": calibration, "step": 0.3}, "steps of 0.3 s; give at most 0.1 s"),
        (
            {"calibration": replace(calibration, look="hybrid within 3 deg, 5 s"),
             "solver": "hybrid"},
            "needs operator=",
        ),
    ]  # fmt: skip
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            wscc.screen([trip], **options)
    with pytest.raises(InputError, match="no contingency to screen"):
        wscc.screen([], calibration=calibration)
    with pytest.raises(InputError, match="none of 1 contingencies can be simulated"):
        wscc.screen([line_trip("1-4", t=0.1)], calibration=calibration)
    with pytest.raises(InputError, match="bus 99, which does not exist"):
        wscc.screen([fault(99, t=0.1, clear=0.1)], calibration=calibration)
    with pytest.raises(InputError, match="no contingencies of kind 'quake'"):
        of_kinds(wscc, ("quake",))
    with pytest.raises(InputError, match="there is no branch '1-9'"):
        wscc.calibrate_screen(lines=("1-9",))


def stiff() -> PowerSystem:
    """The nine-bus system with regulators that are too fast for steps of 1/15 and 1/30 s."""
    case = PowerSystem.load("wscc9").case
    for device in case.devices:
        if device.model == "IEEET1":
            device.parameters = {**device.parameters, "TA": 0.01}
    return PowerSystem(case)


def test_the_step_of_a_first_look_is_as_short_as_the_grid_needs(
    wscc: PowerSystem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert fitting(wscc, FirstLook(), 1 / 240).step == 1 / 15
    assert caplog.messages == ["first look with steps of 1/15 s"]
    grid, trip = stiff(), line_trip("4-5", t=0.1)
    assert not grid.simulate(grid.scenarios(trip), step=1 / 15).stable.any()
    found = grid.screen([trip], alpha=0.2, cases=5, seed=1)
    step = float(found.calibration.look.split()[2])
    assert 1 / 240 <= step < 1 / 30
    assert "steps of 1/30 s are too long for a first look" in caplog.text
    assert found.calibration.look in set(found.to_pandas()["decided_by"])
    again = grid.screen([trip], alpha=0.2, calibration=found.calibration)
    assert np.array_equal(again.margin, found.margin)
    with pytest.raises(InputError, match=r"no step above fine_step=0.02 s .* wscc9"):
        grid.screen([trip], alpha=0.2, cases=5, fine_step=1 / 50)


def test_load_levels_without_an_operating_point_are_drawn_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = PowerSystem.load("wscc9").case
    for device in case.devices:
        if device.model == "TGOV1DB":
            device.parameters = {**device.parameters, "VMAX": 1.75}
    grid, lines = PowerSystem(case), ("4-5", "7-8")
    options = {"step": 0.1, "fine_step": 1 / 30, "t_end": 2.0, "lines": lines, "cases": 10}
    with pytest.raises(InputError, match=r"TGOV1DB G2 .* outside"):
        grid.scenarios([], load_level=1.15)
    found = grid.calibrate_screen(calibration_load=(0.9, 1.15), **options)
    assert min(len(found.stable), len(found.unstable)) >= 10
    assert "load levels from 0.9 to 1.15 have no operating point and are drawn again" in caplog.text
    with pytest.raises(InputError, match=r"most load levels from 1.15 to 1.3 .*calibration_load"):
        grid.calibrate_screen(calibration_load=(1.15, 1.3), **options)


@pytest.mark.nightly
def test_no_unstable_contingency_on_unseen_lines_is_called_stable(wscc: PowerSystem) -> None:
    calibration = wscc.calibrate_screen(lines=("4-5", "5-7", "7-8"), seed=1)
    rng = np.random.default_rng(7)
    each = []
    for _ in range(1000):
        bus, line = [(4, "4-6"), (6, "6-9"), (9, "6-9"), (9, "8-9")][int(rng.integers(4))]
        each.append(fault(bus, t=0.2, clear=float(rng.uniform(0.04, 0.4)), trip=line))
    level = rng.uniform(0.8, 1.1, len(each))
    found = wscc.screen(each, calibration=calibration, load_level=level, voltages=False)
    truth = fine(wscc, found.scenarios, 1 / 240, 5.0).stable
    assert (~truth).sum() >= 300
    assert not (found.first.stable & ~found.abstained & ~truth).any()
    assert found.abstention <= 0.2
    assert np.array_equal(found.stable, truth)
