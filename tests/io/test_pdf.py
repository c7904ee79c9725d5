from __future__ import annotations

import hashlib
import io
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import table_of, tables_of
from PIL import Image

from millstream.blocks import tensor
from millstream.errors import ArgumentError, MissingPackageError, ReadError
from millstream.io.formats import pdf
from millstream.io.formats.watched_file import WatchedFile
from millstream.options import takes
from millstream.read_media import PdfFiles, read_pdf


@takes(files=PdfFiles)
def plan_pdf(paths, *, files, override_num_blocks=None, **how):
    return pdf.plan_pdf(paths, files, blocks=override_num_blocks, **how)


class Page:
    """A page to be made: texts at places, and a filled rectangle."""

    def __init__(self, text="", *, size=(200, 100), rectangle=None, colour=(1, 0, 0), turn=0):
        lines = (
            [
                f"BT /F 12 Tf 10 {size[1] - 20 - 15 * number} Td ({line}) Tj ET"
                for number, line in enumerate(text.split("\n"))
            ]
            if text
            else []
        )
        if rectangle:
            lines.append("{} {} {} rg {} {} {} {} re f".format(*colour, *rectangle))
        self.content = "\n".join(lines).encode("latin-1")
        self.size = size
        self.turn = turn


def made(*pages) -> bytes:
    """Makes a PDF as the standard says, with its table of references."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, page in enumerate(pages):
        box = f"[0 0 {page.size[0]} {page.size[1]}]"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Rotate {page.turn} /Contents "
            f"{5 + 2 * number} 0 R /Resources << /Font << /F 3 0 R >> >> >>".encode()
        )
        data = zlib.compress(page.content)
        head = f"<< /Length {len(data)} /Filter /FlateDecode >>\nstream\n".encode()
        objects.append(head + data + b"\nendstream")
    file, places = io.BytesIO(), []
    file.write(b"%PDF-1.7\n")
    for number, body in enumerate(objects, start=1):
        places.append(file.tell())
        file.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    start = file.tell()
    file.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    file.writelines(f"{place:010} 00000 n \n".encode() for place in places)
    file.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\n".encode())
    file.write(f"startxref\n{start}\n%%EOF\n".encode())
    return file.getvalue()


def save(path, *pages) -> Path:
    path.write_bytes(made(*pages))
    return path


def images_of(source) -> list[np.ndarray]:
    return [
        image for table in tables_of(source) for image in tensor.to_numpy(table.column("image"))
    ]


def test_pages_are_rows_with_number_text_and_image(tmp_path):
    save(tmp_path / "a.pdf", Page("one"), Page("two\nlines"), Page(""))
    tables = list(tables_of(plan_pdf(tmp_path, dpi=72)))
    table = pa.concat_tables(tables)
    assert table.column("page").to_pylist() == [0, 1, 2]
    assert table.column("text").to_pylist() == ["one", "two\nlines", ""]
    assert table.schema.field("image").type == pa.fixed_shape_tensor(pa.uint8(), (100, 200, 3))
    assert table.schema.types[:2] == [pa.int64(), pa.string()]


def test_a_word_that_was_divided_at_the_end_of_a_line_has_a_soft_hyphen(tmp_path):
    save(tmp_path / "a.pdf", Page("we man-\nage it"))
    (row,) = table_of(plan_pdf(tmp_path, dpi=None)).to_pylist()
    assert row["text"] == "we man\u00adage it"


def test_colours_and_places_are_those_that_a_person_sees(tmp_path):
    red = Page(rectangle=(0, 0, 100, 50), colour=(1, 0, 0))
    blue = Page(rectangle=(100, 50, 100, 50), colour=(0, 0, 1))
    save(tmp_path / "a.pdf", red, blue)
    first, second = images_of(plan_pdf(tmp_path, dpi=72))
    assert first.dtype == np.uint8
    # A page counts from its lower left corner.
    assert first[75, 50].tolist() == [255, 0, 0]
    assert first[25, 50].tolist() == first[75, 150].tolist() == [255, 255, 255]
    assert second[25, 150].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("turn", "shape", "corner"),
    [
        (0, (100, 200), (-5, 5)),
        (90, (200, 100), (5, 5)),
        (180, (100, 200), (5, -5)),
        (270, (200, 100), (-5, -5)),
    ],
)
def test_pages_are_turned_as_they_are_to_be_seen(tmp_path, turn, shape, corner):
    save(tmp_path / "a.pdf", Page(rectangle=(0, 0, 20, 20), turn=turn))
    (image,) = images_of(plan_pdf(tmp_path, dpi=72))
    assert image.shape == (*shape, 3)
    assert image[corner].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("dpi", "shape"),
    [(72, (100, 200)), (144, (200, 400)), (36, (50, 100)), (150, (209, 417)), (0.1, (1, 1))],
)
def test_dpi_says_how_many_pixels_there_are(tmp_path, dpi, shape):
    save(tmp_path / "a.pdf", Page())
    (image,) = images_of(plan_pdf(tmp_path, dpi=dpi))
    assert image.shape == (*shape, 3)


def test_without_dpi_there_is_text_only(tmp_path):
    save(tmp_path / "a.pdf", Page("one"), Page("two"))
    table = table_of(plan_pdf(tmp_path, dpi=None))
    assert table.to_pylist() == [{"page": 0, "text": "one"}, {"page": 1, "text": "two"}]


@settings(deadline=None, max_examples=40)
@given(text=st.text(st.sampled_from("abcXYZ019 äöüß€é,.;:!?'\"+-"), min_size=1))
def test_text_comes_out_as_it_was_written(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("pdf") / "a.pdf"
    page = Page(size=(5000, 100))
    page.content = b"BT /F 12 Tf 10 50 Td <" + text.encode("cp1252").hex().encode() + b"> Tj ET"
    save(path, page)
    # Spaces have no ink: how many there are is the reader's guess.
    (row,) = table_of(plan_pdf(path, dpi=None)).to_pylist()
    assert "".join(row["text"].split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("pages", "found"), [([0], [0]), ([2, 0], [2, 0]), (range(1, 9), [1, 2]), ((7,), [])]
)
def test_some_pages_are_read_as_far_as_there_are(tmp_path, pages, found):
    save(tmp_path / "a.pdf", *[Page(str(number)) for number in range(3)])
    rows = read_pdf(tmp_path, pages=pages, dpi=None).take_all()
    assert [row["page"] for row in rows] == found
    assert [row["text"] for row in rows] == [str(number) for number in found]


def test_pages_of_different_sizes_have_images_of_their_own(tmp_path):
    save(tmp_path / "a.pdf", Page(size=(200, 100)), Page(size=(50, 60)), Page(size=(50, 60)))
    shapes = [image.shape for image in images_of(plan_pdf(tmp_path, dpi=72))]
    assert shapes == [(100, 200, 3), (60, 50, 3), (60, 50, 3)]


def test_tables_are_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "TABLE_BYTES", 200_000)
    save(tmp_path / "a.pdf", *[Page(str(number)) for number in range(10)])
    tables = list(tables_of(plan_pdf(tmp_path, dpi=72)))
    assert [table.num_rows for table in tables] == [3, 3, 3, 1]


def test_a_page_of_too_many_pixels_is_an_error_that_names_it(tmp_path):
    save(tmp_path / "a.pdf", Page(), Page(size=(14_400, 14_400)))
    with pytest.raises(ReadError, match=r"page 1 .* lower dpi") as caught:
        table_of(plan_pdf(tmp_path, dpi=600))
    assert caught.value.file == str(tmp_path / "a.pdf")


# --- Broken files ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, part):
    whole = made(*[Page(f"page {number}") for number in range(20)])
    path = tmp_path / "a.pdf"
    path.write_bytes(whole[: max(3, int(len(whole) * part))])
    with pytest.raises(ReadError, match="cannot read this PDF") as caught:
        table_of(plan_pdf(path))
    assert caught.value.file == str(path)


@pytest.mark.parametrize(
    "data", [b"no PDF at all %%EOF", b"%PDF-1.7\nnothing\n%%EOF", b"%PDF-1.7\n" + bytes(4000)]
)
def test_what_is_no_pdf_is_an_error(tmp_path, data):
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this PDF"):
        table_of(plan_pdf(tmp_path))


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.pdf").touch()
    with pytest.raises(ReadError, match="empty"):
        plan_pdf(tmp_path)


def test_a_page_that_is_not_there_is_an_error_that_names_it(tmp_path):
    whole = made(Page("one"), Page("two"))
    (tmp_path / "a.pdf").write_bytes(whole.replace(b"/Kids [4 0 R 6 0 R]", b"/Kids [4 0 R 9 0 R]"))
    with pytest.raises(ReadError, match=r"page 1 \(counted from 0\) is broken"):
        table_of(plan_pdf(tmp_path))


def test_an_error_of_the_file_system_is_not_taken_for_a_broken_file():
    class Lost(io.BytesIO):
        def readinto(self, buffer):
            raise OSError("the connection is lost")

    file = Lost(made(Page("one")))
    with (
        pytest.raises(OSError, match="the connection is lost"),
        pdf._opened(WatchedFile(file), None),
    ):
        pass


# --- Encrypted files ------------------------------------------------------------------------


def encrypted(password: str) -> bytes:
    """A PDF that is encrypted with RC4 of 40 bits, as the standard's first revision says."""
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    secret = (password.encode() + padding)[:32]
    owner = rc4(md5(secret)[:5], secret)
    identity = b"0123456789abcdef"
    permissions = -4 & 0xFFFFFFFF
    key = md5(secret + owner + permissions.to_bytes(4, "little") + identity)[:5]
    user = rc4(key, padding)
    content = b"BT /F 12 Tf 10 50 Td (secret) Tj ET"
    content = rc4(md5(key + bytes([5, 0, 0, 0, 0]))[:10], content)
    plain = made(Page("x"))
    start = plain.index(b"5 0 obj")
    body = b"5 0 obj\n<< /Length %d >>\nstream\n%b\nendstream\nendobj\n" % (len(content), content)
    whole = plain[:start] + body
    places = [whole.index(b"\n%d 0 obj" % number) + 1 for number in range(2, 6)]
    places = [whole.index(b"1 0 obj"), *places]
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        whole
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer << /Size 6 /Root 1 0 R /ID [<%b> <%b>] /Encrypt << /Filter /Standard /V 1 /R 2 "
        % (identity.hex().encode(), identity.hex().encode())
        + b"/O <%b> /U <%b> /P -4 >> >>\n" % (owner.hex().encode(), user.hex().encode())
        + b"startxref\n%d\n%%%%EOF\n" % len(whole)
    )


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def rc4(key: bytes, data: bytes) -> bytes:
    state, at = list(range(256)), 0
    for number in range(256):
        at = (at + state[number] + key[number % len(key)]) % 256
        state[number], state[at] = state[at], state[number]
    first = second = 0
    out = bytearray()
    for byte in data:
        first = (first + 1) % 256
        second = (second + state[first]) % 256
        state[first], state[second] = state[second], state[first]
        out.append(byte ^ state[(state[first] + state[second]) % 256])
    return bytes(out)


