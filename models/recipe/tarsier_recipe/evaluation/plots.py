"""Pictures of an evaluation: precision against recall, and which name is said for which thing. Needs matplotlib."""

import numpy as np

SHOWN = 24  # names in the confusion matrix: those with the most boxes


def _figure(width, height):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt, *plt.subplots(figsize=(width, height), constrained_layout=True)


def precision_recall(path, evaluation, names):
    """`evaluation`: an accumulated COCOeval; `names` of its categories, in its order. The mean at IoU 0.5 and 0.75
    and the eight best names."""
    plt, figure, axis = _figure(6, 4.5)
    pr = evaluation.eval["precision"][:, :, :, 0, -1]
    there = np.flatnonzero((pr[0] > -1).any(0))
    recall = evaluation.params.recThrs
    for iou, at in ((0.5, 0), (0.75, 5)):
        axis.plot(recall, pr[at][:, there].mean(1), linewidth=2.5, label=f"mean of {len(there)} names, IoU {iou}")
    for k in sorted(there, key=lambda k: -pr[0, :, k].mean())[:8]:
        axis.plot(recall, pr[0, :, k], linewidth=0.8, label=names[k])
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1))
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def confusion(truth, found, least=0.5):
    """Counts by (true name, said name): every true box goes with the overlapping report of the highest score,
    whatever its name; `nothing` where no report overlaps by `least`, or where a report overlaps no box. Boxes as
    dicts of COCO; names under `name`."""
    counts, by_photo = {}, {}
    for n in truth:
        by_photo.setdefault(n["image_id"], ([], []))[0].append(n)
    for r in sorted(found, key=lambda r: -r["score"]):
        by_photo.setdefault(r["image_id"], ([], []))[1].append(r)
    for boxes, reports in by_photo.values():
        free = list(boxes)
        for r in reports:
            overlaps = [_iou(r["bbox"], n["bbox"]) for n in free]
            best = int(np.argmax(overlaps)) if overlaps else -1
            hit = best >= 0 and overlaps[best] >= least
            key = (free[best]["name"] if hit else "nothing", r["name"])
            counts[key] = counts.get(key, 0) + 1
            if hit:
                del free[best]
        for n in free:
            counts[n["name"], "nothing"] = counts.get((n["name"], "nothing"), 0) + 1
    return counts


def _iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, w) * max(0.0, h)
    return both / max(1e-9, a[2] * a[3] + b[2] * b[3] - both)


def confusion_matrix(path, counts):
    """Draws `confusion`'s counts: rows are true names, shares of a row."""
    total = {}
    for (true, _), n in counts.items():
        total[true] = total.get(true, 0) + n
    names = sorted((n for n in total if n != "nothing"), key=lambda n: -total[n])[:SHOWN]
    columns = [*names, "another", "nothing"]
    shares = np.zeros((len(names), len(columns)))
    for (true, said), n in counts.items():
        if true in names:
            shares[names.index(true), columns.index(said if said in columns else "another")] += n / total[true]
    plt, figure, axis = _figure(9, 8)
    axis.imshow(shares, cmap="viridis", vmin=0, vmax=1)
    axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
    axis.set_yticks(range(len(names)), [f"{n} ({total[n]})" for n in names], fontsize=7)
    axis.set(xlabel="said", ylabel="true (boxes)")
    for y, x in np.argwhere(shares >= 0.05):
        axis.text(
            x,
            y,
            f"{100 * shares[y, x]:.0f}",
            ha="center",
            va="center",
            fontsize=6,
            color="white" if shares[y, x] < 0.6 else "black",
        )
    figure.savefig(path, dpi=120)
    plt.close(figure)
