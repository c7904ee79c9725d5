from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from io_sources import rows_of, table_of, tables_of

import millstream as ms
from millstream.blocks import tensor
from millstream.dataset import Dataset
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError, packages
from millstream.io.formats import audio, audio_writer
from millstream.io.formats.audio_writer import FILE_FORMATS, AudioRows
from millstream.io.formats.watched_file import WatchedFile
from millstream.options import takes
from millstream.read_media import AudioFiles, read_audio

SHIPPED = Path(scipy.__file__).parent / "io" / "tests" / "data"
RATE = 8000


@takes(files=AudioFiles)
def plan_audio(paths, *, files, override_num_blocks=None, **how):
    return audio.plan_audio(paths, files, blocks=override_num_blocks, **how)


def steps(samples=RATE, channels=2, seed=0):
    """Amplitudes that each encoding has, of 8 bits too."""
    whole = np.random.default_rng(seed).integers(-128, 128, (channels, samples))
    return (whole / 128).astype(np.float32)


def sine(frequency, rate, seconds=1.0):
    return np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def save(path, amplitude, rate=RATE, subtype=None, format=None):
    soundfile.write(path, amplitude.T, rate, subtype=subtype, format=format)
    return path


def encoded(amplitude, format, subtype=None, rate=RATE) -> bytes:
    file = io.BytesIO()
    save(file, amplitude, rate, subtype, format)
    return file.getvalue()


def sounds_of(source) -> list[np.ndarray]:
    return [
        amplitude
        for table in tables_of(source)
        for amplitude in tensor.to_numpy(table.column("amplitude"))
    ]


def amplitude_of(source) -> np.ndarray:
    (amplitude,) = sounds_of(source)
    return amplitude


LOSSLESS = [
    *(("wav", name) for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("flac", name) for name in ("PCM_S8", "PCM_16", "PCM_24")),
    *(("aiff", name) for name in ("PCM_S8", "PCM_16", "FLOAT")),
    *(("au", "PCM_16"), ("caf", "PCM_24"), ("w64", "FLOAT"), ("rf64", "PCM_16")),
]


@pytest.mark.parametrize(("format", "subtype"), LOSSLESS)
def test_the_same_sound_gives_the_same_numbers_in_every_encoding(tmp_path, format, subtype):
    sound = steps()
    save(tmp_path / f"a.{format}", sound, subtype=subtype, format=format.upper())
    table = table_of(plan_audio(tmp_path))
    assert table.schema.field("amplitude").type == pa.fixed_shape_tensor(pa.float32(), (2, RATE))
    assert table.column("sample_rate").to_pylist() == [RATE]
    assert table.schema.field("sample_rate").type == pa.int64()
    assert np.array_equal(amplitude_of(plan_audio(tmp_path)), sound)


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_encodings_give_about_the_same_numbers(tmp_path, format, subtype):
    sound = np.stack([sine(440, 48_000), sine(300, 48_000)]).astype(np.float32) / 2
    save(tmp_path / f"a.{format.lower()}", sound, 48_000, subtype, format)
    found = amplitude_of(plan_audio(tmp_path))
    assert found.shape == sound.shape
    assert np.abs(found - sound)[:, 2000:-2000].max() < 0.02


def test_opus_has_the_same_tone(tmp_path):
    save(tmp_path / "a.opus", sine(440, 48_000)[None] / 2, 48_000, "OPUS", "OGG")
    found = amplitude_of(plan_audio(tmp_path))
    assert found.shape == (1, 48_000)
    assert np.abs(np.fft.rfft(found[0])).argmax() == 440


def test_floats_beyond_one_are_kept(tmp_path):
    sound = np.array([[0.25, -3.5, 2.0]], np.float32)
    save(tmp_path / "a.wav", sound, subtype="FLOAT")
    assert np.array_equal(amplitude_of(plan_audio(tmp_path)), sound)


