"""Stage 4: the student learns the teacher's 128-wide vectors.

    nice python -m tarsier_recipe text-train [--epochs 6] [--weights ../checkpoints/text.pt]

Loss: 1 - cosine to the teacher's vector, plus RELATION × cross-entropy between the student's and the teacher's
similarities to all teacher vectors of the batch: what a prompt must be told apart from matters as much as where it
is. Training starts from the ridge solution of "a sentence is the sum of its tokens' rows", whose own score is
printed as `bag` (Encoder.begin_with). In SPLIT of the strings, words are cut into shorter pieces than needed, so
that pieces are practised too. A checkpoint is written after each epoch; started again, training goes on from it.
`--weights` starts from an encoder's weights, without the optimiser's state (models/checkpoints/text.pt has those of
the packs). Measurements: train.jsonl.
"""

import json
import random
import re
import time

import numpy as np
import torch
from torch.nn import functional as F

from tarsier_recipe import options
from tarsier_recipe.precision import autocast, whole
from tarsier_recipe.text.encoder import Encoder, batch
from tarsier_recipe.text.teacher import WIDTH, held_out, held_synonyms
from tarsier_recipe.text.tokenizer import Tokenizer, words
from tarsier_recipe.training import Average, Trainer, cosine

RELATION, TEMPERATURE = 0.05, 0.05  # at 0.2 its gradient is four times the cosine's
SPLIT = 0.15
BATCH = 256
REPEATS = {"name": 3, "synonym": 3, "definition": 2}


