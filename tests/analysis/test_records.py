"""Recordings: small WFDB, EDF and BDF files of known sinusoids, and what can be wrong with a folder of them."""

import sys
import tracemalloc
import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import periodogram

from analysis.experiments.breathing import formats, records
from analysis.experiments.breathing.spectra import peak, spectrum

if not (find_spec("wfdb") and find_spec("pyedflib")):
    pytest.skip("needs the extra: python3 -m pip install --editable '.[records]'", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # wfdb 4.3 uses what pandas 3.1 deprecates
    import pyedflib
    import wfdb

pytestmark = [
    pytest.mark.filterwarnings("ignore:The inplace keyword"),  # wfdb's writer, with pandas 3.1
    pytest.mark.filterwarnings("ignore:Forcing a specific record_duration"),  # pyedflib's, of rates like 12.5
]
CHEST, NOSE = "Resp (chest)", "Resp (nasal)"


def sine(rate, minutes=2.0, bpm=15.0, phase=0.0, height=1.0):
    """Breaths at a known rate, sampled `rate` times a second."""
    return height * np.sin(2 * np.pi * bpm / 60 * np.arange(round(minutes * 60 * rate)) / rate + phase)


def write_wfdb(folder, name, rate, *, names=(CHEST, NOSE), signals=None, **options):
    signals = signals if signals is not None else [sine(rate), sine(rate, phase=1.0)]
    wfdb.wrsamp(
        name,
        fs=rate,
        units=["l"] * len(names),
        sig_name=list(names),
        p_signal=np.stack(signals, axis=1),
        fmt=["16"] * len(names),
        write_dir=str(folder),
        **options,
    )


def write_edf(folder, name, rates, *, names=(CHEST, NOSE), signals=None, seconds=1.0):
    """Each channel at its own rate; `seconds` is how long a block of the file lasts."""
    signals = signals if signals is not None else [sine(rate, phase=k) for k, rate in enumerate(rates)]
    kind = pyedflib.FILETYPE_BDFPLUS if name.endswith("bdf") else pyedflib.FILETYPE_EDFPLUS
    with pyedflib.EdfWriter(str(folder / name), len(names), file_type=kind) as file:
        file.setDatarecordDuration(seconds)
        file.setSignalHeaders(
            [
                {
                    **{"label": label, "dimension": "l", "sample_frequency": rate, "transducer": "", "prefilter": ""},
                    **{"physical_max": 10.0, "physical_min": -10.0, "digital_max": 32767, "digital_min": -32768},
                }
                for label, rate in zip(names, rates, strict=True)
            ]
        )
        file.writeSamples([np.clip(signal, -10, 10) for signal in signals])


def write_five(folder, write=write_wfdb, rate=25, **options):
    """As many subjects as are needed."""
    for number in range(5):
        write(folder, f"slp{number:02d}", rate, **options)


def minutes(folder, name, channel=0):
    return records._minutes(formats.signal(folder / name, channel))


# -- rates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [250, 128, 100, 62.4725, 25, 12.5, 10, 8, 249.999])
def test_fifteen_breaths_stay_fifteen_from_any_rate_of_wfdb(tmp_path, rate):
    write_wfdb(tmp_path, "r", rate, signals=[sine(rate, 3, phase=0.5), sine(rate, 3)])
    values = minutes(tmp_path, "r.hea").values
    time = np.arange(600 * len(values)) / 10
    assert values.shape == (3, 600) if rate not in (62.4725, 249.999) else len(values) in (2, 3)
    assert_array_equal(peak(spectrum(values)), 15)
    inside = slice(20, -20)  # where the ends are not felt
    assert_allclose(values.ravel()[inside], np.sin(2 * np.pi * time / 4 + 0.5)[inside], atol=0.02)
    frequencies, power = periodogram(values[0], 10)
    assert 60 * frequencies[power.argmax()] == pytest.approx(15)


@pytest.mark.parametrize("name", ["r.edf", "r.bdf"])
@pytest.mark.parametrize(("rate", "seconds"), [(250, 1), (25, 1), (12.5, 2), (10, 1), (128, 1), (12.8, 5)])
def test_fifteen_breaths_stay_fifteen_from_any_rate_of_edf(tmp_path, name, rate, seconds):
    write_edf(tmp_path, name, [rate, 50], seconds=seconds)
    for channel, phase in enumerate((0, 1)):
        values = minutes(tmp_path, name, channel).values
        time = np.arange(1200) / 10
        assert values.shape == (2, 600)
        assert_array_equal(peak(spectrum(values)), 15)
        assert_allclose(values.ravel()[20:-20], np.sin(2 * np.pi * time / 4 + phase)[20:-20], atol=0.02)


def test_what_is_faster_than_ten_a_second_does_not_fold_into_breathing(tmp_path):
    heart = sine(250, bpm=10 * 60 + 20)  # would be seen as 20 breaths a minute
    write_wfdb(tmp_path, "r", 250, signals=[sine(250) + 3 * heart, sine(250)])
    assert_allclose(minutes(tmp_path, "r.hea").values.ravel()[20:-20], sine(10)[20:-20], atol=0.02)


def test_channels_of_a_wfdb_record_may_have_rates_of_their_own(tmp_path):
    frames = 25 * 120
    chest, nose = sine(100), sine(25, phase=1.0)
    wfdb.wrsamp(
        "multi",
        fs=25,
        units=["l", "l"],
        sig_name=[CHEST, NOSE],
        e_p_signal=[chest, nose],
        samps_per_frame=[4, 1],
        fmt=["16", "16"],
        write_dir=str(tmp_path),
    )
    there = formats.signal(tmp_path / "multi.hea", 0)
    assert there.rate == 100 and len(there.values) == 4 * frames
    assert_allclose(there.values, chest, atol=1e-3)
    assert formats.signal(tmp_path / "multi.hea", 1).rate == 25


def test_records_put_together_from_segments_are_read_once_and_pauses_are_gaps(tmp_path):
    for number in range(5):
        for part in range(2):
            write_wfdb(tmp_path, f"n{number}x_{part}", 25, signals=[sine(25), sine(25, phase=1)])
        (tmp_path / f"n{number}x.hea").write_text(
            f"n{number}x/3 2 25 {25 * 300}\nn{number}x_0 {25 * 120}\n~ {25 * 60}\nn{number}x_1 {25 * 120}\n"
        )
    said = []
    clips = records.read(tmp_path, say=said.append)
    assert_array_equal(np.bincount(clips.subject), 4)
    assert said == [f"--records {tmp_path}: 5 of 25 minutes are left out: 5 with gaps, 0 flat, 0 saturated"]


def test_segments_may_differ_in_their_channels(tmp_path):
    """What WFDB calls a variable layout: a header of all channels, and segments that have some of them."""
    (tmp_path / "v_layout.hea").write_text(
        f"v_layout 2 25 0\n~ 0 200/l 16 0 0 0 0 {CHEST}\n~ 0 200/l 16 0 0 0 0 {NOSE}\n"
    )
    write_wfdb(tmp_path, "v_1", 25)
    write_wfdb(tmp_path, "v_2", 25, names=(NOSE,), signals=[sine(25, 1)])
    write_wfdb(tmp_path, "v_3", 25, names=(NOSE, CHEST), signals=[sine(25, 1, phase=1.0), sine(25, 1)])
    (tmp_path / "v.hea").write_text("v/4 2 25 6000\nv_layout 0\nv_1 3000\nv_2 1500\nv_3 1500\n")
    chest, nose = (formats.signal(tmp_path / "v.hea", k) for k in range(2))
    assert_array_equal(np.isnan(chest.values), np.repeat([False, True, False], [3000, 1500, 1500]))
    assert_allclose(chest.values[4500:], sine(25, 1), atol=1e-3)
    assert_allclose(nose.values[4500:], sine(25, 1, phase=1.0), atol=1e-3)
    assert formats.header(tmp_path / "v.hea").names == (CHEST, NOSE)


# -- chest and nose stay together -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wfdb", "edf"])
def test_chest_and_nose_stay_aligned_over_hours(tmp_path, kind):
    """An event of a known second is in the same place of the same minute in both, at rates of their own."""
    rates, event = (249.5, 32), 200.25 * 60
    signals = []
    for rate in rates:
        time = np.arange(round(rate * 60 * 240)) / rate
        signals.append(0.1 * np.sin(2 * np.pi * time / 4) + 5 * np.exp(-(((time - event) / 2) ** 2)))
    if kind == "edf":
        write_edf(tmp_path, "r.edf", rates, signals=signals, seconds=2)
    else:
        for name, rate, values in zip("ab", rates, signals, strict=True):
            write_wfdb(tmp_path, name, rate, names=(CHEST,), signals=[values])
    for k in range(2):
        values = minutes(tmp_path, "r.edf", k).values if kind == "edf" else minutes(tmp_path, f"{'ab'[k]}.hea").values
        assert values.shape == (240, 600)
        assert abs(values).max(axis=1).argmax() == 200
        assert values[200].argmax() == pytest.approx(150, abs=1)


def test_minutes_that_are_left_out_are_left_out_of_both(tmp_path):
    """Rates of 6, 7, 8 ... name the minutes; each channel has a fault of its own."""
    chest, nose = (np.concatenate([sine(25, 1, bpm) for bpm in range(6, 16)]) for _ in range(2))
    chest[25 * 60 * 2 : 25 * 60 * 3] = 0.3
    nose[25 * 60 * 5 + 700] = np.nan
    for number in range(5):
        write_wfdb(tmp_path, f"s{number}", 25, signals=[chest, nose])
    clips = records.read(tmp_path, say=lambda _: None)
    expected = np.tile([6, 7, 9, 10, 12, 13, 14, 15], 5)
    assert_array_equal(peak(clips.psd), expected)
    assert_array_equal(peak(spectrum(clips.chest.astype(float))), expected)
    assert_array_equal(clips.subject, np.repeat(np.arange(5), 8))


# -- what is left out -------------------------------------------------------------------------------------------------


def faults(signal, rate=25):
    found = records._minutes(formats.Signal(np.asarray(signal, float), rate)).faults
    return {name: list(np.flatnonzero(row)) for name, row in zip(records.FAULTS, found, strict=True)}


def test_a_sensor_that_is_off_for_most_of_a_record_is_flat_there():
    signal, noise = sine(25, 10), 1e-3 * np.random.default_rng(1).standard_normal(25 * 600)
    signal[25 * 60 * 3 :] = 0
    assert faults(signal)["flat"] == [3, 4, 5, 6, 7, 8, 9]
    assert faults(signal + noise)["flat"] == [3, 4, 5, 6, 7, 8, 9]
    assert faults(np.full(25 * 600, 0.1))["flat"] == list(range(10))
    assert faults(100 + signal + noise)["flat"] == [3, 4, 5, 6, 7, 8, 9]


def test_quiet_breathing_beside_movement_is_not_flat():
    signal = sine(25, 10)
    signal[: 25 * 60] *= 20  # movement
    signal[25 * 60 * 5 : 25 * 60 * 6] *= 0.1
    assert faults(signal) == {"with gaps": [], "flat": [], "saturated": []}


def test_an_apnoea_of_forty_seconds_is_not_flat():
    nose = sine(25, 10)
    nose[25 * 60 * 4 : 25 * 60 * 4 + 25 * 40] = 0
    assert not any(faults(nose).values())


def test_saturated_minutes():
    signal = sine(25, 10)
    signal[25 * 60 * 2 : 25 * 60 * 4] = np.clip(40 * signal[25 * 60 * 2 : 25 * 60 * 4], -2, 2)
    assert faults(signal)["saturated"] == [2, 3]
    assert not any(faults(np.round(sine(25, 10) * 20)).values())  # coarse, but not at its ends


def test_gaps_do_not_ring_into_their_neighbours():
    signal = 1000 + sine(25, 4)
    whole = records._minutes(formats.Signal(signal, 25)).values
    signal[25 * 60 : 25 * 120] = np.nan
    found = records._minutes(formats.Signal(signal, 25))
    assert_array_equal(found.faults[0], [False, True, False, False])
    assert_allclose(found.values[[0, 2, 3]] - found.values[3].mean(), (whole - whole[3].mean())[[0, 2, 3]], atol=0.5)


def test_nothing_but_gaps():
    assert faults(np.full(25 * 120, np.nan))["with gaps"] == [0, 1]


def test_less_than_a_minute_is_no_clip_and_a_rest_is_cut():
    assert faults(sine(25, 0.99)) == {"with gaps": [], "flat": [], "saturated": []}
    assert len(records._minutes(formats.Signal(sine(25, 0.99), 25)).values) == 0
    assert len(records._minutes(formats.Signal(sine(25, 2.99), 25)).values) == 2
    assert len(records._minutes(formats.Signal(np.zeros(0), 25)).values) == 0


def test_units_do_not_matter(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    noise = 0.05 * np.random.default_rng(0).standard_normal((2, 3000))
    write_five(tmp_path / "one", signals=[sine(25) + noise[0], sine(25) + noise[1]])
    write_five(tmp_path / "two", signals=[7 + 1e-2 * (sine(25) + noise[0]), 5e4 * (sine(25) + noise[1])])
    one, two = (records.read(tmp_path / name) for name in ("one", "two"))
    assert_allclose(one.chest, two.chest, atol=0.01)
    assert_allclose(one.psd, two.psd, atol=1e-4)
    assert_allclose(one.chest.std(axis=1), 1, rtol=1e-5)
    assert one.chest.dtype == one.psd.dtype == np.float32


# -- which channels, whose record -------------------------------------------------------------------------------------


def test_names_in_any_case_and_the_first_of_several_defaults(tmp_path):
    for number in range(5):
        names = ["RESP (NASAL)", "resp (abdominal)", "Resp (Chest)"][: 3 - number % 2]
        write_edf(tmp_path, f"p{number}.edf", [10] * len(names), names=names)
    assert [r.chest for r in records.check(tmp_path)] == [2, 1, 2, 1, 2]
    assert [r.nose for r in records.check(tmp_path, chest="resp (ABDOMINAL)")] == [0] * 5


def test_case_counts_where_it_tells_channels_apart():
    assert records._channel(["RESP", "Resp"], ["Resp"]) == 1
    assert records._channel([" resp "], ["Resp"]) == 0
    with pytest.raises(LookupError, match="2 channels are named 'resp'"):
        records._channel(["RESP", "Resp"], ["resp"])


def test_records_without_the_channels_are_left_out_with_a_line(tmp_path, capsys):
    write_five(tmp_path)
    write_wfdb(tmp_path, "slp90", 25, names=("ECG", NOSE))
    write_edf(tmp_path, "twice.edf", [10] * 3, names=(CHEST, NOSE, NOSE))
    clips = records.read(tmp_path)
    assert_array_equal(np.unique(clips.subject), np.arange(5))
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "slp90.hea (no channel 'Resp (chest)' or 'Resp (abdominal)'" in line
    assert "twice.edf (2 channels are named 'Resp (nasal)')" in line


def test_too_few_subjects_are_refused_before_anything_is_read(tmp_path, monkeypatch):
    write_five(tmp_path)
    write_wfdb(tmp_path, "slp04", 25, names=("ECG", NOSE))
    monkeypatch.setattr(records, "signal", None)
    with pytest.raises(
        RuntimeError, match=r"4 subjects can be used, at least 5.*slp04\.hea.*'ECG'.*--chest and --nose"
    ):
        records.read(tmp_path)


def test_a_mistyped_channel_is_refused_with_the_names_there_are(tmp_path):
    write_five(tmp_path)
    with pytest.raises(RuntimeError, match=r"no channel 'Thorax'.*'Resp \(chest\)', 'Resp \(nasal\)'; name them"):
        records.read(tmp_path, chest="Thorax")


def test_a_channel_that_is_too_slow_for_breathing_is_left_out(tmp_path):
    write_five(tmp_path)
    write_wfdb(tmp_path, "slp90", 1)
    write_edf(tmp_path, "p.edf", [25, 1])
    said = []
    assert len(records.check(tmp_path, say=said.append)) == 5
    assert "p.edf ('Resp (nasal)' has fewer than 2 samples a second)" in said[0]
    assert "slp90.hea ('Resp (chest)' has fewer than 2 samples a second)" in said[0]


def test_headers_tell_rates(tmp_path):
    write_edf(tmp_path, "p.edf", [25, 12.5], seconds=2)
    write_wfdb(tmp_path, "r", 62.4725)
    assert formats.header(tmp_path / "p.edf") == ((CHEST, NOSE), (25.0, 12.5), frozenset())
    assert formats.header(tmp_path / "r.hea") == ((CHEST, NOSE), (62.4725, 62.4725), frozenset())


def test_one_channel_cannot_be_both(tmp_path):
    write_five(tmp_path)
    with pytest.raises(RuntimeError, match=r"'Resp \(nasal\)' cannot be both chest and nose"):
        records.read(tmp_path, chest="resp (nasal)")


def test_parts_of_one_night_are_one_subject(tmp_path):
    for name in ("slp01a", "slp01b", "slp02a", "slp02b", "slp03", "slp67x", "slp04"):
        write_wfdb(tmp_path, name, 25)
    clips = records.read(tmp_path)
    assert_array_equal(np.bincount(clips.subject), [4, 4, 2, 2, 2])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("slp01a", "slp01b", True),
        ("SLP01A", "slp01b", True),
        ("slp67x", "slp67", True),
        ("slp01a", "slp02a", False),
        ("a", "b", False),
        ("patient_a", "patient_b", False),
        ("n1", "n2", False),
        ("s01ab", "s01ac", False),
    ],
)
def test_whose_record_it_is(one, other, same):
    assert (records.subject(one) == records.subject(other)) is same


