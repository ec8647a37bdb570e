"""Referring expressions made from labelled boxes: sentences that mean one object of a photo, and sentences that mean
none.

An object is (name, box x0 y0 x1 y1 in 0..1 of the photo, colour or None). A sentence is true of exactly one object
of the photo by construction: position, order, size and colour are measured among the objects of its name, relations
against objects whose name is unique; names are only used where the photo lists them as annotated exhaustively.
Absent sentences have the same forms, but name what is not there, a colour that nothing of that name has, or a
relation to something absent: words alone do not give them away.
"""

COLOURS = {
    "red": (0.0, 0.06),
    "orange": (0.06, 0.11),
    "yellow": (0.12, 0.19),
    "green": (0.22, 0.45),
    "blue": (0.52, 0.70),
    "purple": (0.73, 0.86),
    "pink": (0.88, 0.97),
}  # hue, 0..1
ALIKE = {
    frozenset(p)
    for p in (("red", "orange"), ("red", "pink"), ("orange", "yellow"), ("blue", "purple"), ("pink", "purple"))
}
LARGEST, SMALLEST = ("largest", "biggest"), ("smallest", "tiniest")
ORDINALS = ("first", "second", "third")
ASIDE = 0.12  # of the photo: centres nearer than this are not left or right of one another
ORDERS = {  # axis, from the low end?
    "from the left": (0, True),
    "from the right": (0, False),
    "from the top": (1, True),
}


def colour_name(rgb):
    """The word for a mean colour (0..255), or None where people would disagree."""
    high, low = max(rgb) / 255, min(rgb) / 255
    if high < 0.22:
        return "black"
    saturation = (high - low) / high
    if saturation < 0.12:
        return "white" if high > 0.8 else "grey" if 0.35 < high < 0.65 else None
    if saturation < 0.4:
        return None
    r, g, b = (v / 255 for v in rgb)
    spread = high - low
    hue = ((g - b) / spread % 6 if high == r else (b - r) / spread + 2 if high == g else (r - g) / spread + 4) / 6
    return next((n for n, (a, z) in COLOURS.items() if a <= hue < z), None)


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def beside(word, a, b):
    """Whether box `a` stands in this relation to box `b`, clearly."""
    (ax, ay), (bx, by) = centre(a), centre(b)
    if word == "left":
        return ax < bx - ASIDE and abs(ay - by) < 0.5
    if word == "right":
        return ax > bx + ASIDE and abs(ay - by) < 0.5
    if word == "above":
        return ay < by - ASIDE and abs(ax - bx) < 0.3
    if word == "below":
        return ay > by + ASIDE and abs(ax - bx) < 0.3
    gap = max(0.0, max(a[0], b[0]) - min(a[2], b[2])) + max(0.0, max(a[1], b[1]) - min(a[3], b[3]))
    return gap < 0.05


RELATIONS = {
    "left": ("to the left of the {}", "left of the {}"),
    "right": ("to the right of the {}", "right of the {}"),
    "above": ("above the {}", "over the {}"),
    "below": ("below the {}", "under the {}"),
    "near": ("next to the {}", "beside the {}", "near the {}"),
}


def phrase(rng, noun, before="", after=""):
    """One way of saying it."""
    text = " ".join(w for w in (before, noun, after) if w)
    return rng.choice(("the {}", "the {}", "{}", "find the {}", "where is the {}")).format(text)


def single(values, low, margin):
    """Index of the least (or greatest) value if it is so by a margin, else None."""
    order = sorted(range(len(values)), key=lambda i: values[i] if low else -values[i])
    return order[0] if len(order) > 1 and abs(values[order[0]] - values[order[1]]) > margin else None


