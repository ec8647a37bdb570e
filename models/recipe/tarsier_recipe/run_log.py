"""A training's table (CSV) and its plot (PNG): what one looks at while it runs and afterwards."""

import csv
from pathlib import Path

SMOOTH = 20  # rows that the thick line is the mean of


class RunLog:
    """Appends rows of numbers under named columns; `plot` draws every column but the first three against `seen`."""

    def __init__(self, path, columns):
        self.path, self.columns = Path(path), ["seconds", "step", "seen", *columns]
        if self.path.exists():
            first = self.path.open().readline().strip().split(",")
            if first != self.columns:  # of another run or form: kept beside, not mixed
                self.path.replace(self.path.with_suffix(f".{int(self.path.stat().st_mtime)}.csv"))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        self.file = self.path.open("a", buffering=1)
        if new:
            csv.writer(self.file).writerow(self.columns)

    def add(self, seconds, step, seen, values):
        csv.writer(self.file).writerow([round(seconds), step, seen] + [f"{values[c]:.5g}" for c in self.columns[3:]])

    def plot(self):
        """Writes the plot beside the table; does nothing where matplotlib is not installed, or before there are two
        rows."""
        try:
            import matplotlib
        except ImportError:
            return
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        with self.path.open() as f:
            rows = [[float(v) for v in r] for r in csv.reader(f) if r and r[0] != "seconds"]
        if len(rows) < 2:
            return
        columns = list(zip(*rows))
        names = self.columns[3:]
        figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 3), constrained_layout=True)
        for axis, name, values in zip(axes if len(names) > 1 else [axes], names, columns[3:]):
            mean = [
                sum(values[max(0, i - SMOOTH + 1) : i + 1]) / len(values[max(0, i - SMOOTH + 1) : i + 1])
                for i in range(len(values))
            ]
            axis.plot(columns[2], values, linewidth=0.5, alpha=0.5)
            axis.plot(columns[2], mean, linewidth=1.5)
            axis.set_title(name)
            axis.set_xlabel("pictures seen")
            axis.grid(alpha=0.3)
        temporary = self.path.with_suffix(".part.png")
        figure.savefig(temporary, dpi=110)
        plt.close(figure)
        temporary.replace(self.path.with_suffix(".png"))