def test_an_encrypted_file_needs_its_password(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(encrypted("open sesame"))
    with pytest.raises(ReadError, match="encrypted: pass its password") as caught:
        table_of(plan_pdf(path))
    assert caught.value.file == str(path)
    with pytest.raises(ReadError, match="the password is another one"):
        table_of(plan_pdf(path, password="wrong"))
    (row,) = table_of(plan_pdf(path, password="open sesame", dpi=None)).to_pylist()
    assert row["text"] == "secret"


def test_a_password_is_in_no_message(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(encrypted("open sesame"))
    with pytest.raises(ReadError) as caught:
        table_of(plan_pdf(path, password="hush"))
    assert "hush" not in str(caught.value)
    with pytest.raises(ArgumentError) as refused:
        plan_pdf(path, password=b"hush")
    assert "hush" not in str(refused.value)


# --- What is asked for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"dpi": 0},
        {"dpi": -72},
        {"dpi": "150"},
        {"dpi": float("inf")},
        {"pages": []},
        {"pages": [-1]},
        {"pages": 3},
        {"pages": [1.0]},
        {"pages": [1, 1]},
        {"pages": "12"},
        {"password": 5},
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, wrong):
    save(tmp_path / "a.pdf", Page())
    (name,) = wrong
    with pytest.raises(ArgumentError, match=name):
        read_pdf(tmp_path, **wrong)


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    save(tmp_path / "a.pdf", Page())
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[pdf\]"):
        read_pdf(tmp_path)


def test_threads_take_turns(tmp_path):
    for number in range(12):
        save(tmp_path / f"{number:02}.pdf", *[Page(f"{number} {page}") for page in range(5)])
    source = plan_pdf(tmp_path, dpi=72)
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda unit: [t.column("text").to_pylist() for t in unit.read()], source.units)
        )
    texts = [text for tables in found for table in tables for text in table]
    assert texts == [f"{number} {page}" for number in range(12) for page in range(5)]


