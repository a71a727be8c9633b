"""A folder for transcripts: files that nobody else may read, and no harm when they cannot be written."""

import os
import stat

import pytest

from sansio_pingora.errors import Error
from sansio_pingora_posix import TranscriptFolder


def test_each_transcript_is_a_file_of_its_own(tmp_path):
    folder = TranscriptFolder(str(tmp_path / "new" / "folder"))
    file = folder.begin("000001-Http1Server.jsonl")
    file.write("one")
    file.write("two")
    file.close()
    file.close()

    (path,) = (tmp_path / "new" / "folder").iterdir()
    assert path.name.endswith(f"-{os.getpid()}-000001-Http1Server.jsonl")
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(Error, match="transcripts cannot be kept in"):
        TranscriptFolder(str(tmp_path / "file"))


def test_a_file_that_is_there_is_left_alone(tmp_path, caplog):
    folder = TranscriptFolder(str(tmp_path))
    folder.begin("a").write("first")
    folder.begin("a").write("second")

    (path,) = tmp_path.iterdir()
    assert path.read_text() == "first\n"
    assert "cannot be written" in caplog.text
