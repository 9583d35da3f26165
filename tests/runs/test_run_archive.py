"""Run folders in one piece: everything that is whole comes out, and nothing gets outside."""

import io
import zipfile

import pytest

from camal_rl.runs.run_archive import pack_folder, unpack_folder


def test_what_is_whole_comes_out_as_it_was(tmp_path):
    folder = tmp_path / "run"
    for name in ("config.yaml", "checkpoints/step-1/a.json", ".lock", ".partial-1-model.zip", ".partial-x/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "link").symlink_to("/etc/hostname")
    there = tmp_path / "there"
    there.mkdir()
    (there / "older").touch()
    unpack_folder(pack_folder(folder), there)
    files = sorted(path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file())
    assert files == ["checkpoints/step-1/a.json", "config.yaml"]
    assert all((there / name).read_text() == name for name in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "there"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..", "C:/x", "a\\..\\x", "a//x/../../.."])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("good", "1")
        archive.writestr(name, "2")
    with pytest.raises(ValueError, match="an invalid file name"):
        unpack_folder(buffer.getvalue(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-9], lambda data: b"", lambda data: data[:35] + b"?" + data[36:]]
)
def test_a_damaged_archive_is_refused_in_one_line(tmp_path, damage):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 1")
    with pytest.raises(ValueError, match="came back damaged"):
        unpack_folder(damage(pack_folder(folder)), folder)
    assert (folder / "config.yaml").read_text() == "seed: 1"
