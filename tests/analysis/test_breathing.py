"""Clips and spectra against SciPy, and the simulated cohort against what its docstring says."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate, hilbert, periodogram

from analysis.__main__ import _folder, main
from analysis.experiments.breathing import cohort
from analysis.experiments.breathing.spectra import BINS, FIRST, RATE, SAMPLES, Clips, clips, peak, spectrum

TIME = np.arange(SAMPLES) / RATE


# -- spectra ----------------------------------------------------------------------------------------------------------


def test_spectrum_is_scipys_periodogram_from_4_to_33_breaths_per_minute():
    signal = np.cumsum(np.random.default_rng(3).standard_normal((5, SAMPLES)), axis=1)
    frequencies, power = periodogram(signal, RATE, window="hann", detrend="constant")
    breathing = (frequencies * 60 > 3.5) & (frequencies * 60 < 33.5)
    expected = power[:, breathing] / power[:, breathing].sum(axis=1, keepdims=True)
    assert_allclose(60 * frequencies[breathing], FIRST + np.arange(BINS))
    assert_allclose(spectrum(signal), expected, rtol=1e-10)


@pytest.mark.parametrize("rate", [4, 15, 33])
def test_power_of_a_whole_rate_leaks_to_its_neighbours_alone(rate):
    """A Hann window's transform has three values, 1/2 and twice -1/4: of the power 4/6, 1/6, 1/6 where bins are."""
    psd = spectrum(np.sin(2 * np.pi * rate / 60 * TIME + 0.7))
    expected = np.zeros(BINS + 2)
    expected[rate - FIRST : rate - FIRST + 3] = 1, 4, 1
    expected = expected[1:-1]
    assert_allclose(psd, expected / expected.sum(), atol=1e-3)
    assert peak(psd) == rate


def test_units_and_level_do_not_matter_for_spectra():
    signal = np.random.default_rng(0).standard_normal(SAMPLES)
    assert_allclose(spectrum(1e-170 * signal), spectrum(signal), rtol=1e-9)
    assert_allclose(spectrum(1e170 * signal), spectrum(signal), rtol=1e-9)
    assert_allclose(spectrum(signal + 1e4), spectrum(signal), rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.1, -1e30, np.pi])
def test_flat_clips_are_refused_by_number(level):
    signals = np.random.default_rng(0).standard_normal((4, SAMPLES))
    flat = signals.copy()
    flat[2] = level
    for function in (spectrum, lambda x: clips(signals, x, np.arange(4)), lambda x: clips(x, signals, np.arange(4))):
        with pytest.raises(ValueError, match="clip 2 is flat: leave it out"):
            function(flat)


def test_what_has_a_gap_or_no_power_in_the_band_is_refused():
    signals = np.random.default_rng(0).standard_normal((2, SAMPLES))
    with pytest.raises(ValueError, match="clip 1 has no power from 4 to 33"):
        spectrum(np.stack([signals[0], np.resize([1.0, -1.0], SAMPLES)]))
    signals[1, 5] = np.nan
    with pytest.raises(ValueError, match="clip 1 is not finite"):
        spectrum(signals)


def test_clips_are_standardised_and_belong_to_subjects():
    chest, nose = 5 + 3 * np.random.default_rng(0).standard_normal((2, 6, SAMPLES))
    some = clips(chest, nose, np.repeat([0, 1, 2], 2))
    assert_allclose(some.chest.mean(axis=1), 0, atol=1e-6)
    assert_allclose(some.chest.std(axis=1), 1, rtol=1e-6)
    assert_allclose(some.psd.sum(axis=1), 1, rtol=1e-6)
    part = some.of(np.array([2, 0]))
    assert_array_equal(part.subject, [0, 0, 2, 2])
    assert_array_equal(part.chest, some.chest[[0, 1, 4, 5]])


# -- the cohort -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people():
    return [cohort.subject(np.random.default_rng([0, number])) for number in range(400)]


def calm(**changes):
    """A sleeper to whom nothing happens, whose sensors have little noise."""
    one = cohort.subject(np.random.default_rng(0))
    quiet = {"spread": 0.3, "events": 0.0, "movement": 0.0, "speech": 0.0, "noise": 0.02, "nose_noise": 0.01}
    return one._replace(**{"rate": 15.0, **quiet, **changes})


def night(each=60, seed=0, **changes):
    return cohort.night(calm(**changes), each, np.random.default_rng(seed))


def rates(signals):
    return peak(spectrum(signals))


def envelope(signals):
    return np.abs(hilbert(signals - signals.mean(axis=-1, keepdims=True), axis=-1))


def test_seeds_repeat_and_subjects_do_not_depend_on_how_many_there_are():
    few, many, other = cohort.cohort(3, 4, 7), cohort.cohort(5, 4, 7), cohort.cohort(3, 4, 8)
    for some, all_ in zip(few, many.of(np.arange(3)), strict=True):
        assert_array_equal(some, all_)
    assert not np.isclose(few.chest, other.chest).all(axis=1).any()
    assert not np.isclose(few.chest[:4], few.chest[4:8]).all(axis=1).any()