def present(objects, words, rng):
    """All (sentence, object index, kind) of a photo. `words(name)` gives a way to say a name."""
    out, names = [], {}
    for i, (name, _, _) in enumerate(objects):
        names.setdefault(name, []).append(i)
    for name, same in names.items():
        say = lambda before="", after="", name=name: phrase(rng, words(name), before, after)  # noqa: E731
        boxes = [objects[i][1] for i in same]
        if len(same) == 1:
            out.append((say(), same[0], "name"))
            x, y = centre(boxes[0])
            if abs(x - 0.5) > 0.2:
                side = "left" if x < 0.5 else "right"
                out.append((say("", f"on the {side}"), same[0], "position"))
                out.append((say("", f"that is not on the {'right' if x < 0.5 else 'left'}"), same[0], "negation"))
            if abs(y - 0.5) > 0.2:
                out.append((say("", "at the top" if y < 0.5 else "at the bottom"), same[0], "position"))
        else:
            for axis, words_low, words_high in (
                (0, ("leftmost",), ("rightmost",)),
                (1, ("topmost", "upper"), ("lowest", "lower")),
            ):
                for low, adjectives in ((True, words_low), (False, words_high)):
                    at = single([centre(b)[axis] for b in boxes], low, 0.06)
                    if at is not None:
                        out.append((say(rng.choice(adjectives)), same[at], "position"))
                        if axis == 0:
                            out.append((say("", f"on the {'left' if low else 'right'}"), same[at], "position"))
                            if len(same) == 2:
                                out.append(
                                    (say("", f"that is not on the {'right' if low else 'left'}"), same[at], "negation")
                                )
            for low, adjectives in ((False, LARGEST), (True, SMALLEST)):
                at = single([area(b) ** 0.5 for b in boxes], low, 0.04)
                if at is not None:
                    out.append((say(rng.choice(adjectives)), same[at], "size"))
            if len(same) <= 5:
                for order, (axis, low) in ORDERS.items():
                    ranked = sorted(same, key=lambda i: centre(objects[i][1])[axis] * (1 if low else -1))
                    gaps = [
                        abs(centre(objects[a][1])[axis] - centre(objects[b][1])[axis])
                        for a, b in zip(ranked, ranked[1:])
                    ]
                    for n, word in enumerate(ORDINALS[: len(ranked)]):
                        if all(g > 0.05 for g in gaps[max(0, n - 1) : n + 1]):
                            out.append((say(word, order), ranked[n], "ordinal"))
        colours = [objects[i][2] for i in same]
        for i, c in zip(same, colours):
            if c is not None and colours.count(c) == 1 and None not in colours:
                out.append((say(c), i, "colour"))
                if len(same) == 2:
                    other = colours[1 - colours.index(c)]
                    out.append((say("", f"that is not {other}"), i, "negation"))
        for other, there in names.items():
            if other == name or len(there) != 1:
                continue
            anchor = objects[there[0]][1]
            for word, forms in RELATIONS.items():
                fits = [i for i in same if beside(word, objects[i][1], anchor)]
                if len(fits) == 1:
                    out.append((say("", rng.choice(forms).format(words(other))), fits[0], "relation"))
    return out


def absent(objects, missing, words, rng, count):
    """`count` sentences that nothing in the photo matches; `missing`: names that the photo is known not to show."""
    out, names = [], sorted({o[0] for o in objects})
    if not missing:
        return out
    for _ in range(count):
        kind = rng.random()
        gone = rng.choice(missing)
        if kind < 0.45 or not names:
            before, after = rng.choice(
                (
                    ("", ""),
                    ("", f"on the {rng.choice(('left', 'right'))}"),
                    (rng.choice(("leftmost", "rightmost", *LARGEST, *SMALLEST)), ""),
                    (rng.choice(list(COLOURS)), ""),
                    ("", f"that is not {rng.choice(list(COLOURS))}"),
                    (rng.choice(ORDINALS), rng.choice(list(ORDERS))),
                )
            )
            if rng.random() < 0.3 and names:
                after = rng.choice(RELATIONS[rng.choice(list(RELATIONS))]).format(words(rng.choice(names)))
                before = ""
            out.append((phrase(rng, words(gone), before, after), "absent name"))
        elif kind < 0.75:
            name = rng.choice(names)
            out.append(
                (
                    phrase(
                        rng, words(name), "", rng.choice(RELATIONS[rng.choice(list(RELATIONS))]).format(words(gone))
                    ),
                    "absent relation",
                )
            )
        else:
            name = rng.choice(names)
            have = {o[2] for o in objects if o[0] == name}
            if None in have:
                continue
            away = [c for c in COLOURS if c not in have and not any(frozenset((c, h)) in ALIKE for h in have)]
            if not away:
                continue
            out.append((phrase(rng, words(name), rng.choice(away)), "absent colour"))
    return out
