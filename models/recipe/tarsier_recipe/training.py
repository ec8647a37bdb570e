"""What every training does: its budget, learning rate, averaged weights, checkpoint, progress, table and plot."""

import copy
import math
import time

import torch

from tarsier_recipe.folders import save_atomically
from tarsier_recipe.run_log import RunLog

LONGEST_STEP = 20.0  # seconds; a process that was stopped for a while has not trained meanwhile


def linear(warm_up, start=0.0):
    """A schedule that rises from `start` over `warm_up` units of the budget and falls to 0 at its end.

    Schedules are functions of (greatest rate, what is done, the budget) -> rate.
    """
    return lambda rate, done, budget: rate * min(1, done / warm_up + start) * max(0.0, 1 - done / budget)


def constant_then_linear(decay):
    """Warm-up over a hundredth of the budget, constant up to the fraction `decay`, then falling to a thousandth."""

    def schedule(rate, done, budget):
        progress = done / budget
        return rate * (min(1.0, progress / 0.01 + 0.02) * min(1.0, (1 - progress) / (1 - decay) + 1e-3))

    return schedule


def cosine(warm_up, least):
    """Warm-up over `warm_up` units, then half a cosine down to `least`."""

    def schedule(rate, done, budget):
        return rate * min(1.0, (done + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, done / budget))) + least

    return schedule


def save(path, state):
    """`torch.save`, whole or not at all."""
    save_atomically(path, lambda file: torch.save(state, file))


class Average:
    """Exponential average of a network's weights and statistics, in `network`.

    After n steps the last one has the weight 1 - min(`longest`, (1 + n) / (`start` + n)): first a plain mean of
    sorts, then a fading one.
    """

    def __init__(self, trained, longest, start):
        self.network, self.longest, self.start = copy.deepcopy(trained), longest, start
        self.tensors = [[t for t in m.state_dict().values() if t.is_floating_point()] for m in (self.network, trained)]

    @torch.no_grad()
    def update(self, n):
        torch._foreach_lerp_(*self.tensors, 1 - min(self.longest, (1 + n) / (self.start + n)))