def test_shapes_and_no_gaps():
    some = cohort.cohort(6, 5, 0)
    assert isinstance(some, Clips) and some.chest.shape == (30, SAMPLES) and some.psd.shape == (30, BINS)
    assert some.chest.dtype == some.psd.dtype == np.float32
    assert_array_equal(some.subject, np.repeat(np.arange(6), 5))
    assert np.isfinite(some.chest).all() and np.isfinite(some.psd).all() and (some.psd >= 0).all()


def test_subjects_are_as_the_docstring_says(people):
    columns = {name: np.array([getattr(one, name) for one in people]) for name in cohort.Subject._fields}
    assert columns["rate"].min() >= 9 and columns["rate"].max() <= 24
    assert 0.7 < ((columns["rate"] >= 12) & (columns["rate"] <= 20)).mean() < 0.95
    degrees, counts = np.unique(columns["events"], return_counts=True)
    assert_array_equal(degrees, [each for each, _ in cohort.DEGREES])
    assert_allclose(counts / len(people), [share for _, share in cohort.DEGREES], atol=0.08)
    for name in ("noise", "nose_noise", "movement", "speech", "delay", "lag", "skew"):
        assert len(np.unique(columns[name])) == len(people)
        assert columns[name].max() > 1.5 * columns[name].min() >= 0


def test_a_clips_rate_stays_between_9_and_24_and_drifts():
    for rate in (9.0, 24.0):
        _, nose = night(200, rate=rate, spread=0.01)
        found = rates(nose)
        assert found.min() >= 9 and found.max() <= 24 and len(np.unique(found)) >= 3
    _, nose = night(200)
    assert abs(np.diff(rates(nose))).mean() < 0.8 < rates(nose).std()  # neighbours are alike, the night's ends are not


def test_in_calm_sleep_chest_and_nose_agree():
    chest, nose = night(200)
    assert (rates(chest) == rates(nose)).mean() > 0.97


@pytest.mark.parametrize(("delay", "lag"), [(0.1, 0.3), (0.5, 0.3), (0.1, 1.0), (0.5, 1.0)])
def test_the_nose_follows_the_airflow_late(delay, lag):
    """At w = 15 breaths per minute a first-order filter delays by another atan(w lag) / w."""
    chest, nose = night(40, delay=delay, lag=lag, spread=0.01, noise=0.0, nose_noise=0.0)
    turn = 2 * np.pi / 4
    airflow = np.gradient(chest, 1 / RATE, axis=1)
    shifts = np.arange(-SAMPLES + 1, SAMPLES) / RATE
    near = abs(shifts) < 2
    late = [shifts[near][correlate(n - n.mean(), a)[near].argmax()] for n, a in zip(nose, airflow, strict=True)]
    assert np.median(late) == pytest.approx(delay + np.arctan(turn * lag) / turn, abs=0.15)


@pytest.mark.parametrize("kind", ["obstructive", "central", "mixed"])
def test_apnoea_of_each_kind(kind):
    """Envelopes of effort and airflow from second 20 to 40."""
    effort, flow = np.ones((2, SAMPLES))
    cohort.apnoea(effort, flow, kind, 200, 400, np.random.default_rng(1))
    first, second, after = slice(200, 300), slice(300, 400), slice(400, 520)
    assert_array_equal(effort[:200], 1), assert_array_equal(flow[:200], 1)
    assert_array_equal(effort[520:], 1), assert_array_equal(flow[520:], 1)
    assert (flow[200:400] <= 0.1).all()
    assert (flow[after] >= 1.3).all() and (effort[after] >= 1.3).all()
    vain = abs(effort)
    assert vain[first].max() <= 0.1 if kind != "obstructive" else vain[first].min() >= 0.35
    assert vain[second].max() <= 0.1 if kind == "central" else vain[second].min() >= 0.35
    if kind != "central":
        assert vain[399] > vain[300]  # it grows


@pytest.mark.parametrize(("kind", "chest_goes_on"), [("obstructive", True), ("central", False)])
def test_apnoea_at_the_sensors(kind, chest_goes_on):
    """The nose falls silent in both; the belt only where effort ends."""
    shares = [float(name == kind) for name, _ in cohort.KINDS]
    chest, nose = night(300, events=1.0, kinds=shares, spread=0.01)
    quiet = envelope(nose)
    chest, nose = chest[:, 20:-20], quiet[:, 20:-20]
    silent = nose < 0.25 * np.quantile(nose, 0.75)
    belt = np.abs(np.diff(chest, axis=1, prepend=chest[:, :1]))
    ratio = belt[silent].mean() / belt[nose > np.quantile(nose, 0.5)].mean()
    assert 0.2 < silent.mean() < 0.6
    assert ratio > 0.45 if chest_goes_on else ratio < 0.4


