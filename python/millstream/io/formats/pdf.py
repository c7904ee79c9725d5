"""Reading PDF with pypdfium2, a row for each page.

Owns the plan and the format of PDF files, and that one thread at a time is in PDFium, which knows
no threads. Must not know what happens to the pages.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import ReadError
from millstream.errors.checks import is_number, is_sequence, is_whole, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.watched_file import WatchedFile
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

Pixels = np.ndarray[Any, Any]


def plan_pdf(
    paths: Paths,
    files: FileOptions,
    *,
    dpi: float | None = 150,
    pages: Sequence[int] | None = None,
    password: str | None = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read the pages of PDF files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        dpi: See `read_pdf`.
        pages: See `read_pdf`.
        password: See `read_pdf`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pypdfium2 is not installed.
        ReadError: A path does not exist, is empty, or there is nothing to read.
    """
    is_dpi = dpi is None or (is_number(dpi) and 0 < float(dpi) < float("inf"))
    require(is_dpi, "dpi", dpi, "a number above 0, or None")
    wanted = _checked_pages(pages)
    is_text = password is None or isinstance(password, str)
    require(is_text, "password", "..." if password is not None else None, "text, or None")
    require_package("pypdfium2", "read_pdf", "pypdfium2", "pdf")
    listing = list_files(paths, files, reader="read_pdf")
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is no PDF", file=file.path)
    return plan_files(
        "ReadPdf",
        listing,
        PdfFormat(None if dpi is None else float(dpi), wanted, password),
        PathColumns(files.partitioning, files.include_paths),
        schema=None,
        column="page",
        rows=None,
        nbytes_of=lambda file: file.size if dpi is None else file.size * _GROWTH,
        blocks=blocks,
    )


