"""The table of statistics: how it sorts, adds up, prints and follows layers; and the pictures made of characters."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace

import pytest

from explorer.core.asking import ask_to_the_end
from explorer.core.grid import Grid, cell_text, cell_width, exact_text, parse_index
from explorer.core.groups import Grouper, Grouping
from explorer.core.listing import Listing
from explorer.core.param import Column, Model
from explorer.core.pictures import BROKEN, bar, heat, histogram, merged, sparkline
from explorer.core.statistics import TensorStats, edges
from explorer.core.stats_text import FORMATS as STATISTICS
from explorer.core.stats_text import unmeasured_line
from explorer.core.sweep import ORDERS, by_layer, ordered, sum_line, whole_numbers


def stats(norm: float = 1.0, numel: int = 4, zeros: int = 0, nans: int = 0, std: float | None = 1.0) -> TensorStats:
    return TensorStats(numel, zeros, nans, 0, 0.5, std, -norm, norm, norm, (0.0,) * 7, (1, 3))


def test_each_order_puts_the_largest_first() -> None:
    known = {0: stats(1), 2: stats(9, zeros=1), 3: stats(4, zeros=3), 5: stats(2, nans=1, std=None)}
    every = range(6)
    assert ordered(every, known, "") == [0, 2, 3, 5]
    assert ordered(every, known, "norm") == [2, 3, 5, 0]
    assert ordered(every, known, "zeros")[:2] == [3, 2]
    assert ordered(every, known, "nan")[0] == 5
    known[2] = replace(known[2], infs=9)
    assert ordered(every, known, "nan")[0] == 5, "infinities are a column of their own"
    assert ordered(every, known, "inf")[0] == 2
    assert ordered(every, known, "std")[-1] == 5, "what is not known comes last"
    assert set(ORDERS) >= {"", "norm", "zeros", "nan"}


def test_the_sum_is_of_one_vector() -> None:
    line = sum_line({0: stats(3, zeros=2), 1: stats(4)}, [0, 1])
    assert line == "2 tensors · 8 elements · norm 5 · 2 zeros (25.00 %) · all finite"
    assert "1 NaN, 0 Inf" in sum_line({0: stats(nans=1)}, [0])


def test_the_sum_says_nothing_of_what_is_not_measured() -> None:
    assert sum_line({}, [0, 1, 2]) == "0 of 3 tensors measured"
    line = sum_line({1: stats(3)}, [0, 1, 2])
    assert line == "1 of 3 tensors measured; in these 4 elements · norm 3 · no zero · all finite"


def test_whole_numbers_are_neither_in_the_norm_nor_before_the_weights(tiny: Model) -> None:
    known = {0: stats(9), 1: stats(3), 2: stats(4), 3: stats(0.5, std=None)}
    whole = frozenset({0, 3})
    assert "norm 5 without 2 integer tensors" in sum_line(known, range(4), whole)
    assert "norm" not in sum_line({0: stats(9)}, [0], whole)
    assert ordered(range(4), known, "norm", whole=whole) == [2, 1, 0, 3]
    assert ordered(range(4), known, "", whole=whole) == [0, 1, 2, 3]
    codes = replace(tiny, dtypes=Column.of(["int64", "bool", "q4_k", None, *["bfloat16"] * (len(tiny) - 4)]))
    assert whole_numbers(codes) == {0, 1}


def test_what_was_refused_stands_last_and_in_the_models_order_where_it_is() -> None:
    known = {0: stats(1), 2: stats(9)}
    assert ordered(range(4), known, "", {1: "no"}) == [0, 1, 2]
    assert ordered(range(4), known, "norm", {1: "no"}) == [2, 0, 1]


def test_reasons_for_what_is_missing_are_one_line() -> None:
    names = "abcdefghi"
    assert unmeasured_line({}, 3, names) == ""
    line = unmeasured_line({"x: cut short; again": [4, 5]}, 9, names)
    assert line == "2 of 9 tensors not measured: e and 1 more: x: cut short; again"
    line = unmeasured_line({f"reason {number}": [number] for number in range(5)}, 9, names)
    assert line == ("5 of 9 tensors not measured: a: reason 0; b: reason 1; c: reason 2; and 2 other reasons")


def test_the_norm_of_several_is_known_where_its_square_is_no_float64() -> None:
    line = sum_line({0: stats(3e300), 1: stats(4e300)}, [0, 1])
    assert "norm 5e+300" in line


def test_the_print_says_that_figures_of_complex_tensors_are_absolute_values(tiny: Model) -> None:
    known = {index: stats() for index in range(len(tiny))}
    said = "Figures of complex tensors are of the absolute values."
    for dtypes, expected in ((tiny.dtypes, False), (Column.of(["complex64"] * len(tiny)), True)):
        model = replace(tiny, dtypes=dtypes)
        listing = Listing(model, Grouper(model).assign(Grouping.classic()), (), "", known)
        assert (said in "".join(STATISTICS["stats"](listing))) == expected


def test_norms_follow_the_layers_number(tiny: Model) -> None:
    known = {index: stats(float(index + 1)) for index in range(len(tiny))}
    series = {item.name: item for item in by_layer(tiny, known)}
    weights = series["layer.N.attn.weight"]
    assert weights.indices == (1, 5)
    assert weights.norms == (1.0, 3.0)
    assert weights.line == "▁█"
    assert series["layer.N.LayerNorm.bias"].indices == (4, None)
    assert by_layer(tiny, {}) == []


def test_stats_print_one_line_a_tensor_and_their_sum(tiny: Model) -> None:
    known = {index: stats(float(index + 1)) for index in range(len(tiny) - 1)}
    listing = Listing(tiny, Grouper(tiny).assign(Grouping.classic()), (), "", known)
    lines = "".join(STATISTICS["stats"](listing)).splitlines()
    assert lines[0].split()[:6] == ["index", "name", "shape", "dtype", "mean", "std"]
    assert lines[1].split() == ["0", "embed.weight", "10x4", "float32", "0.5", "1", "-1", *["1"] * 3, *["0"] * 3]
    assert lines[10].split()[4:] == ["–"] * 9
    assert lines[12].startswith("9 of 10 tensors measured; in these 36 elements")
    assert len(lines) == 13


def test_the_print_ends_with_the_tensors_that_are_not_finite_whatever_rows_it_has(tiny: Model) -> None:
    known = {index: stats(nans=index % 2) for index in range(len(tiny))}
    known[1] = replace(known[1], nans=2, infs=1, first_nan=(3, 4), first_inf=(0, 1))
    listing = Listing(tiny, Grouper(tiny).assign(Grouping.classic()), (), "", known, top=1)
    last = "".join(STATISTICS["stats"](listing)).splitlines()[-1]
    names = list(tiny.names)
    assert last == (
        f"NaN or Inf in 5 tensors: {names[1]} (2 NaN, first at [3, 4]; 1 Inf at [0, 1]), "
        f"{names[3]} (1 NaN), {names[5]} (1 NaN), and 2 more"
    )


def test_stats_sort_by_a_figure_and_are_json_without_nan(tiny: Model) -> None:
    known = {index: stats(float(index)) for index in range(len(tiny) - 1)}
    known[2] = replace(known[2], norm=math.inf, infs=1, first_inf=(1,))
    listing = Listing(tiny, Grouper(tiny).assign(Grouping.classic()), (), "", known, "norm", top=2)
    text = "".join(STATISTICS["stats-json"](listing))
    assert text.isascii()
    found = json.loads(text, parse_constant=pytest.fail)
    assert (found["format"], [row["index"] for row in found["tensors"]]) == (1, [2, 8])
    assert found["tensors"][0] | {"norm": "Infinity", "inf": 1, "first_inf": [1], "nan": 0} == found["tensors"][0]
    assert found["totals"] == {
        **{"tensors": 10, "measured": 9, "numel": 36, "norm": "Infinity", "zeros": 0, "nan": 0, "inf": 1}
    }
    assert found["not_finite"] == [tiny.names[2]]
    unmeasured = json.loads("".join(STATISTICS["stats-json"](replace(listing, figure="", top=None))))["tensors"][9]
    assert {value for key, value in unmeasured.items() if key not in ("index", "name", "shape", "dtype")} == {None}


# --- pictures -------------------------------------------------------------------------------------------------------


def test_a_bar_fills_its_share_and_shows_whatever_is_there() -> None:
    assert bar(0, 10) == ""
    assert bar(0.5, 10) == "█████"
    assert bar(1, 3) == "███"
    assert bar(1e-9, 10) == "▏"
    assert bar(0.55, 10) == "█████▌"


def test_a_histogram_keeps_every_element_in_any_number_of_bins() -> None:
    counts = list(range(64))
    for bins in (64, 32, 20, 8, 1):
        assert len(merged(counts, bins)) <= bins
        assert sum(merged(counts, bins)) == sum(counts)
    lines = histogram([1, 0, 1000, 3], [0.0, 1.0, 2.0, 3.0, 4.0], 40, 4, log=False)
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    assert lines[2].count("█") > 20
    assert "█" not in lines[3]
    logs = histogram([1, 0, 1000, 3], [0.0, 1.0, 2.0, 3.0, 4.0], 40, 4, log=True)
    assert logs[3].count("█") > 2, "rare values show beside common ones"
    assert all(len(line) == 40 for line in lines + logs)


def test_the_edges_span_the_values() -> None:
    item = TensorStats(4, 0, 0, 0, 0.0, 1.0, -1.0, 3.0, 1.0, (), (1, 1, 1, 1))
    assert edges(item) == [-1.0, 0.0, 1.0, 2.0, 3.0]


def test_a_sparkline_goes_from_the_least_to_the_largest() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1.0, 1.0, None, math.nan]) == "▄▄··"
    assert sparkline([None]) == "·"
    assert sparkline([100.0, 100.01]) == "▄▄", "rounding is no trend"


def test_a_heat_map_is_darker_where_numbers_are_larger_and_marks_what_is_none() -> None:
    lines, bounds = heat([[0.0, 1.0, 2.0], [3.0, None, 6.0]])
    assert lines[0][0] == " "
    assert lines[1] == f"▒{BROKEN}█"
    assert bounds == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert heat([[2.0, 2.0]])[0] == ["▒▒"]
    assert heat([[None]]) == ([BROKEN], [])


# --- the grid -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "index", "place"),
    [
        ((), (), None),
        ((25,), (24,), ((), 2, 4)),
        ((25,), (-1,), ((), 2, 4)),
        ((4, 5), (3, 2), ((), 3, 2)),
        ((4, 5), (3,), ((), 3, 0)),
        ((2, 3, 4, 5), (1, 2, 3, 4), ((1, 2), 3, 4)),
        ((2, 3, 4, 5), (1, 2), ((1, 2), 0, 0)),
        ((2, 3, 4, 5), (3, 4), None),
        ((4, 3, 16, 16), (3, 0, 7), ((3, 0), 7, 0)),
        ((4, 5), (4, 0), None),
        ((4, 5), (1, 2, 3), None),
    ],
)
def test_an_index_has_one_place(shape: tuple[int, ...], index: tuple[int, ...], place: object) -> None:
    grid = Grid(shape)
    if place is None:
        with pytest.raises(ValueError, match=r"out of range for dimension|too many indices|no number"):
            grid.place(index)
        return
    assert grid.place(index) == place
    leading, row, column = grid.place(index)
    assert grid.place(grid.index(leading, row, column)) == place


def test_a_grid_selects_what_it_shows() -> None:
    assert Grid((2, 3, 4)).selection((1,), (0, 2), (1, 3)) == (((1, 2),), ((0, 2),), ((1, 3),))
    assert Grid((25,)).selection((), (1, 3), (0, 10)) == (((10, 25),),)
    assert [Grid((25,)).width(row) for row in range(3)] == [10, 10, 5]
    assert Grid(()).selection((), (0, 1), (0, 1)) == ()


def test_an_index_is_read_as_people_type_it() -> None:
    assert parse_index("12,5") == parse_index("[12, 5]") == parse_index("12 5") == (12, 5)
    assert parse_index("-1") == (-1,)
    with pytest.raises(ValueError, match="no index"):
        parse_index("x")


def test_a_number_is_written_in_each_format() -> None:
    one = b"\x00\x00\x80\x3f"
    assert [cell_text("float32", one, form) for form in ("auto", "fixed", "scientific", "hex")] == [
        *("1", "1.000000", "1.0000e+00", "3f800000"),
    ]
    assert exact_text("float32", one) == "1.0  0x3f800000"
    assert cell_text("complex64", one + b"\x00\x00\x80\xbf", "auto") == "1-1j"
    assert cell_text("float4_e2m1fn_x2", b"\x91", "auto") == "0.5|-0.5"
    assert cell_text("bool", b"\x01", "auto") == "True"


@pytest.mark.parametrize("form", ["auto", "fixed", "scientific"])
@pytest.mark.parametrize(("dtype", "code"), [("float32", "<f"), ("float64", "<d")])
def test_a_cell_never_loses_leading_digits_or_an_exponent(dtype: str, code: str, form: str) -> None:
    room = cell_width(dtype, form)
    for exponent in range(-37, 39) if code == "<f" else range(-307, 309):
        for sign in (1, -1):
            value = sign * 1.4718923 * 10.0**exponent
            text = cell_text(dtype, struct.pack(code, value), form, room)
            assert len(text) <= room
            if form != "fixed" or exponent >= 0:
                assert float(text) == pytest.approx(value, rel=1e-3)
            narrow = cell_text(dtype, struct.pack(code, value), form, 7)
            assert len(narrow) <= 7
            assert form == "fixed" or float(narrow) == pytest.approx(value, rel=0.4)


def test_a_cell_that_rounds_up_has_room_for_its_new_digit() -> None:
    assert cell_text("float64", struct.pack("<d", 99999.999999), "fixed", 11) == "100000.0000"


def test_both_parts_of_a_complex_cell_keep_their_exponents() -> None:
    for dtype, code, large in (("complex64", "<2f", -1.47189e38), ("complex128", "<2d", -1.47189e300)):
        for imag in (large, -large):
            text = cell_text(dtype, struct.pack(code, large, imag), "scientific", cell_width(dtype, "scientific"))
            assert len(text) <= cell_width(dtype, "scientific")
            assert complex(text) == pytest.approx(complex(large, imag), rel=1e-3)


# --- asking ---------------------------------------------------------------------------------------------------------


def test_asking_goes_on_until_there_is_a_result_or_nobody_wants_it() -> None:
    answers = iter([{"done": 0.5, "result": None}, {"done": 1.0, "result": 7}])
    shares: list[float] = []
    assert ask_to_the_end(lambda *_: next(answers), "x", {}, lambda done: not shares.append(done)) == 7
    assert shares == [0.5]
    assert ask_to_the_end(lambda *_: {"done": 0.1, "result": None}, "x", {}, lambda done: False) is None
