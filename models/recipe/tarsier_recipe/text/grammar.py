"""The small words of prompts: templates and relations from which sentences are composed, known to the tokenizer too."""

ARTICLES = ["a", "the", "one", "this", "that", "some", "any", "every", "all the", "my"]
FRAMES = [
    "a photo of a {}", "a photo of the {}", "a picture of a {}", "an image of a {}", "a close up of a {}",
    "there is a {}", "find the {}", "look for a {}", "show me the {}", "where is the {}", "a {} in the scene",
    "the {} in the image", "is there a {}", "a blurry photo of a {}", "a dark photo of the {}", "several {}", "many {}",
]  # fmt: skip
COUNTS = [
    "two",
    "three",
    "four",
    "five",
    "a pair of",
    "a group of",
    "a pile of",
    "a row of",
    "a bunch of",
    "a stack of",
]
ADJECTIVES = [
    "red", "green", "blue", "yellow", "white", "black", "brown", "orange", "pink", "purple", "gray", "grey", "silver",
    "golden", "dark", "bright", "transparent", "striped", "colorful", "big", "large", "small", "tiny", "huge", "little",
    "tall", "short", "long", "thin", "wide", "narrow", "old", "new", "broken", "empty", "full", "open", "closed", "dirty",
    "clean", "wet", "dry", "round", "square", "flat", "wooden", "metal", "plastic", "glass", "paper", "leather", "stone",
    "rusty", "shiny", "fallen", "parked", "moving", "standing", "hanging", "folded", "half hidden", "overturned",
    "upside down", "damaged", "young", "lying", "leftmost", "rightmost", "nearest", "closest", "farthest", "largest",
    "smallest", "tallest", "first", "second", "last", "other", "same", "toy",
]  # fmt: skip
RELATIONS = [
    "and", "or", "with", "without", "on", "on top of", "in", "inside", "under", "below", "above", "over", "behind",
    "in front of", "beside", "next to", "near", "close to", "far from", "to the left of", "to the right of", "left of",
    "right of", "between", "among", "against", "leaning on", "attached to", "hanging from", "full of", "made of",
    "covered with", "covered by", "holding", "carrying", "wearing", "riding", "eating", "looking at", "touching",
    "surrounded by", "facing", "pulling", "pushing", "not on", "that is on", "that is not", "but no", "from", "of", "for",
]  # fmt: skip
PLACES = [
    "on the floor", "on the table", "on the ground", "on the left", "on the right", "in the middle", "in the background",
    "in the foreground", "at the top", "at the bottom", "in the corner", "on the wall", "in the room", "in the kitchen",
    "on the street", "in the water", "in the air", "on the shelf", "on the road", "in the grass", "in the sky", "outdoors",
    "indoors", "at night", "in the box", "in the hand", "near the door", "by the window", "upside down", "in the distance",
]  # fmt: skip
SUBJECTS = ["person", "man", "woman", "child", "boy", "girl", "someone", "people", "dog", "cat", "worker", "robot"]
ACTIONS = [
    "holding", "carrying", "wearing", "riding", "using", "eating", "looking at", "sitting on", "standing on", "standing next to",
    "lying on", "walking past", "pushing", "pulling", "touching", "without", "with", "opening", "reaching for", "washing",
]  # fmt: skip
PREDICATES = [
    "that is {}", "which is {}", "that looks {}", "which is not {}", "that is not {}",
]  # fmt: skip


def phrases() -> list[str]:
    """Everything above as plain strings (for the tokenizer)."""
    lists = [ARTICLES, FRAMES, COUNTS, ADJECTIVES, RELATIONS, PLACES, SUBJECTS, ACTIONS, PREDICATES]
    return [entry.replace("{}", " ") for entries in lists for entry in entries]