def test_paradoxical_breathing_turns_the_belt_in_some_obstructive_events():
    signs = []
    for seed in range(300):
        effort, flow = np.ones((2, SAMPLES))
        cohort.apnoea(effort, flow, "obstructive", 200, 400, np.random.default_rng(seed))
        assert len(set(np.sign(effort[200:400]))) == 1
        signs.append(effort[300] < 0)
    assert 0.2 < np.mean(signs) < 0.4


def test_events_that_reach_over_a_clips_ends():
    for start, stop in ((-150, 100), (550, 800), (-100, 700)):
        effort, flow = np.ones((2, SAMPLES))
        cohort.apnoea(effort, flow, "mixed", start, stop, np.random.default_rng(0))
        during = slice(max(start, 0), min(stop, SAMPLES))
        assert (flow[during] <= 0.1).all() and np.isfinite(effort).all()


def broken(**changes):
    """Share of clips whose largest peak is off by more than one breath per minute, at the belt and at the nose.

    The same seed draws the same breathing with and without, so that the calm night is the truth.
    """
    chest, nose = night(300, **changes)
    _, truth = night(300)
    return tuple((abs(rates(signal) - rates(truth)) > 1).mean() for signal in (chest, nose))


def test_movement_breaks_the_belt_more_than_the_nose():
    belt, nose = broken(movement=1.0)
    assert belt > 0.15 and belt > 3 * nose
    assert broken(movement=0.0) == pytest.approx((0, 0), abs=0.01)


def test_speech_breaks_both():
    chest, nose = night(300, speech=1.0)
    assert rates(nose).std() > 3 * rates(night(300)[1]).std()
    assert rates(chest).std() > 3 * rates(night(300)[0]).std()


def test_noise_is_the_subjects_own():
    def floor(signals):
        return np.sqrt(periodogram(signals, RATE)[1][:, 200:].mean(axis=1))  # above 200 a minute nothing breathes

    noisy, calmer = night(20, noise=0.3), night(20, noise=0.05)
    assert_allclose(floor(noisy[0]).mean() / floor(calmer[0]).mean(), 6, rtol=0.15)
    assert_allclose(floor(noisy[1]), floor(calmer[1]), rtol=0.2)
    noisy, calmer = night(20, nose_noise=0.06), night(20, nose_noise=0.015)
    assert floor(noisy[1]).mean() > 1.5 * floor(calmer[1]).mean()


def test_depth_and_baseline_drift():
    chest, _ = night(100, noise=0.0)
    height = envelope(chest)[:, 50:-50].reshape(100, 5, 100).mean(axis=2)
    assert 0.1 < np.median(height.std(axis=1) / height.mean(axis=1)) < 0.5
    baseline = chest.reshape(100, 5, 120).mean(axis=2)  # over 12 s, three breaths
    assert 0.2 < baseline.std() < 0.8


def test_wander_has_its_deviation_and_its_memory():
    steps = cohort.wander(np.random.default_rng(0), 400, 4000, sd=2.0, memory=50)
    assert_allclose(steps.std(axis=1), 2.0, rtol=0.06)  # from the start
    together = (steps[100] * steps[150]).mean() / (steps[100].std() * steps[150].std())
    assert together == pytest.approx(np.exp(-1), abs=0.05)


def test_the_task_is_neither_trivial_nor_hopeless():
    """The chest's own peak is wrong by 0.9 breaths per minute, a constant guess by 2.2 (75 subjects of 200 clips)."""
    nights = [cohort.night(cohort.subject(rng), 40, rng) for rng in (np.random.default_rng([0, k]) for k in range(75))]
    chest, nose = (rates(np.concatenate(part)) for part in zip(*nights, strict=True))
    assert 0.6 < abs(chest - nose).mean() < 1.2
    assert 1.8 < abs(nose - np.median(nose)).mean() < 2.6


def test_an_example_for_a_figure():
    time, chest, nose, words = cohort.example(0)
    assert time.shape == (SAMPLES,) and chest.shape == nose.shape == (3, SAMPLES)
    assert words == ("calm", "obstructive apnoea", "movement")
    assert_array_equal(cohort.example(0)[1], chest)
    assert abs(rates(chest[:1]) - rates(nose[:1])).max() == 0
    still = envelope(nose)[:, 20:-20]
    assert (still[1] < 0.3 * np.median(still[0])).mean() > 0.2 + (still[0] < 0.3 * np.median(still[0])).mean()
    assert chest[2].std() > 1.5 * chest[0].std()


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--records", ""], "'' is not a folder"),
        (["--records", "nowhere"], "'nowhere' is not a folder; name one that holds WFDB or EDF records"),
        (["--chest", "Thorax"], "--chest and --nose name channels of recordings: give their folder with --records"),
    ],
)
def test_options_of_recordings_that_cannot_be_right(capsys, arguments, words):
    with pytest.raises(SystemExit):
        main(["figure6_breathing", *arguments])
    assert words in capsys.readouterr().err


def test_results_of_recordings_go_to_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (".", str(tmp_path)):
        assert _folder("figure6_breathing", {"records": Path(text)}) == Path(f"figures-{tmp_path.name}")