@pytest.mark.parametrize(
    ("name", "shape", "rate"),
    [
        ("test-44100Hz-2ch-32bit-float-be.wav", (2, 441), 44_100),
        ("test-48000Hz-2ch-64bit-float-le-wavex.wav", (2, 480), 48_000),
        ("test-8000Hz-be-3ch-5S-24bit.wav", (3, 5), 8_000),
        ("test-8000Hz-le-1ch-1byte-ulaw.wav", (1, 9), 8_000),
        ("test-8000Hz-le-2ch-1byteu.wav", (2, 800), 8_000),
        ("test-8000Hz-le-3ch-5S-24bit-rf64.wav", (3, 5), 8_000),
        ("test-8000Hz-le-4ch-9S-12bit.wav", (4, 9), 8_000),
    ],
)
def test_files_of_others_are_read(name, shape, rate):
    source = plan_audio(SHIPPED / name)
    assert amplitude_of(source).shape == shape
    assert rows_of(source)[0]["sample_rate"] == rate


def test_the_numbers_of_another_program_are_those_of_its_library():
    from scipy.io import wavfile

    path = SHIPPED / "test-8000Hz-le-2ch-1byteu.wav"
    _, stored = wavfile.read(path)
    expected = (stored.T.astype(np.float32) - 128) / 128
    assert np.array_equal(amplitude_of(plan_audio(path)), expected)


@pytest.mark.parametrize("ending", ["early-eof", "early-eof-no-data", "incomplete-chunk", "rf64"])
def test_cut_files_of_others_are_errors(ending):
    path = SHIPPED / f"test-44100Hz-le-1ch-4bytes-{ending}.wav"
    with pytest.raises(ReadError, match="cannot read this sound") as caught:
        table_of(plan_audio(path))
    assert caught.value.file == str(path)


