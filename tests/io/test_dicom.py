from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pydicom
import pytest
from io_sources import rows_of, table_of, tables_of
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from millstream.blocks import block, tensor
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError
from millstream.io.formats import dicom as reader
from millstream.io.formats.dicom import DicomOptions
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.options import takes
from millstream.read_science import DicomFiles, read_dicom

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


@takes(files=DicomFiles)
def plan_dicom(paths, *, files, override_num_blocks=None, **how):
    return reader.plan_dicom(paths, files, DicomOptions(**how), blocks=override_num_blocks)


def saved(pixels=None, syntax=ExplicitVRLittleEndian, *, frames=None, kind=None, **tags) -> bytes:
    """A file of such pixels, of shape ([frames,] rows, columns[, 3])."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["millstream"])
    how = syntax.is_implicit_VR, syntax.is_little_endian
    made = FileDataset(None, {}, bytes(128), meta, *how)
    made.SOPClassUID = meta.MediaStorageSOPClassUID
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    if pixels is not None:
        has_colors = pixels.shape[-1] == 3
        made.Rows, made.Columns = pixels.shape[-3:-1] if has_colors else pixels.shape[-2:]
        made.SamplesPerPixel = 3 if has_colors else 1
        if has_colors:
            made.PlanarConfiguration = 0
        made.PhotometricInterpretation = kind or ("RGB" if has_colors else "MONOCHROME2")
        made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
        made.HighBit = made.BitsStored - 1
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
        if frames:
            made.NumberOfFrames = frames
        order = "<" if syntax.is_little_endian else ">"
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        made.PixelData = data + bytes(len(data) % 2)
        made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for name, value in tags.items():
        setattr(made, name, value)
    if syntax is RLELossless:
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.compress(RLELossless, generate_instance_uid=False)
    file = io.BytesIO()
    made.save_as(file)
    return file.getvalue()


def pixels_of(source) -> list[np.ndarray]:
    return list(tensor.to_numpy(table_of(source).column("pixels")))


GREY = np.arange(12).reshape(3, 4)
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4"])
def test_stored_values_come_back_as_they_are(tmp_path, syntax, dtype):
    if syntax is RLELossless and dtype == "u4":
        pytest.skip("pydicom writes no such file")
    largest = np.iinfo(dtype).max
    pixels = (GREY + largest - 11).astype(dtype)
    path = tmp_path / "a.dcm"
    path.write_bytes(saved(pixels, syntax))
    (found,) = pixels_of(plan_dicom(path))
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, pixels)
    several = np.stack([pixels, pixels[::-1], pixels // 2])
    path.write_bytes(saved(several, syntax, frames=3))
    table = table_of(plan_dicom(path))
    np.testing.assert_array_equal(tensor.to_numpy(table.column("pixels")), several)
    assert table.column("frame").to_pylist() == [0, 1, 2]
    assert set(table.column("photometric").to_pylist()) == {"MONOCHROME2"}


@pytest.mark.parametrize("frames", [None, 1, 2])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_the_shape_follows_the_option_and_not_the_number_of_frames(tmp_path, frames, shape):
    pixels = np.arange((frames or 1) * np.prod(shape), dtype="u1").reshape(frames or 1, *shape)
    (tmp_path / "a.dcm").write_bytes(saved(pixels, frames=frames))
    rows = pixels_of(plan_dicom(tmp_path))
    assert [each.shape for each in rows] == [shape] * (frames or 1)
    (stack,) = pixels_of(plan_dicom(tmp_path, frames="stack"))
    np.testing.assert_array_equal(stack, pixels)
    assert table_of(plan_dicom(tmp_path, frames="stack")).column_names == ["pixels", "photometric"]


def test_colours_become_rgb_or_stay_and_that_is_told(tmp_path):
    ybr = SHIPPED / "SC_ybr_full_422_uncompressed.dcm"
    rgb = table_of(plan_dicom(ybr))
    stored = table_of(plan_dicom(ybr, color="stored"))
    assert rgb.column("photometric").to_pylist() == ["RGB"]
    assert stored.column("photometric").to_pylist()[0].startswith("YBR_FULL")
    made, kept = (tensor.to_numpy(table.column("pixels"))[0] for table in (rgb, stored))
    # A red field: what is red in RGB is none of YBR's extremes.
    assert tuple(made[5, 50]) == (254, 0, 0)
    assert tuple(kept[5, 50]) == (76, 85, 255)


def test_palettes_become_rgb_or_stay(tmp_path):
    path = SHIPPED / "examples_palette.dcm"
    dataset = pydicom.dcmread(path)
    (stored,) = pixels_of(plan_dicom(path, color="stored"))
    np.testing.assert_array_equal(stored, dataset.pixel_array)
    found = table_of(plan_dicom(path))
    assert found.column("photometric").to_pylist() == ["RGB"]
    assert tensor.to_numpy(found.column("pixels")).shape == (1, *stored.shape, 3)


def test_pixels_are_rescaled_if_that_is_asked_for(tmp_path):
    path = tmp_path / "a.dcm"
    pixels = GREY.astype("i2")
    path.write_bytes(saved(pixels, RescaleSlope="0.5", RescaleIntercept="-1024"))
    (found,) = pixels_of(plan_dicom(path, rescale=True))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, pixels * 0.5 - 1024)
    (stored,) = pixels_of(plan_dicom(path))
    np.testing.assert_array_equal(stored, pixels)
    path.write_bytes(saved(pixels))
    (plain,) = pixels_of(plan_dicom(path, rescale=True))
    np.testing.assert_array_equal(plain, pixels.astype(float))
    path.write_bytes(saved(np.zeros((2, 2, 3), "u1")))
    with pytest.raises(SchemaError, match="one value each, and these are RGB"):
        table_of(plan_dicom(path, rescale=True))


def test_each_frame_has_a_scale_of_its_own_if_the_file_says_so(tmp_path):
    def scaled(slope):
        scale = pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = slope, 1
        group = pydicom.Dataset()
        group.PixelValueTransformationSequence = [scale]
        return group

    pixels = np.stack([GREY, GREY]).astype("u2")
    data = saved(pixels, frames=2, PerFrameFunctionalGroupsSequence=[scaled(2), scaled(3)])
    (tmp_path / "a.dcm").write_bytes(data)
    found = pixels_of(plan_dicom(tmp_path, rescale=True))
    np.testing.assert_array_equal(found, [GREY * 2 + 1, GREY * 3 + 1])


def test_tags_are_columns_of_the_types_of_the_standard(tmp_path):
    tags = {
        "PatientName": "Äda^Lovelace",
        "PixelSpacing": ["0.5", "0.25"],
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "InstanceNumber": "7",
        "SliceThickness": "1.25",
        "StudyDate": "20240229",
        "RecommendedDisplayFrameRateInFloat": 0.5,
    }
    data = saved(GREY.astype("u1"), SpecificCharacterSet="ISO_IR 192", **tags)
    (tmp_path / "a.dcm").write_bytes(data)
    (tmp_path / "b.dcm").write_bytes(saved())
    names = [*tags, "TransferSyntaxUID", "Rows"]
    source = plan_dicom(tmp_path, tags=names, include_pixels=False)
    assert source.schema.types == [
        pa.string(),
        pa.list_(pa.float64()),
        pa.list_(pa.string()),
        pa.int64(),
        pa.float64(),
        pa.string(),
        pa.float32(),
        pa.string(),
        pa.int64(),
    ]
    assert source.rows == 2
    found = table_of(source)
    assert found.schema == source.schema
    assert found.to_pylist() == [
        {
            "PatientName": "Äda^Lovelace",
            "PixelSpacing": [0.5, 0.25],
            "ImageType": ["ORIGINAL", "PRIMARY"],
            "InstanceNumber": 7,
            "SliceThickness": 1.25,
            "StudyDate": "20240229",
            "RecommendedDisplayFrameRateInFloat": 0.5,
            "TransferSyntaxUID": str(ExplicitVRLittleEndian),
            "Rows": 3,
        },
        dict.fromkeys(names, None) | {"TransferSyntaxUID": str(ExplicitVRLittleEndian)},
    ]
    with_pixels = table_of(plan_dicom(tmp_path / "a.dcm", tags=["PatientName"]))
    assert with_pixels.column_names == ["pixels", "frame", "photometric", "PatientName"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_tag_of_another_type_is_named(tmp_path):
    path = SHIPPED / "badVR.dcm"
    with pytest.raises(ReadError, match=r"the tag 'NumberOfFrames': .*'1A'") as caught:
        table_of(plan_dicom(path, tags=["NumberOfFrames"], include_pixels=False))
    assert caught.value.file == str(path)


@pytest.mark.filterwarnings("ignore:Failed to decode byte string")
def test_text_that_is_none_of_the_character_set_is_an_error(tmp_path):
    data = saved(SpecificCharacterSet="ISO_IR 192", PatientName="Äda")
    (tmp_path / "a.dcm").write_bytes(data.replace("Ä".encode(), b"\xff\xff"))
    with pytest.raises(ReadError, match=r"the tag 'PatientName': .*character set"):
        table_of(plan_dicom(tmp_path, tags=["PatientName"], include_pixels=False))


@pytest.mark.parametrize(
    "name",
    [
        *("CT_small", "MR_small_RLE", "MR_small_bigendian", "SC_rgb_rle_16bit_2frame"),
        *("rtdose", "rtdose_expb", "liver_1frame", "image_dfl", "J2K_pixelrep_mismatch"),
        *("examples_overlay", "SC_rgb_small_odd", "examples_ybr_color"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_files_of_other_programs(name):
    path = SHIPPED / f"{name}.dcm"
    found = pixels_of(plan_dicom(path))
    dataset = pydicom.dcmread(path)
    # This is RGB already, as pydicom makes it.
    wanted = dataset.pixel_array
    np.testing.assert_array_equal(np.stack(found), wanted if len(found) > 1 else wanted[None])


def test_a_decoder_that_is_not_there_is_named_when_the_plan_is_made(monkeypatch):
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    path = SHIPPED / "MR_small_jpeg_ls_lossless.dcm"
    with pytest.raises(MissingPackageError, match=r"JPEG-LS Lossless.*pylibjpeg") as caught:
        plan_dicom(path)
    assert str(path) in str(caught.value)
    rows = rows_of(plan_dicom(path, tags=["TransferSyntaxUID"], include_pixels=False))
    assert rows == [{"TransferSyntaxUID": str(JPEGLSLossless)}]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_is_cut_off_is_an_error(tmp_path, syntax):
    pixels = np.stack([GREY, GREY]).astype("u2")
    data = saved(pixels, syntax, frames=2, PatientName="Ada")
    path = tmp_path / "a.dcm"
    for size in (*range(0, len(data), 3), len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError) as caught:
            table_of(plan_dicom(path))
        assert caught.value.file == str(path)


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda syntax: syntax.name)
@pytest.mark.filterwarnings("ignore")
def test_tags_of_a_file_that_is_cut_off_are_an_error_or_complete(tmp_path, syntax):
    data = saved(None, syntax, PatientName="Ada", StudyDate="20240229", PatientID="7")
    path = tmp_path / "a.dcm"
    wanted = {"PatientName": "Ada", "StudyDate": "20240229", "PatientID": "7"}
    failures = 0
    for size in range(len(data)):
        path.write_bytes(data[:size])
        try:
            (row,) = rows_of(plan_dicom(path, tags=list(wanted), include_pixels=False))
        except ReadError as error:
            assert error.file == str(path)  # noqa: PT017
            failures += 1
        else:
            # Between two tags, nobody can tell.
            assert all(row[name] in (None, value) for name, value in wanted.items())
    assert failures > len(data) - 20


@pytest.mark.parametrize("data", [b"", b"nonsense", bytes(132), bytes(128) + b"DICM"])
@pytest.mark.filterwarnings("ignore")
def test_no_dicom_at_all(tmp_path, data):
    (tmp_path / "a.dcm").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this DICOM file") as caught:
        plan_dicom(tmp_path)
    assert caught.value.file == str(tmp_path / "a.dcm")


def test_a_file_without_pixels_says_what_to_do(tmp_path):
    (tmp_path / "a.dcm").write_bytes(saved(PatientID="7"))
    with pytest.raises(ReadError, match="no pixels in it; pass include_pixels=False"):
        table_of(plan_dicom(tmp_path))


def test_many_frames_come_in_tables_of_bounded_size(tmp_path):
    pixels = np.arange(40 << 20, dtype="u1").reshape(40, 1024, 1024)
    (tmp_path / "a.dcm").write_bytes(saved(pixels, frames=40))
    tables = list(tables_of(plan_dicom(tmp_path)))
    assert len(tables) > 2
    assert all(block.nbytes(table) <= TABLE_BYTES for table in tables)
    assert [n for table in tables for n in table.column("frame").to_pylist()] == list(range(40))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"tags": ["Nothing"]}, "tags='Nothing' must be a keyword"),
        ({"tags": ["PixelData"]}, "'PixelData' is OB or OW, which no column holds"),
        ({"tags": ["ReferencedStudySequence"]}, "is SQ, which no column holds"),
        ({"tags": 5}, "tags=5 must be"),
        ({"tags": ["Rows", "Rows"]}, "more than once"),
        ({"include_pixels": 0}, "include_pixels=0"),
        ({"include_pixels": False}, "leaves no columns"),
        ({"frames": "row"}, "frames='row'"),
        ({"color": None}, "color=None"),
        ({"rescale": "yes"}, "rescale='yes'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, how, said):
    (tmp_path / "a.dcm").write_bytes(saved(GREY.astype("u1")))
    with pytest.raises(ArgumentError, match=said):
        read_dicom(tmp_path, **how)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[dicom\]'"):
        plan_dicom(tmp_path)


def test_a_run_gives_the_rows_of_each_file(tmp_path):
    for number in range(3):
        data = saved(np.full((2, 2), number, "u1"), PatientID=f"P{number}")
        (tmp_path / f"{number}.dcm").write_bytes(data)
    ds = read_dicom(tmp_path, tags=["PatientID"], include_paths=True)
    assert ds.count() == 3
    rows = ds.take_all()
    assert [row["PatientID"] for row in rows] == ["P0", "P1", "P2"]
    assert [row["pixels"].max() for row in rows] == [0, 1, 2]
    assert rows[1]["path"] == str(tmp_path / "1.dcm")
