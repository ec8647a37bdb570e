"""The learning curve is that of the tables."""

from tarsier_recipe.evaluation import curve


def test_the_cards_curve_is_drawn_from_its_tables():
    curves = curve.curves(curve.MODELS)
    assert [len(found) > 5 for _, _, found in curves] == [True, True]
    drawn = (curve.MODELS / "curve.svg").read_text()
    assert drawn == curve.drawing(curves), "run: python -m tarsier_recipe curve"


def test_rows_are_read_as_people_write_them():
    rows = ["about 48,000 | 1.0", "tarsier-s: 5 million | 9", "2.9 million, then more | 8.2"]
    page = "\n".join(f"| {row} |" for row in ["pictures seen | AP", "--- | ---", *rows]) + "\n\n| 1 | 2 |"
    assert curve.points(page, "| pictures seen | AP |") == [(48000.0, 1.0), (2.9e6, 8.2)]