CUT = [*LOSSLESS, ("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("format", "subtype"), CUT)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9, 0.99])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, format, subtype, part):
    whole = encoded(steps(48_000, 1), format.upper(), subtype, 48_000)
    path = tmp_path / f"a.{format}"
    path.write_bytes(whole[: int(len(whole) * part)])
    for how in ({}, {"segment_s": 0.3, "mono": True, "sample_rate": 8000}):
        with pytest.raises(ReadError) as caught:
            table_of(plan_audio(path, **how))
        assert caught.value.file == str(path)
        assert " at 0x" not in str(caught.value)


@pytest.mark.parametrize("format", ["flac", "ogg"])
def test_a_broken_file_with_check_sums_is_an_error(tmp_path, format):
    whole = encoded(steps(48_000, 1), format.upper(), rate=48_000)
    path = tmp_path / f"a.{format}"
    for place in np.linspace(len(whole) // 4, len(whole) - 40, 20, dtype=int):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        with pytest.raises(ReadError, match="broken"):
            table_of(plan_audio(path))


def test_flac_that_does_not_say_its_length_is_read(tmp_path):
    sound = steps(5000, 1)
    data = bytearray(encoded(sound, "FLAC", "PCM_16"))
    # The number of samples is in 36 bits of the first block.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert np.array_equal(amplitude_of(plan_audio(tmp_path)), sound)
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(ReadError, match="cut off"):
        table_of(plan_audio(tmp_path))


@pytest.mark.parametrize("size", [2**31 - 1, 2**32 - 1])
def test_wav_that_was_written_to_a_pipe_is_read(tmp_path, size):
    sound = steps(100, 1)
    data = bytearray(encoded(sound, "WAV", "PCM_16"))
    at = data.index(b"data")
    data[at + 4 : at + 8] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    assert np.array_equal(amplitude_of(plan_audio(tmp_path)), sound)


def test_ogg_of_several_streams_is_an_error(tmp_path):
    first, second = (encoded(steps(48_000, 1, seed), "OGG", "VORBIS", 48_000) for seed in (1, 2))
    (tmp_path / "a.ogg").write_bytes(first + second)
    with pytest.raises(ReadError, match="several streams"):
        table_of(plan_audio(tmp_path))


@pytest.mark.parametrize("data", [b"RIFF", b"no sound at all", bytes(5000)])
def test_what_is_no_sound_is_an_error(tmp_path, data):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this sound") as caught:
        table_of(plan_audio(tmp_path))
    assert caught.value.file == str(tmp_path / "a.wav")


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.wav").touch()
    with pytest.raises(ReadError, match="empty"):
        plan_audio(tmp_path)


def test_a_sound_without_samples_is_a_row_without_samples(tmp_path):
    save(tmp_path / "a.wav", np.zeros((2, 0), np.float32))
    assert amplitude_of(plan_audio(tmp_path)).shape == (2, 0)
    assert read_audio(tmp_path, segment_s=1).count() == 0
    assert len(rows_of(plan_audio(tmp_path, sample_rate=16_000))) == 1


class _Broken(io.BytesIO):
    """A file whose connection is lost."""

    def __init__(self, data, reads):
        super().__init__(data)
        self.reads = reads

    def readinto(self, buffer):
        self.reads -= 1
        if self.reads < 0:
            raise OSError("the connection is lost")
        return super().readinto(buffer)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("reads", [0, 1, 30])
def test_an_error_of_the_file_system_is_not_taken_for_the_end(format, reads):
    whole = encoded(steps(480_000, 1), format, rate=48_000)
    file = _Broken(whole, reads)
    file.size = lambda: len(whole)
    watched = WatchedFile(file)

    def decode():
        with audio._opened(watched) as sound:
            list(audio._decoded(sound, watched, file, mono=False))

    with pytest.raises(OSError, match="the connection is lost"):
        decode()


# --- Channels, rates and parts --------------------------------------------------------------


def test_mono_is_the_mean_of_the_channels(tmp_path):
    sound = steps(1000, 3)
    save(tmp_path / "a.wav", sound)
    found = amplitude_of(plan_audio(tmp_path, mono=True))
    assert found.shape == (1, 1000)
    assert np.allclose(found[0], sound.mean(axis=0), atol=1e-7)


RATES = [(44_100, 16_000), (16_000, 44_100), (8000, 48_000), (48_000, 44_100), (192_000, 8000)]


@pytest.mark.parametrize(("rate", "wanted"), RATES)
def test_a_sine_is_the_same_sine_at_another_rate(tmp_path, rate, wanted):
    save(tmp_path / "a.wav", sine(440, rate)[None], rate, "FLOAT")
    source = plan_audio(tmp_path, sample_rate=wanted)
    assert rows_of(source)[0]["sample_rate"] == wanted
    (found,) = amplitude_of(source)
    assert len(found) == wanted
    assert np.abs(found - sine(440, wanted))[300:-300].max() < 1e-4


def test_tones_that_a_rate_cannot_hold_are_gone(tmp_path):
    save(tmp_path / "a.wav", sine(10_000, 44_100)[None], 44_100, "FLOAT")
    found = amplitude_of(plan_audio(tmp_path, sample_rate=16_000))
    assert np.abs(found[0, 500:-500]).max() < 1e-4


def test_channels_are_resampled_by_themselves(tmp_path):
    sound = np.zeros((9, 44_100))
    sound[4] = sine(440, 44_100)
    save(tmp_path / "a.wav", sound, 44_100, "FLOAT")
    found = amplitude_of(plan_audio(tmp_path, sample_rate=16_000))
    assert found.shape == (9, 16_000)
    assert not found[[0, 1, 2, 3, 5, 6, 7, 8]].any()
    assert np.abs(found[4] - sine(440, 16_000))[300:-300].max() < 1e-4


@pytest.mark.parametrize("samples", [1, 10, 100, 12_345])
@pytest.mark.parametrize(("rate", "wanted"), [(44_100, 16_000), (8000, 44_100), (96_000, 22_050)])
def test_the_length_at_another_rate_is_rounded_up(tmp_path, samples, rate, wanted):
    save(tmp_path / "a.wav", steps(samples, 1), rate)
    found = amplitude_of(plan_audio(tmp_path, sample_rate=wanted))
    assert found.shape == (1, -(-samples * wanted // rate))


def test_the_same_rate_changes_nothing(tmp_path):
    sound = steps()
    save(tmp_path / "a.wav", sound)
    assert np.array_equal(amplitude_of(plan_audio(tmp_path, sample_rate=RATE)), sound)


@pytest.mark.parametrize("seconds", [0.0001, 0.1, 0.3, 1, 100])
def test_parts_put_together_are_the_whole(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(audio, "_PIECE_BYTES", 10_000)
    monkeypatch.setattr(audio, "TABLE_BYTES", 30_000)
    sound = steps(9001)
    save(tmp_path / "a.wav", sound)
    tables = list(tables_of(plan_audio(tmp_path, segment_s=seconds)))
    rows = [row for table in tables for row in table.to_pylist()]
    parts = [part for table in tables for part in tensor.to_numpy(table.column("amplitude"))]
    assert np.array_equal(np.concatenate(parts, axis=1), sound)
    size = max(1, round(seconds * RATE))
    assert {part.shape[1] for part in parts[:-1]} <= {size}
    assert [row["start_s"] for row in rows] == [size * number / RATE for number in range(len(rows))]
    assert {row["sample_rate"] for row in rows} == {RATE}
    assert all(table.nbytes < 30_000 + size * 8 + 10_000 for table in tables)


def test_parts_of_a_resampled_sound_are_those_of_the_whole(tmp_path):
    save(tmp_path / "a.wav", steps(30_000), 44_100)
    whole = amplitude_of(plan_audio(tmp_path, sample_rate=16_000, mono=True))
    source = plan_audio(tmp_path, sample_rate=16_000, mono=True, segment_s=0.25)
    assert np.array_equal(np.concatenate(sounds_of(source), axis=1), whole)
    assert table_of(source).column("start_s").to_pylist() == [0, 0.25, 0.5]


def test_a_long_sound_in_one_row_is_told_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(audio, "_LARGE_BYTES", 1000)
    audio._has_told.clear()
    for name in ("a.wav", "b.wav"):
        save(tmp_path / name, steps())
    with caplog.at_level(logging.WARNING, logger="millstream"):
        assert len(rows_of(plan_audio(tmp_path))) == 2
    assert [record.message for record in caplog.records if "segment_s" in record.message] != []
    assert len(caplog.records) == 1


def test_a_sound_that_no_row_holds_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "_ELEMENTS_MAX", 1000)
    save(tmp_path / "a.wav", steps())
    with pytest.raises(ReadError, match="segment_s"):
        table_of(plan_audio(tmp_path))


# --- What is asked for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 0},
        {"sample_rate": 44_100.5},
        {"sample_rate": True},
        {"mono": 1},
        {"segment_s": 0},
        {"segment_s": -1.0},
        {"segment_s": float("nan")},
        {"segment_s": float("inf")},
        {"segment_s": "1"},
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, wrong):
    save(tmp_path / "a.wav", steps(10))
    (name,) = wrong
    with pytest.raises(ArgumentError, match=name):
        read_audio(tmp_path, **wrong)


@pytest.mark.parametrize("package", ["soundfile", "av"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package):
    save(tmp_path / "a.wav", steps(10))
    known = packages.find_spec
    monkeypatch.setattr(
        packages, "find_spec", lambda name: None if name == package else known(name)
    )
    with pytest.raises(MissingPackageError, match=r"millstream\[audio\]"):
        read_audio(tmp_path, sample_rate=8000)


def test_a_dataset_of_sounds(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.flac", steps(100 * (number + 1), 1, number))
    ds = read_audio(tmp_path, include_paths=True)
    assert ds.count() == 3
    rows = ds.take_all()
    assert [row["path"] for row in rows] == [str(tmp_path / f"{n}.flac") for n in range(3)]
    assert [np.asarray(row["amplitude"]).shape for row in rows] == [(1, 100), (1, 200), (1, 300)]
    assert ds.map_batches(lambda batch: batch).take_all()[2]["sample_rate"] == RATE
    assert read_audio(tmp_path, segment_s=0.0125).count() == 6


# --- Writing --------------------------------------------------------------------------------


write_audio = Dataset.write_audio


def dataset(*sounds, **columns):
    rows = [
        {"amplitude": sound, **{name: values[row] for name, values in columns.items()}}
        for row, sound in enumerate(sounds)
    ]
    return ms.from_items(rows, override_num_blocks=1)


def written(tmp_path, sound, rate=RATE, **how) -> np.ndarray:
    write_audio(dataset(sound), tmp_path / "out", "amplitude", rate, **how)
    (row,) = read_audio(tmp_path / "out").take_all()
    assert row["sample_rate"] == rate
    return row["amplitude"]


@settings(deadline=None, max_examples=50)
@given(data=st.data(), rate=st.integers(1, 400_000))
def test_a_wav_keeps_every_amplitude(tmp_path_factory, data, rate):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(0, 50)))
    inside = st.floats(-1, 1, width=32)
    sound = data.draw(arrays.arrays(np.float32, shape, elements=inside))
    path = tmp_path_factory.mktemp("audio") / "a.wav"
    path.write_bytes(AudioRows("amplitude", rate).encode([sound]))
    found = amplitude_of(plan_audio(path))
    assert found.shape == sound.shape
    assert np.array_equal(found.view(np.uint32), sound.view(np.uint32))
    assert rows_of(plan_audio(path))[0]["sample_rate"] == rate


@settings(deadline=None, max_examples=50)
@given(data=st.data(), bits=st.sampled_from([8, 16, 24]))
def test_a_flac_keeps_amplitudes_of_up_to_24_bits(tmp_path_factory, data, bits):
    shape = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 50)))
    whole = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    sound = data.draw(arrays.arrays(np.int32, shape, elements=whole))
    sound = (sound / 2 ** (bits - 1)).astype(np.float32)
    path = tmp_path_factory.mktemp("audio") / "a.flac"
    path.write_bytes(AudioRows("amplitude", 44_100, file_format="flac").encode([sound]))
    assert np.array_equal(amplitude_of(plan_audio(path)), sound)


SUBTYPES = [
    *(("wav", name, bits) for name, bits in (("PCM_U8", 8), ("PCM_16", 16), ("PCM_24", 24))),
    *(("flac", name, bits) for name, bits in (("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24))),
    ("wav", "PCM_32", 32),
]


@pytest.mark.parametrize(("format", "subtype", "bits"), SUBTYPES)
def test_numbers_of_fewer_bits_are_the_nearest_ones(tmp_path, format, subtype, bits):
    sound = np.array([[-1, -0.99, -0.3, -1e-9, 0, 1e-4, 0.3, 0.98, 1]], np.float32)
    found = written(tmp_path, sound, file_format=format, subtype=subtype)
    step = 2.0 ** (1 - bits)
    assert soundfile.info(next((tmp_path / "out").iterdir())).subtype == subtype
    assert np.abs(found - sound)[0, :-1].max() <= max(step / 2, 2**-24)
    # There is no step at 1.
    assert found[0, -1] == np.float32(1 - step)


@pytest.mark.parametrize(("format", "subtype"), [row for row in LOSSLESS if row[0] in FILE_FORMATS])
def test_what_was_read_is_written_with_the_same_numbers(tmp_path, format, subtype):
    save(tmp_path / f"a.{format}", steps(), subtype=subtype)
    ds = read_audio(tmp_path / f"a.{format}")
    how = {"file_format": format, "subtype": subtype, "sample_rate_column": "sample_rate"}
    write_audio(ds, tmp_path / "out", **how)
    (path,) = (tmp_path / "out").iterdir()
    expected = soundfile.read(tmp_path / f"a.{format}", dtype="float64")[0]
    assert np.array_equal(soundfile.read(path, dtype="float64")[0], expected)


def test_floats_of_64_bits_are_written_if_they_are_the_same_in_32(tmp_path):
    exact = np.array([[0.25, -0.5]])
    assert np.array_equal(written(tmp_path / "a", exact), exact)
    with pytest.raises(SchemaError, match=r"'amplitude' in row 0 .*not the same in the 32"):
        written(tmp_path / "b", np.array([[0.1]]))
    found = written(tmp_path / "c", np.array([[0.1]]), subtype="FLOAT")
    assert found[0, 0] == np.float32(0.1)
    written(tmp_path / "d", np.array([[0.1]]), subtype="DOUBLE")
    (path,) = (tmp_path / "d" / "out").iterdir()
    assert soundfile.read(path, dtype="float64")[0][0] == 0.1


def test_flac_refuses_amplitudes_between_its_steps(tmp_path):
    sound = np.array([[1e-9, 0.5]], np.float32)
    with pytest.raises(SchemaError, match=r"24 bits .* subtype='PCM_24' to round"):
        written(tmp_path, sound, file_format="flac")
    found = written(tmp_path, sound, file_format="flac", subtype="PCM_24")
    assert found.tolist() == [[0, 0.5]]


@pytest.mark.parametrize("subtype", [None, "PCM_16"])
def test_amplitudes_beyond_one_are_an_error_unless_they_are_clipped(tmp_path, subtype):
    sound = np.array([[0.5, -1.25, 3.0, np.inf]], np.float32)
    with pytest.raises(SchemaError, match=r"'amplitude' in row 1 .*from -1.25 to inf.*clip=True"):
        write_audio(dataset(sound[:, :1], sound), tmp_path, "amplitude", RATE, subtype=subtype)
    found = written(tmp_path, sound, clip=True, subtype=subtype)
    assert np.allclose(found, [[0.5, -1, 1, 1]], atol=1e-4)


@pytest.mark.parametrize("clip", [False, True])
def test_nan_is_an_error(tmp_path, clip):
    sound = np.array([[0.5, np.nan]], np.float32)
    with pytest.raises(SchemaError, match="NaN"):
        written(tmp_path, sound, clip=clip)


@pytest.mark.parametrize(
    ("sound", "told"),
    [
        (np.zeros((1, 9), np.int16), "int16"),
        (np.zeros((1, 2, 9), np.float32), r"\(channels, samples\)"),
        (np.zeros((9,), np.float32), r"\(1, samples\)"),
        (np.zeros((0, 9), np.float32), r"\(0, 9\)"),
        (np.zeros((1, 9), np.float16), "halffloat"),
        (b"bytes", "binary"),
        ("text", "string"),
    ],
)
def test_what_is_no_sound_is_an_error_that_names_the_column(tmp_path, sound, told):
    with pytest.raises(SchemaError, match=told) as caught:
        written(tmp_path, sound)
    assert "'amplitude'" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_null_is_an_error_that_names_its_row(tmp_path):
    with pytest.raises(SchemaError, match="'amplitude' is null in row 1"):
        write_audio(dataset(steps(9), None), tmp_path, "amplitude", RATE)


@pytest.mark.parametrize(("rate", "told"), [(0, "sample rate is 0"), (-5, "-5"), (None, "null")])
def test_a_rate_that_is_none_is_an_error_that_names_its_row(tmp_path, rate, told):
    ds = dataset(steps(9), steps(9), rate=[RATE, rate])
    with pytest.raises(SchemaError, match=told) as caught:
        write_audio(ds, tmp_path, sample_rate_column="rate")
    assert "in row 1" in str(caught.value)


def test_rates_are_integers(tmp_path):
    with pytest.raises(SchemaError, match="'rate' is double"):
        write_audio(dataset(steps(9), rate=[8000.0]), tmp_path, sample_rate_column="rate")


def test_what_a_format_does_not_take_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SchemaError, match="9 channels"):
        written(tmp_path, steps(9, 9), file_format="flac")
    with pytest.raises(SchemaError, match="take file_format='wav'"):
        written(tmp_path, np.zeros((1, 0), np.float32), file_format="flac")


def test_a_sound_longer_than_wav_holds_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_writer, "_WAV_BYTES_MAX", 1000)
    with pytest.raises(SchemaError, match="4 GiB"):
        written(tmp_path, steps(1000))
    assert np.array_equal(written(tmp_path, steps(250, 1)), steps(250, 1))


def test_sounds_are_named_by_a_column_and_have_rates_of_their_own(tmp_path):
    sounds = [steps(10, 1), steps(20, 2), steps(30, 3)]
    ds = dataset(*sounds, rate=[8000, 44_100, 96_000], name=["c", "b/x", "a.flac"])
    how = {"sample_rate_column": "rate", "file_format": "flac", "filename_column": "name"}
    write_audio(ds, tmp_path / "out", **how)
    rows = read_audio(tmp_path / "out", include_paths=True).take_all()
    assert [row["path"].rpartition("out/")[2] for row in rows] == ["a.flac", "b/x.flac", "c.flac"]
    assert [row["sample_rate"] for row in rows] == [96_000, 44_100, 8000]
    assert all(map(np.array_equal, [row["amplitude"] for row in rows], reversed(sounds)))


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("sample_rate", {"sample_rate": 0}),
        ("sample_rate", {"sample_rate": 44_100.0}),
        ("either", {"sample_rate": None}),
        ("either", {"sample_rate_column": "rate"}),
        ("sample_rate_column", {"sample_rate": None, "sample_rate_column": 5}),
        ("file_format", {"file_format": "mp3"}),
        ("subtype", {"subtype": "PCM_S8"}),
        ("subtype", {"file_format": "flac", "subtype": "FLOAT"}),
        ("clip", {"clip": "yes"}),
        ("column", {"column": 5}),
        ("mode", {"mode": "replace"}),
    ],
)
def test_arguments_of_the_writer_that_make_no_sense_are_refused(tmp_path, told, wrong):
    with pytest.raises(ArgumentError, match=told):
        write_audio(dataset(steps(9)), tmp_path / "out", **({"sample_rate": RATE} | wrong))
    assert not (tmp_path / "out").exists()


def test_the_writer_names_the_missing_package_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[audio\]"):
        written(tmp_path, steps(9))