class Trainer:
    """The loop around a training's own step:

        state = {"model": model, "optimiser": optimiser}
        trainer = Trainer(state, path, schedule=linear(500, 0.05), rate=2e-3, budget=36_000)
        for batch in trainer.over(loader):
            ...                             # the rate is in the optimiser's groups
            trainer.done(len(batch), loss=loss)
        trainer.finish()

    `state`: what the checkpoint at `path` keeps, by key: objects with a `state_dict`, or lists of them; beside these
    `spent` (seconds), `step` and `seen` (what `done` counted). Without a `path` there is no checkpoint; with `keep`
    it stays when the budget is used. `budget` is in units of what `by` names: "seen", "step" or "spent". A line is
    printed every `report` steps (or, with `every`, seconds) and a row goes to `table` (CSV). `limit`: stop after so
    many steps, for trials. `quiet`: another process of the same training says and saves all that.
    """

    def __init__(
        self,
        state,
        path=None,
        *,
        schedule,
        rate,
        budget,
        by="seen",
        unit="pictures",
        report=100,
        every=None,
        limit=None,
        table=None,
        keep=False,
        quiet=False,
    ):
        self.state, self.path, self.schedule, self.rate, self.budget, self.by, self.unit = (
            state,
            path,
            schedule,
            rate,
            budget,
            by,
            unit,
        )
        self.report, self.every, self.limit, self.table, self.keep, self.quiet = (
            report,
            every,
            limit,
            table,
            keep,
            quiet,
        )
        self.spent, self.step, self.seen = 0.0, 0, 0
        self.sums, self.steps, self.printed_at, self.printed_seen, self.began = {}, 0, time.time(), 0, time.time()
        self.saved_at, self.log = time.time(), None

    def resume(self):
        """Goes on from the checkpoint, if there is one; returns it, else an empty dict: it may hold more."""
        if self.path is None or not self.path.exists():
            return {}
        kept = torch.load(self.path, weights_only=True, map_location="cpu")
        for key, of in self.state.items():
            if key not in kept:
                self.say(f"{self.path} has no {key}: it starts anew")
                continue
            pairs = zip(of, kept[key], strict=True) if isinstance(of, list) else [(of, kept[key])]
            for one, state in pairs:
                one.load_state_dict(state)
        self.spent, self.step, self.seen = kept.get("spent", 0.0), kept.get("step", 0), kept.get("seen", 0)
        self.printed_seen = self.seen
        self.say(f"continuing at step {self.step}, {self.seen} {self.unit}, {self.spent / 3600:.2f} h")
        return kept

    def say(self, line):
        if not self.quiet:
            print(line, flush=True)

    def elapsed(self):
        """Seconds of training until now."""
        return self.spent + min(time.time() - self.began, LONGEST_STEP)

    def start(self):
        """Time runs from here."""
        self.began = self.printed_at = time.time()

    @property
    def used(self):
        """What of the budget is used."""
        return getattr(self, self.by)

    def over_budget(self):
        return self.used >= self.budget or (self.limit is not None and self.step >= self.limit)

    def rate_now(self, ahead=0):
        """The learning rate where so much of the budget is used, and `ahead` more."""
        return self.schedule(self.rate, self.used + ahead, self.budget)

    def set_rate(self, ahead=0):
        """Gives it to every group of the optimiser that `state` calls so."""
        for group in self.state["optimiser"].param_groups:
            group["lr"] = self.rate_now(ahead)

    def over(self, batches):
        """The batches of a stream until the budget is used; each finds the learning rate set."""
        self.start()
        for batch in batches:
            if self.over_budget():
                return
            self.set_rate()
            yield batch

    def done(self, count, spent=None, totals=None, **losses):
        """After a step on `count` units; `losses` are numbers or tensors of one. Returns whether a line was due.

        A training that adds its losses up itself gives `totals`, a function that returns the sums since its last
        call. `spent`: the seconds until now, where processes have agreed on them.
        """
        self.spent, self.began = self.elapsed() if spent is None else spent, time.time()
        self.step, self.seen, self.steps = self.step + 1, self.seen + count, self.steps + 1
        for name, value in losses.items():
            value = value.detach() if isinstance(value, torch.Tensor) else value
            self.sums[name] = self.sums.get(name, 0.0) + value
        seconds = time.time() - self.printed_at
        due = seconds > self.every if self.every else self.step % self.report == 0
        if due:
            self.sums = totals() if totals else self.sums
            self.tell(seconds)
        return due

    def tell(self, seconds):
        """The line, and a row of the table."""
        mean = {name: float(value) / self.steps for name, value in self.sums.items()}
        pace = (self.seen - self.printed_seen) / max(seconds, 1e-9)
        of = (
            f"{self.spent / 3600:.3f}/{self.budget / 3600:g} h"
            if self.by == "spent"
            else f"{self.used}/{self.budget} {self.by}"
        )
        self.say(
            f"{of}  step {self.step}  {self.seen} {self.unit}  {pace:.0f}/s  "
            + "  ".join(f"{k} {v:.4f}" for k, v in mean.items())
        )
        if self.table is not None and not self.quiet:
            self.log = self.log or RunLog(self.table, list(mean))
            self.log.add(self.spent, self.step, self.seen, mean)
        if not all(map(math.isfinite, mean.values())):
            raise SystemExit(
                "the losses are no longer numbers: a lower --lr may help; the last checkpoint is from before"
            )
        self.sums, self.steps, self.printed_at, self.printed_seen = {}, 0, time.time(), self.seen

    def save(self, **more):
        """The checkpoint, and the plot of the table."""
        self.saved_at = time.time()
        if self.quiet or self.path is None:
            return
        states = {
            k: [one.state_dict() for one in of] if isinstance(of, list) else of.state_dict()
            for k, of in self.state.items()
        }
        save(self.path, states | {"spent": self.spent, "step": self.step, "seen": self.seen} | more)
        if self.log is not None:
            self.log.plot()

    def finish(self):
        """Removes the checkpoint of a training that has used its budget, unless it is to be kept."""
        if self.path is not None and not self.keep and self.used >= self.budget:
            self.path.unlink(missing_ok=True)
        self.say(f"done: {self.step} steps, {self.seen} {self.unit}")
