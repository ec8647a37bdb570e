"""The loop around every training: its schedules, its checkpoint, when it ends."""

import csv
import itertools

import pytest

torch = pytest.importorskip("torch")

from tarsier_recipe.training import Average, Trainer, constant_then_linear, cosine, linear


def one(path=None, **more):
    """A model of one weight, its optimiser, and a trainer of 20 units."""
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    more = {"schedule": linear(4, 0.5), "rate": 0.1, "budget": 20, "report": 2} | more
    return model, optimiser, Trainer({"model": model, "optimiser": optimiser}, path, **more)


def train(model, optimiser, trainer, x=1.0):
    rates = []
    for _ in trainer.over(itertools.repeat(None)):
        rates.append(optimiser.param_groups[0]["lr"])
        loss = model(torch.full((1, 1), x)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if trainer.done(2, loss=loss):
            trainer.save(extra=torch.tensor([trainer.seen]))
    return rates


def test_schedules():
    rising = [linear(4, 0.5)(1.0, n, 20) for n in (0, 1, 4, 10, 20)]
    assert rising == pytest.approx([0.5, 0.7125, 0.8, 0.5, 0.0])
    falling = [constant_then_linear(0.7)(1.0, n, 100) for n in (0, 2, 60, 100)]
    assert falling == pytest.approx([0.02, 1.0, 1.0, 1e-3])
    assert [cosine(4, 0.1)(1.0, n, 8) for n in (0, 4, 8)] == pytest.approx([0.35, 0.6, 0.1])


def test_a_training_ends_with_its_budget_and_the_checkpoint_with_it(tmp_path):
    model, optimiser, trainer = one(tmp_path / "x.pt")
    rates = train(model, optimiser, trainer)
    assert rates == [linear(4, 0.5)(0.1, n, 20) for n in range(0, 20, 2)]
    assert (trainer.step, trainer.seen) == (10, 20) and (tmp_path / "x.pt").exists()
    trainer.finish()
    assert not (tmp_path / "x.pt").exists()


def test_a_training_that_was_cut_short_goes_on_to_the_same_weights(tmp_path):
    whole, *rest = one()
    train(whole, *rest)
    model, optimiser, trainer = one(tmp_path / "x.pt", limit=4)
    train(model, optimiser, trainer)
    trainer.finish()
    model, optimiser, trainer = one(tmp_path / "x.pt")
    assert trainer.resume()["extra"].tolist() == [8]
    assert trainer.step == 4
    train(model, optimiser, trainer)
    assert torch.equal(model.weight, whole.weight)


def test_weights_without_an_optimisers_state_are_gone_on_from(tmp_path, capsys):
    model, optimiser, trainer = one(tmp_path / "x.pt")
    torch.save({"model": {"weight": torch.ones(1, 1), "bias": torch.ones(1)}}, tmp_path / "x.pt")
    trainer.resume()
    assert model.weight.item() == 1 and trainer.step == 0 and "has no optimiser" in capsys.readouterr().out


def test_losses_that_are_no_numbers_end_it():
    with pytest.raises(SystemExit, match="no longer numbers"):
        train(*one(), x=float("inf"))


def test_losses_are_kept_as_means_in_a_table(tmp_path):
    train(*one(table=tmp_path / "deep/x.csv"))
    rows = list(csv.reader((tmp_path / "deep/x.csv").open()))
    assert rows[0] == ["seconds", "step", "seen", "loss"] and [row[2] for row in rows[1:]] == [
        "4",
        "8",
        "12",
        "16",
        "20",
    ]


def test_a_process_that_is_not_the_first_writes_and_says_nothing(tmp_path, capsys):
    train(*one(tmp_path / "x.pt", table=tmp_path / "x.csv", quiet=True))
    assert not list(tmp_path.iterdir()) and not capsys.readouterr().out


def test_a_budget_of_time_counts_what_was_spent_before(tmp_path):
    torch.save({"spent": 7200.0, "step": 3, "seen": 6}, tmp_path / "x.pt")
    _, _, trainer = one(tmp_path / "x.pt", by="spent", budget=3600, keep=True)
    trainer.resume()
    assert trainer.over_budget() and trainer.used == 7200
    trainer.finish()
    assert (tmp_path / "x.pt").exists()


def test_an_average_is_first_near_to_what_is_trained_and_then_slow():
    network = torch.nn.BatchNorm1d(1)
    average = Average(network, longest=0.9, start=10)
    network.weight.data.fill_(11.0)
    average.update(0)
    assert average.network.weight.item() == pytest.approx(1 + 10 * (1 - 1 / 10))
    network.running_mean.fill_(10.0)  # statistics too
    average.update(10_000)
    assert average.network.running_mean.item() == pytest.approx(1.0)


def test_a_checkpoint_has_the_keys_that_trainings_in_progress_have(tmp_path):
    """What train.py wrote before there was a Trainer: a list of optimisers is a list of their states."""
    student = torch.nn.Linear(1, 1)
    average = Average(student, longest=0.9, start=10)
    both = [torch.optim.SGD([q], lr=0.1, momentum=0.9) for q in student.parameters()]
    state = {"student": student, "average": average.network, "optimisers": both}
    path = tmp_path / "checkpoint.pt"
    trainer = Trainer(state, path, schedule=constant_then_linear(0.7), rate=1e-3, budget=3600, by="spent", keep=True)
    student(torch.ones(1, 1)).sum().backward()
    for o in both:
        o.step()
    trainer.done(16)
    trainer.save()
    kept = torch.load(path, weights_only=True)
    assert sorted(kept) == ["average", "optimisers", "seen", "spent", "step", "student"]
    assert (kept["step"], kept["seen"]) == (1, 16) and len(kept["optimisers"]) == 2
    for o in both:
        o.state.clear()
    trainer.resume()
    assert all("momentum_buffer" in o.state[q] for o in both for q in o.param_groups[0]["params"])
    kept["optimisers"].pop()
    torch.save(kept, path)
    with pytest.raises(ValueError, match="shorter"):
        trainer.resume()
