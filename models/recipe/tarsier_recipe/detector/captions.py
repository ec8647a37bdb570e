"""Names in captions: what people who looked at a photo said is in it, whether or not anything labels it."""

import re

import torch


def words(text):
    """The words of a text, lower case."""
    return re.findall(r"[a-z0-9]+", text.lower())


def forms(name):
    """A name and its plural as captions have them; nothing for names of one or two letters, which captions use as
    other words ("a", "in")."""
    one = " ".join(words(name))
    return {one, one + ("es" if one.endswith(("s", "x", "ch", "sh")) else "s")} if len(one) > 2 else set()


def mentioned(images, names):
    """Which of the names each photo's captions mention, [photos, names]: whole words, in any of the captions.

    A name inside a longer one that is mentioned ("bear" in "teddy bear") is not.
    """
    index, longest = {}, 1
    for k, name in enumerate(names):
        for form in forms(name):
            index.setdefault(form, []).append(k)
            longest = max(longest, form.count(" ") + 1)
    out = torch.zeros(len(images), len(names), dtype=torch.bool)
    for i, im in enumerate(images):
        for caption in im.get("captions") or []:
            told, at = words(caption), 0
            while at < len(told):
                for n in range(min(longest, len(told) - at), 0, -1):
                    found = index.get(" ".join(told[at : at + n]))
                    if found:
                        out[i, found] = True
                        break
                at += n if found else 1
    return out
