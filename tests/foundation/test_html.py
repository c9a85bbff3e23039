"""Is HTML for notebooks escaped, aligned, and without colours that one theme hides?"""

from __future__ import annotations

from finetunekit.foundation import html


def test_all_that_is_shown_is_escaped() -> None:
    bad = "<script>\"&'"
    shown = html.view(
        bad,
        html.table([bad], [[bad]]),
        html.facts({bad: bad}),
        html.lines([bad]),
        html.folded(bad, html.lines([bad])),
    )
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;&quot;&amp;&#x27;") == 8


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    shown = html.table(
        ["a", "b", "c"],
        [["x", "1,234", "0.5 ± 0.1"], ["y", "50.0%", "0.930 (0.9 to 1)"], ["1", None, "undefined"]],
    )
    first = shown.split("</tr>")[1]
    assert [part.split(";")[0] for part in first.split("text-align: ")[1:]] == [
        "left",
        "right",
        "right",
    ]


def test_what_is_not_known_is_left_out() -> None:
    shown = html.facts({"first": "1", "second": None})
    assert ">first<" in shown
    assert "second" not in shown


def test_a_table_without_rows_keeps_its_head() -> None:
    assert "<th" in html.table(["name"], [])