def test_four_subjects_with_usable_minutes_are_too_few(tmp_path):
    write_five(tmp_path)
    write_wfdb(tmp_path, "slp04", 25, signals=[sine(25), np.zeros(3000)])
    with pytest.raises(RuntimeError, match=r"4 subjects can be used, at least 5 .*of 10 minutes, 0 with gaps, 2 flat"):
        records.read(tmp_path, say=lambda _: None)


def test_records_shorter_than_a_minute_alone(tmp_path):
    write_five(tmp_path, signals=[sine(25, 0.5), sine(25, 0.5)])
    with pytest.raises(RuntimeError, match=r"0 subjects can be used, .*of 0 minutes"):
        records.read(tmp_path)


# -- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_none(tmp_path):
    for function in (records.read, records.fingerprint):
        with pytest.raises(RuntimeError, match="nowhere: it is not a folder"):
            function(tmp_path / "nowhere")


def test_annotations_without_a_header_are_no_record(tmp_path):
    wfdb.wrann("r", "st", np.array([10]), symbol=["N"], write_dir=str(tmp_path))
    with pytest.raises(RuntimeError, match="no WFDB header"):
        records.read(tmp_path)
    write_five(tmp_path)
    assert len(records.check(tmp_path)) == 5


def test_records_in_sub_folders_are_pointed_to(tmp_path):
    (tmp_path / "inside").mkdir()
    write_five(tmp_path / "inside")
    with pytest.raises(RuntimeError, match=r"name a sub-folder instead, such as .*inside"):
        records.read(tmp_path)


