from tests.docs.pages import blocks, read
from tests.docs.rooms import ROOMS, picture


def test_the_picture_of_the_rooms_is_drawn_from_the_imports():
    drawn = [block.text for block in blocks("ARCHITECTURE.md") if block.text.startswith("flowchart BT")]
    assert drawn == [picture()], "python -m tests.docs.rooms prints it"


def test_no_two_rooms_import_each_other():
    arrows = {tuple(line.split()[::2]) for line in picture().splitlines()[1:]}
    assert not {(room, other) for room, other in arrows if (other, room) in arrows}


def test_every_room_has_its_row_in_the_table():
    table = read("ARCHITECTURE.md").split("```")[0]
    for room in ROOMS:
        assert f"camal_rl.{room}`" in table