class Data:
    """Strings with their targets, split into what is learnt and what is kept for measuring."""

    def __init__(self, build, tokenizer: Tokenizer):
        with np.load(build.prompts) as prompts:
            texts, kinds = prompts["texts"].tolist(), prompts["kind"].tolist()
            owners, rows = prompts["owner"], [prompts["embedding"].astype(np.float32)]
        with np.load(build.composed) as composed:
            texts += composed["texts"].tolist()
            kinds += [
                k if k in ("word", "caption", "caption-held-out") else "composed" for k in composed["kind"].tolist()
            ]
            rows.append(composed["embedding"].astype(np.float32))
        self.texts, self.kinds, self.rows = texts, kinds, torch.from_numpy(np.concatenate(rows))
        self.tokenizer = tokenizer
        self.ids = [tokenizer.encode(t) for t in texts]
        names = [i for i, k in enumerate(kinds) if k == "name"]
        known = {texts[i] for i in names}
        synonyms = held_synonyms(texts, kinds)
        inside = re.compile(r"\b(" + "|".join(map(re.escape, sorted(synonyms))) + r")\b")
        self.train, self.held = [], {"synonym": [], "phrase": [], "composed": [], "word": [], "caption-held-out": []}
        for i, (text, kind) in enumerate(zip(texts, kinds)):
            if not self.ids[i]:
                continue
            if kind == "caption-held-out":
                self.held[kind].append(i)
            elif text in synonyms:
                if kind == "synonym":
                    self.held[kind].append(i)
            elif kind == "composed" and inside.search(text):
                pass  # made of a held-out synonym
            elif kind in ("phrase", "composed", "word") and text not in known and held_out(text):
                self.held[kind].append(i)
            else:
                self.train += [i] * REPEATS.get(kind, 1)
        self.table = self.rows[names]  # teacher rows of all names
        self.answer = {i: int(owners[i]) for i in self.held["synonym"]}  # row of the right name
        print(
            f"{len(set(self.train))} strings to learn, held out:", {k: len(v) for k, v in self.held.items()}, flush=True
        )

    def shorter(self, text: str, rng: random.Random) -> list[int]:
        """Ids with words cut into pieces of at most 2 to 6 letters."""
        longest, self.tokenizer.longest = self.tokenizer.longest, rng.randint(2, 6)
        ids = [i for word in words(text) for i in self.tokenizer.word(word)]
        self.tokenizer.longest = longest
        return ids

    def batches(self, epoch: int):
        """Index and id lists of one epoch, texts of about one length together."""
        rng = random.Random(epoch)
        order = self.train[:]
        rng.shuffle(order)
        chosen = [(i, self.shorter(self.texts[i], rng) if rng.random() < SPLIT else self.ids[i]) for i in order]
        groups = []
        for first in range(0, len(chosen), 80 * BATCH):
            part = sorted(chosen[first : first + 80 * BATCH], key=lambda pair: len(pair[1]))
            groups += [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
        rng.shuffle(groups)
        return groups


def ridge(data: Data, tokens: int) -> torch.Tensor:
    """Rows [V, 128] whose sums over a text come nearest to the targets."""
    gram, right = torch.eye(tokens) * 3.0, torch.zeros(tokens, WIDTH)
    for i in set(data.train):
        ids = torch.tensor(data.ids[i])
        gram.index_put_(
            (ids[:, None].expand(-1, len(ids)), ids[None, :].expand(len(ids), -1)), torch.tensor(1.0), accumulate=True
        )
        right.index_add_(0, ids, data.rows[i].expand(len(ids), -1))
    return torch.linalg.solve(gram, right)


def measure(data: Data, encode) -> dict:
    """`encode(list of ids) -> unit vectors`; cosine to the teacher and synonym -> name, all on held-out strings."""
    report = {}
    for kind, held in data.held.items():
        rows = torch.cat([encode([data.ids[i] for i in held[f : f + 512]]) for f in range(0, len(held), 512)])
        report[f"cosine {kind}"] = round((rows * data.rows[held]).sum(1).mean().item(), 4)
        if kind == "phrase":  # is the name nearest to the student's vector the one nearest to the teacher's?
            wanted, top = (data.rows[held] @ data.table.T).argmax(1), (rows @ data.table.T).topk(10).indices
            report["phrase same r1"] = round((top[:, 0] == wanted).float().mean().item() * 100, 1)
            report["phrase same r10"] = round((top == wanted[:, None]).any(1).float().mean().item() * 100, 1)
        if kind == "synonym":
            for who, queries in [("", rows), ("teacher ", data.rows[held])]:
                scores = queries @ data.table.T
                right = scores[torch.arange(len(held)), [data.answer[i] for i in held]]
                rank = (scores > right[:, None]).sum(1)
                report[f"{who}r1"] = round((rank < 1).float().mean().item() * 100, 1)
                report[f"{who}r10"] = round((rank < 10).float().mean().item() * 100, 1)
    return report


def note(build, report: dict) -> None:
    """Prints a measurement and keeps it in train.jsonl."""
    print(json.dumps(report), flush=True)
    with open(build.text / "train.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(report) + "\n")


def main() -> None:
    p = options.parser(__doc__, "device", "weights", "steps", "seed", lr=4e-4)
    p.add_argument("--epochs", type=int, default=6)
    a = options.parse(p)
    tokenizer = Tokenizer.read(a.build.tokenizer)
    data = Data(a.build, tokenizer)

    model = Encoder(len(tokenizer.lines)).to(a.device)
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1]
    plain = [p for n, p in model.named_parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=a.lr, betas=(0.9, 0.98)
    )
    if a.build.encoder.exists():
        pass
    elif a.weights:
        model.load_state_dict(whole(torch.load(a.weights, map_location=a.device, weights_only=True)))
    else:
        bag = ridge(data, len(tokenizer.lines))
        mean_of = lambda ids: F.normalize(torch.stack([bag[i].sum(0) for i in ids]), dim=1)  # noqa: E731
        note(a.build, {"bag": measure(data, mean_of)})
        model.begin_with(bag)
    average = Average(model, longest=0.998, start=20)  # what is measured and kept
    steps = -(-len(data.train) // BATCH)
    trainer = Trainer(
        {"model": model, "average": average.network, "optimiser": optimiser},
        a.build.encoder,
        schedule=cosine(200, 1e-5),
        rate=a.lr,
        budget=steps * a.epochs,
        by="step",
        unit="strings",
        limit=a.steps,
        keep=True,
        table=a.build.text / "train.csv",
    )
    start = trainer.resume().get("epoch", 0)
    trainer.step = start * steps
    for epoch in range(start, a.epochs):
        began, losses = time.time(), []
        model.train()
        for group in trainer.over(data.batches(epoch)):
            ids, lengths = batch([ids for _, ids in group])
            target = data.rows[[i for i, _ in group]].to(a.device)
            with autocast(a.device):
                student = model(ids.to(a.device), lengths.to(a.device))
            student = student.float()
            cosine_of = (student * target).sum(1)
            wanted = F.softmax(target @ target.T / TEMPERATURE, dim=1)
            relation = F.cross_entropy(student @ target.T / TEMPERATURE, wanted)
            loss = (1 - cosine_of).mean() + RELATION * relation
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            average.update(trainer.step)
            losses.append(cosine_of.mean().item())
            trainer.done(len(group), cosine=losses[-1])
        average.network.eval()
        with torch.no_grad():
            report = measure(data, lambda ids: average.network(*(x.to(a.device) for x in batch(ids, full=True))).cpu())
        report = {
            "epoch": epoch + 1,
            "train cosine": round(float(np.mean(losses)), 4),
            **report,
            "seconds": round(time.time() - began),
        }
        note(a.build, report)
        trainer.save(epoch=trainer.step // steps)
        if trainer.over_budget():
            break
    trainer.finish()


if __name__ == "__main__":
    main()
