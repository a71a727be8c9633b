from dataclasses import dataclass, field

from sansio_pingora._reprs import brief


@dataclass
class Value:
    first: int
    second: str = "x"
    third: list[int] = field(default_factory=list)
    hidden: int = field(default=0, repr=False)


def test_only_what_differs_is_printed_and_the_text_makes_it_again():
    assert brief(Value(1)) == "Value(1)"
    assert brief(Value(1, "y", [2], 3)) == "Value(1, second='y', third=[2])"
    assert eval(brief(Value(1, "x", [2]))) == Value(1, "x", [2])
