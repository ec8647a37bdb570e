"""Draws models/curve.svg: AP against pictures seen, from the tables in models/RESULTS.md and models/README.md.

Run it after a row was added to one of them. Nothing else is needed, and the same tables give the same bytes.
"""

import argparse
import math
import re
from pathlib import Path

MODELS = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 16, 46
FIRST, LAST, MOST = 2e4, 8e6, 12.0  # pictures from, to; AP up to

# of which network, with the page and the heading of the column of pictures, and how AP was measured
CURVES = (
    ("tarsier-s, int8, the binary", "RESULTS.md", "| pictures seen | AP, int8, the binary |", "#b04a10"),
    ("the next network, floats", "README.md", "| pictures seen | AP | AP50 |", "#1f5fa8"),
)


def points(page, heading):
    """(pictures, AP) of each row below a heading, by pictures; rows that begin with a name are passed over."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        pictures, ap = (cell.strip() for cell in line.split("|")[1:3])
        number = re.match(r"(?:about )?([\d,.]+\d)( million)?", pictures)
        if number:
            found.append((float(number[1].replace(",", "")) * (1e6 if number[2] else 1), float(ap)))
    return sorted(found)


def curves(models):
    """(label, colour, points) of each network, from the pages in a folder."""
    return [(label, colour, points((models / page).read_text(), heading)) for label, page, heading, colour in CURVES]


def drawing(found_curves):
    """What `curves` returns, as SVG."""

    def x(pictures):
        share = math.log(pictures / FIRST) / math.log(LAST / FIRST)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(ap):
        return round(HEIGHT - BOTTOM - ap / MOST * (HEIGHT - TOP - BOTTOM), 1)

    def text(at, down, words, anchor="middle", colour="#444"):
        return f'<text x="{at}" y="{down}" text-anchor="{anchor}" fill="{colour}">{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for ap in range(0, int(MOST) + 1, 2):
        parts.append(f'<path d="M{LEFT} {y(ap)}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y(ap) + 4, ap, "end"))
    for pictures, words in (
        (3e4, "30,000"),
        (1e5, "100,000"),
        (3e5, "300,000"),
        (1e6, "1 million"),
        (5e6, "5 million"),
    ):
        parts.append(f'<path d="M{x(pictures)} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(text(x(pictures), HEIGHT - BOTTOM + 16, words))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "pictures seen in training"))
    parts.append(text(LEFT + 6, TOP + 12, "AP", "start"))
    for row, (label, colour, found) in enumerate(found_curves):
        line = "L".join(f"{x(p)} {y(ap)}" for p, ap in found)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(p)}" cy="{y(ap)}" r="3" fill="{colour}"/>' for p, ap in found]
        parts.append(text(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 30 + 16 * row, label, "end", colour))
    return "\n".join([*parts, "</svg>", ""])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", default=MODELS, type=Path, help="the folder with the pages and the picture")
    a = p.parse_args()
    found_curves = curves(a.models)
    (a.models / "curve.svg").write_text(drawing(found_curves))
    for label, _, found in found_curves:
        print(f"{label}: {len(found)} points, up to {found[-1][0]:,.0f} pictures")


if __name__ == "__main__":
    main()
