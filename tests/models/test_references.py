"""Citation keys stand for publications, none of which is lost in reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from residuum.models import references, tables

BIB = """% a comment
@article{one2001,
  author = {Fr{\\"o}hlich, F. A. and Garc{\\'i}a, B. and others}, title = {On {RAS}
    and RAF}, journal = {A Journal}, year = {2001}, volume = {3}, pages = {1--9}, doi = {10.1/x}
}
@misc{two2002,
  title = {Label}, year = {2002}, note = {unchecked}
}
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(references, "DATA", tmp_path)
    monkeypatch.setattr(references, "table", references.table.__wrapped__)
    return tmp_path / references.FILE


def test_what_is_known_of_a_publication_is_read(written: Path) -> None:
    written.write_text(BIB, encoding="utf-8")
    first, second = references.table()
    assert (first.key, first.short, first.doi) == ("one2001", "Fröhlich et al. 2001", "10.1/x")
    assert first.citation == "Fröhlich FA, García B et al. On RAS and RAF. A Journal 3:1–9. 2001."
    assert (second.short, second.citation, second.note) == ("Label (2002)", "Label. 2002.", "unchecked")


def test_a_key_that_occurs_twice_is_refused(written: Path) -> None:
    written.write_text(BIB + BIB.split("\n\n")[0], encoding="utf-8")
    with pytest.raises(ValueError, match="one2001 occurs twice"):
        references.table()


def test_no_publication_is_lost() -> None:
    text = (tables.DATA / references.FILE).read_text(encoding="utf-8")
    assert len(references.table()) == sum(line.startswith("@") for line in text.splitlines()) > 10
    assert all(reference.citation.strip(". ") for reference in references.table())
    assert not [r.key for r in references.table() if any(sign in r.citation for sign in "{}\\")]