@dataclass(frozen=True)
class PdfFormat:
    """A page is one row.

    Args:
        dpi: Pixels an inch of the pictures; `None`: no pictures.
        pages: Which pages, in order; `None`: all.
        password: That of encrypted files.
    """

    dpi: float | None
    pages: tuple[int, ...] | None = None
    password: str | None = None
    problem: str = "cannot read this PDF"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the pages in order, in tables of about `TABLE_BYTES` of one size of picture."""
        with open_file(filesystem, path) as file:
            _check_complete(file)
            watched = WatchedFile(file)
            with _opened(watched, self.password) as document:
                with _alone:
                    count = len(document)
                rows: list[_Row] = []
                for number in self._wanted(count):
                    row = self._row(document, number)
                    watched.check()
                    if rows and not _goes_with(rows, row):
                        yield _table(rows)
                        rows = []
                    rows.append(row)
                if rows:
                    yield _table(rows)

    def _wanted(self, count: int) -> Sequence[int]:
        if self.pages is None:
            return range(count)
        return [number for number in self.pages if number < count]

    def _row(self, document: PdfDocument, number: int) -> _Row:
        import pypdfium2

        with _alone:
            try:
                page = document.get_page(number)
            except pypdfium2.PdfiumError as error:
                raise ValueError(f"page {number} (counted from 0) is broken") from error
            try:
                image = None if self.dpi is None else _picture(page, self.dpi, number)
                return _Row(number, _text_of(page), image)
            finally:
                page.close()


@dataclass(frozen=True)
class _Row:
    page: int
    text: str
    image: Pixels | None

    @property
    def nbytes(self) -> int:
        return len(self.text) + (0 if self.image is None else self.image.nbytes)

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self.image is None else self.image.shape


@contextmanager
def _opened(watched: WatchedFile, password: str | None) -> Iterator[PdfDocument]:
    """Opens a document, which is closed by one thread alone too.

    Raises:
        ValueError: It is none, or encrypted.
    """
    import pypdfium2
    from pypdfium2.raw import FPDF_ERR_PASSWORD

    try:
        with _alone:
            document = pypdfium2.PdfDocument(watched, password=password)
    except pypdfium2.PdfiumError as error:
        watched.check()
        if error.err_code == FPDF_ERR_PASSWORD:
            what = "pass its password" if password is None else "the password is another one"
            raise ValueError(f"it is encrypted: {what}") from error
        raise ValueError("PDFium finds no document in it, so it is broken or no PDF") from error
    try:
        with _alone:
            # What people have filled in is part of what they see.
            document.init_forms()
        watched.check()
        yield document
    finally:
        with _alone:
            document.close()


def _picture(page: PdfPage, dpi: float, number: int) -> Pixels:
    """Renders a page as a person sees it, on white.

    Raises:
        ValueError: It would be too large.
    """
    scale = dpi / _POINTS_PER_INCH
    width, height = (max(1, ceil(size * scale)) for size in page.get_size())
    if width * height > _PIXELS_MAX:
        raise ValueError(
            f"page {number} (counted from 0) would have {width} x {height} pixels at dpi={dpi:g}: "
            "pass a lower dpi"
        )
    bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False)
    try:
        # A copy, since its memory goes with it.
        return np.array(bitmap.to_numpy()[..., :3])
    finally:
        bitmap.close()


def _text_of(page: PdfPage) -> str:
    textpage = page.get_textpage()
    try:
        text = str(textpage.get_text_bounded()).replace("\r\n", "\n")
        return text.translate(_SOFT_HYPHENS)
    finally:
        textpage.close()


def _goes_with(rows: Sequence[_Row], row: _Row) -> bool:
    nbytes = sum(each.nbytes for each in rows) + row.nbytes
    return rows[0].shape == row.shape and nbytes <= TABLE_BYTES


def _table(rows: Sequence[_Row]) -> pa.Table:
    columns: dict[str, Any] = {
        "page": pa.array([row.page for row in rows], pa.int64()),
        "text": pa.array([row.text for row in rows], pa.string()),
    }
    images = [row.image for row in rows if row.image is not None]
    if images:
        columns["image"] = tensor.from_ndarray(np.stack(images))
    return pa.table(columns)


def _check_complete(file: pa.NativeFile) -> None:
    """Refuses a file without an end, of which PDFium would give what it finds.

    Raises:
        ValueError: It has none.
    """
    size = file.size()
    start = file.read(min(size, _END_BYTES))
    if b"%PDF-" not in start:
        raise ValueError("it is no PDF: it does not begin with '%PDF-'")
    file.seek(max(0, size - _END_BYTES))
    if b"%%EOF" not in file.read(_END_BYTES):
        raise ValueError("it is cut off: it does not end with '%%EOF'")
    file.seek(0)


def _checked_pages(pages: Any) -> tuple[int, ...] | None:
    """Returns the numbers of the pages that are wanted.

    Raises:
        ArgumentError: They are none.
    """
    if pages is None:
        return None
    is_right = is_sequence(pages) and all(is_whole(number, 0) for number in pages)
    require(is_right, "pages", pages, "numbers of pages, counted from 0, or None")
    wanted = tuple(pages)
    require(bool(wanted), "pages", pages, "at least one number, or None for all")
    require(len(set(wanted)) == len(wanted), "pages", pages, "numbers that are there once")
    return wanted


#: The size of the tables that pages are yielded in; a larger page is a table by itself.
TABLE_BYTES = 8 << 20
_POINTS_PER_INCH = 72
# 400 MB as pixels of three bands, and more while it is rendered.
_PIXELS_MAX = 1 << 27
# Within so many bytes of its ends, the standard's readers look for the marks of a PDF.
_END_BYTES = 1024
# Pages of text are hundreds of times as large as pixels, scans a few times.
_GROWTH = 20
# PDFium marks so where a word was divided at the end of a line.
_SOFT_HYPHENS = dict.fromkeys([0x0002, 0xFFFE], "\u00ad")
# PDFium knows no threads.
_alone = threading.RLock()
