"""Names in captions."""

from tarsier_recipe.detector.captions import mentioned

NAMES = ["bear", "teddy bear", "bus", "a", "light house", "car"]


def test_names_are_found_as_whole_words_and_the_longest_wins():
    captions = [["Two teddy bears on a carpet."], ["A bear!", "Buses, near a light-house"], [], None]
    found = mentioned([{"captions": c} if c is not None else {} for c in captions], NAMES)
    assert [[NAMES[k] for k in row.nonzero().flatten()] for row in found] == [
        ["teddy bear"],
        ["bear", "bus", "light house"],
        [],
        [],
    ]
