"""Lists of people: whatever a spreadsheet writes is read, and every line that is wrong says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import PasswordUnsuitable
from mailcore.model.secret import Secret
from portal.people.csv_file import Column, FileFault, FileUnreadable, PeopleFile, plain_cell, read_file
from portal.people.import_plan import Fault, Plan, Surroundings, canonicals, plan

THERE = Surroundings({"a.test": True, "new.test": False}, {"taken@a.test"}, {"all@a.test"})


def planned(text: str, there: Surroundings = THERE) -> Plan:
    return plan(read_file(text.encode()), there)


def cells(people: PeopleFile) -> list[dict[str, str]]:
    return [{str(column): cell for column, cell in line.cells.items()} for line in people.lines]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"address,name\nada@a.test,Ada Lovelace\n", id="comma"),
        pytest.param(b"Email;Name\r\nada@a.test;Ada Lovelace\r\n", id="semicolon"),
        pytest.param(b"E-Mail-Adresse\tVorname\tNachname\nada@a.test\tAda\tLovelace\n", id="tab"),
        pytest.param("\ufeffaddress,name\nada@a.test,Ada Lovelace\n".encode(), id="byte order mark"),
        pytest.param("address,name\nada@a.test,Ada Lovelace\n".encode("utf-16"), id="utf-16"),
        pytest.param(b'"address","name"\n\n"ada@a.test","Ada Lovelace"\n,\n', id="quotes and empty lines"),
        pytest.param(b"\nuser_name,address,NAME\nx,ada@a.test,  Ada Lovelace \n", id="more columns, line before"),
    ],
)
def test_what_spreadsheets_write_is_read(content: bytes) -> None:
    assert cells(read_file(content)) == [{"address": "ada@a.test", "name": "Ada Lovelace"}]


def test_letters_of_windows_are_read() -> None:
    assert cells(read_file("address;name\nj@a.test;Jörg Groß\n".encode("cp1252")))[0]["name"] == "Jörg Groß"


def test_lines_are_numbered_as_the_spreadsheet_shows_them() -> None:
    people = read_file(b'address,name\n\nada@a.test,"Ada\nLovelace"\nbob@a.test,Bob\n')
    assert [line.number for line in people.lines] == [3, 5]


def test_columns_that_mean_nothing_are_named() -> None:
    assert read_file(b"address,shoe size\na@a.test,43\n").ignored == ["shoe size"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(b"", FileFault.EMPTY, id="nothing"),
        pytest.param(b"address,name\n", FileFault.EMPTY, id="only a header"),
        pytest.param(b"name\nAda\n", FileFault.NO_ADDRESS_COLUMN, id="no addresses"),
        pytest.param(b"PK\x03\x04\0\0", FileFault.NOT_TEXT, id="xlsx"),
        pytest.param(b'address\n"ada@a.test\n', FileFault.QUOTES, id="open quote"),
        pytest.param(b"a" * (5 * 1024 * 1024 + 1), FileFault.TOO_LARGE, id="too large"),
        pytest.param(b"address\n" + b"a@a.test\n" * 10_001, FileFault.TOO_MANY_LINES, id="too many"),
    ],
)
def test_what_is_no_list_of_people_says_why(content: bytes, fault: FileFault) -> None:
    with pytest.raises(FileUnreadable) as refused:
        read_file(content)
    assert refused.value.fault is fault


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: f"address,name,quota\n{text}".encode()))
def test_any_bytes_are_read_or_refused_and_never_anything_else(content: bytes) -> None:
    try:
        people = read_file(content)
    except FileUnreadable:
        return
    made = plan(people, THERE)
    assert len(made.users) + len(made.faulty_lines) == len({line.number for line in people.lines})


def test_whole_line_becomes_a_user() -> None:
    text = (
        "address,name,password,quota,aliases,groups\nada@a.test,Ada,secret words 9,2 GB,a@a.test al@a.test,all@a.test\n"
    )
    [user] = planned(text).users
    assert (user.address, user.name, user.quota_bytes) == ("ada@a.test", "Ada", 2_000_000_000)
    assert user.aliases == ("a@a.test", "al@a.test")
    assert user.groups == ("all@a.test",)
    assert user.password is not None
    assert user.password.reveal_text() == "secret words 9"
    assert "secret words" not in repr(user)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("x,,", Fault.ADDRESS_INVALID, id="no address"),
        pytest.param(",Ada,", Fault.ADDRESS_MISSING, id="missing"),
        pytest.param("ada+x@a.test,,", Fault.ADDRESS_LABEL, id="label"),
        pytest.param("ada@else.test,,", Fault.DOMAIN_FOREIGN, id="foreign"),
        pytest.param("ada@new.test,,", Fault.DOMAIN_UNVERIFIED, id="unverified"),
        pytest.param("T.aken@A.test,,", Fault.TAKEN, id="taken, written otherwise"),
        pytest.param("first@a.test,,", Fault.TWICE, id="twice"),
        pytest.param("ada@a.test,,much", Fault.QUOTA_INVALID, id="quota"),
        pytest.param("ada@a.test,,0", Fault.QUOTA_INVALID, id="no room at all"),
        pytest.param(f"ada@a.test,{'x' * 201},", Fault.NAME_INVALID, id="name"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: str, fault: Fault) -> None:
    made = planned(f"address,name,quota\nfirst@a.test,,\n{line}\nlast@a.test,,\n")
    assert [(problem.line, problem.fault) for problem in made.problems] == [(3, fault)]
    assert [user.address for user in made.users] == ["first@a.test", "last@a.test"]


def test_everything_that_is_wrong_with_a_line_is_told_at_once() -> None:
    made = planned("address,quota,groups,aliases\nx@else.test,much,nobody@a.test,taken@a.test\n")
    assert {problem.fault for problem in made.problems} == {
        Fault.DOMAIN_FOREIGN, Fault.QUOTA_INVALID, Fault.GROUP_UNKNOWN, Fault.TAKEN,
    }  # fmt: skip


def test_same_address_as_an_alias_of_another_line_is_told_with_that_line() -> None:
    made = planned("address,aliases\nada@a.test,boss@a.test\nboss@a.test,\n")
    assert [(one.fault, one.line, one.other_line) for one in made.problems] == [(Fault.TWICE, 3, 2)]


def test_seats_that_are_left_are_given_in_order() -> None:
    made = planned("address\na@a.test\nb@a.test\nc@a.test\n", Surroundings({"a.test": True}, (), (), seats=2))
    assert [user.address for user in made.users] == ["a@a.test", "b@a.test"]
    assert [problem.fault for problem in made.problems] == [Fault.NO_SEAT]


def test_an_unsuitable_password_is_never_repeated() -> None:
    def refuse(_: Secret) -> None:
        raise PasswordUnsuitable("too short")

    made = planned(
        "address,password\nada@a.test,hunter2\n", Surroundings({"a.test": True}, (), (), check_password=refuse)
    )
    assert made.problems[0].fault is Fault.PASSWORD_UNSUITABLE
    assert "hunter2" not in repr(made)


def test_number_alone_is_gigabytes() -> None:
    assert planned("address,quota\nada@a.test,5\n").users[0].quota_bytes == 5_000_000_000
    assert planned('address,quota\nada@a.test,"1,5 GB"\n').users[0].quota_bytes == 1_500_000_000


def test_addresses_to_ask_for_are_those_of_users_and_aliases() -> None:
    people = read_file(b"address,aliases\nA.da@a.test,x@a.test nonsense\n")
    assert canonicals(people) == {"ada@a.test", "x@a.test"}


def test_cells_that_begin_like_a_formula_are_text() -> None:
    assert plain_cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert plain_cell("Ada") == "Ada"
    assert Column("address") is Column.ADDRESS