def test_a_dataset_of_pages(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.pdf", Page(f"{name} 0"), Page(f"{name} 1", size=(30, 30)))
    ds = read_pdf(tmp_path, include_paths=True)
    assert ds.count() == 4
    rows = ds.take_all()
    assert [row["text"] for row in rows] == ["a 0", "a 1", "b 0", "b 1"]
    assert [row["path"][-5:] for row in rows] == ["a.pdf", "a.pdf", "b.pdf", "b.pdf"]
    assert np.asarray(rows[3]["image"]).shape == (63, 63, 3)
    assert read_pdf(tmp_path).limit(1).count() == 1


def test_files_of_another_program_are_read(tmp_path):
    across = np.linspace(0, 200, 60).astype(np.uint8)
    pictures = [np.stack([np.broadcast_to(across + shade, (40, 60))] * 3, -1) for shade in (0, 50)]
    first, *others = [Image.fromarray(np.ascontiguousarray(each)) for each in pictures]
    first.save(tmp_path / "a.pdf", save_all=True, append_images=others, resolution=72, quality=95)
    found = images_of(plan_pdf(tmp_path, dpi=72))
    assert [image.shape for image in found] == [(40, 60, 3)] * 2
    assert all(
        np.abs(image.astype(int) - picture).max() < 12
        for image, picture in zip(found, pictures, strict=True)
    )