@pytest.mark.parametrize("name", ["bad.edf", "bad.bdf", "bad.hea"])
def test_an_unreadable_file_is_one_error_that_names_it(tmp_path, name):
    write_five(tmp_path)
    (tmp_path / name).write_bytes(b"this is\nnothing\n" * 40)
    with pytest.raises(RuntimeError, match=rf"{name} cannot be read as .*: fetch it again, or take it out") as caught:
        records.check(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", ["lost", "short"])
def test_lost_and_truncated_samples(tmp_path, cut):
    write_five(tmp_path)
    samples = tmp_path / "slp03.dat"
    samples.write_bytes(samples.read_bytes()[:1000])
    if cut == "lost":
        samples.unlink()
    with pytest.raises(RuntimeError, match=r"slp03\.hea cannot be read"):
        records.read(tmp_path)


def test_a_truncated_edf(tmp_path):
    write_five(tmp_path)
    write_edf(tmp_path, "r.edf", [10, 10])
    (tmp_path / "r.edf").write_bytes((tmp_path / "r.edf").read_bytes()[:-300])
    with pytest.raises(RuntimeError, match=r"r\.edf cannot be read"):
        records.read(tmp_path)


def test_kinds_may_be_mixed_and_hidden_files_do_not_count(tmp_path):
    for number, name in enumerate(("a.edf", "b.bdf")):
        write_edf(tmp_path, name, [10, 20 + number])
    for name in ("c", "d", "e"):
        write_wfdb(tmp_path, name, 12.5)
    (tmp_path / "._a.edf").write_bytes(b"of another system")
    assert_array_equal(records.read(tmp_path).subject, np.repeat(np.arange(5), 2))


@pytest.mark.parametrize(("package", "name"), [("wfdb", "r.hea"), ("pyedflib", "r.edf")])
def test_a_library_is_asked_for_only_if_a_file_needs_it(tmp_path, monkeypatch, package, name):
    if package == "wfdb":
        for number in range(5):
            write_edf(tmp_path, f"p{number}.edf", [10, 10])
    else:
        write_five(tmp_path)
    monkeypatch.setattr(formats, "find_spec", lambda asked: None if asked == package else object())
    monkeypatch.setitem(sys.modules, package, None)
    assert len(np.unique(records.read(tmp_path).subject)) == 5
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(RuntimeError, match=rf"{name} is an? .*python3 -m pip install --editable '\.\[records\]'"):
        records.read(tmp_path)


# -- size -------------------------------------------------------------------------------------------------------------


def test_a_night_is_read_in_parts_that_join(tmp_path, monkeypatch):
    write_wfdb(tmp_path, "r", 25, signals=[sine(25, 7), sine(25, 7, bpm=9)])
    whole = formats.signal(tmp_path / "r.hea", 1)
    monkeypatch.setattr(formats, "PART", 777)
    assert_array_equal(formats.signal(tmp_path / "r.hea", 1).values, whole.values)
    assert len(whole.values) == 25 * 60 * 7


def test_a_night_takes_a_fraction_of_its_size(tmp_path):
    """An hour of 12 channels at 250 Hz is 86 MB as float64; one channel is 7 MB."""
    night = np.tile(sine(250), 30)
    write_wfdb(tmp_path, "r", 250, names=[f"c{k}" for k in range(12)], signals=[night] * 12)
    formats.header(tmp_path / "r.hea")  # what is imported does not count
    tracemalloc.start()
    try:
        formats.signal(tmp_path / "r.hea", 3)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_a_fingerprint_is_of_names_and_contents(tmp_path):
    write_five(tmp_path)
    first = records.fingerprint(tmp_path)
    assert records.fingerprint(tmp_path) == first and len(first) == 16
    (tmp_path / ".hidden").write_text("1")
    assert records.fingerprint(tmp_path) == first
    samples = bytearray((tmp_path / "slp02.dat").read_bytes())
    samples[77] ^= 1
    (tmp_path / "slp02.dat").write_bytes(samples)
    second = records.fingerprint(tmp_path)
    (tmp_path / "slp03.dat").rename(tmp_path / "slp09.dat")
    assert len({first, second, records.fingerprint(tmp_path)}) == 3


def test_a_level_or_its_change_leaves_no_ripple():
    """The filter's phases differ a little in what they make of a constant: at worst in every other sample."""
    step = np.repeat([0.0, 30.0], 3000)
    for level in (1000.0, 1000 + step):
        even = records._minutes(formats.Signal(level + 1e-2 * sine(25, 4 if np.ndim(level) else 2), 25)).values
        ripple = np.abs(np.fft.rfft(even[-1] - even[-1].mean())[-1]) / 600
        assert ripple < 5e-4
