"""Stage 4: the student learns the teacher's 128-wide vectors.

    nice python models/recipe/text/train.py [--epochs 6] [--threads 1] [--run name] [--weights ../../checkpoints/text.pt]

Loss: 1 - cosine to the teacher's vector, plus RELATION × cross-entropy between the student's and the teacher's
similarities to all teacher vectors of the batch: what a prompt must be told apart from matters as much as where it is.
Training starts from the ridge solution of "a sentence is the sum of its tokens' rows", whose own score is printed as
`bag` (Encoder.begin_with). In SPLIT of the strings, words are cut into shorter pieces than needed, so that pieces are practised too.
A checkpoint is written after each epoch; started again, training continues from it. `--weights` starts from an encoder's weights,
without the optimiser's state (../../checkpoints/text.pt are those of the pack). Measurements: train.jsonl.
"""

import json
import math
import random
import re
import time

import numpy as np
import torch
from torch.nn import functional as F

from common import WIDTH, arguments, held_out, held_synonyms, save_atomically
from encoder import Encoder, batch
from precision import autocast, whole
from tokenizer import Tokenizer, words

RELATION, TEMPERATURE = 0.05, 0.05  # at 0.2 its gradient is four times the cosine's
SPLIT = 0.15
BATCH = 256
REPEATS = {"name": 3, "synonym": 3, "definition": 2}


class Data:
    """Strings with their targets, split into what is learnt and what is kept for measuring."""

    def __init__(self, folder, tokenizer: Tokenizer):
        with np.load(folder / "prompts.npz") as prompts:
            texts, kinds = prompts["texts"].tolist(), prompts["kind"].tolist()
            owners, rows = prompts["owner"], [prompts["embedding"].astype(np.float32)]
        with np.load(folder / "composed.npz") as composed:
            texts += composed["texts"].tolist()
            kinds += [k if k in ("word", "caption", "caption-held-out") else "composed" for k in composed["kind"].tolist()]
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
        print(f"{len(set(self.train))} strings to learn, held out:", {k: len(v) for k, v in self.held.items()}, flush=True)

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
        gram.index_put_((ids[:, None].expand(-1, len(ids)), ids[None, :].expand(len(ids), -1)), torch.tensor(1.0), accumulate=True)
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


def note(options, report: dict) -> None:
    """Prints a measurement and keeps it in train.jsonl."""
    print(json.dumps(report), flush=True)
    with open(options.out / "train.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"run": options.run, **report}) + "\n")


def main() -> None:
    options = arguments(__doc__, epochs=6, run="encoder", rate=4e-4, weights="")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = Tokenizer.read(options.out / "tokenizer.txt")
    data = Data(options.out, tokenizer)
    checkpoint = options.out / f"{options.run}.pt"

    model = Encoder(len(tokenizer.lines)).to(device)
    average = Encoder(len(tokenizer.lines)).to(device)  # exponential average of the weights: what is measured and kept
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1]
    plain = [p for n, p in model.named_parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}], lr=options.rate, betas=(0.9, 0.98)
    )
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        start = state["epoch"]
        print(f"continuing after epoch {start}", flush=True)
    elif options.weights:
        state = whole(torch.load(options.weights, map_location=device, weights_only=True))
        model.load_state_dict(state)
        average.load_state_dict(state)
    else:
        bag = ridge(data, len(tokenizer.lines))
        mean_of = lambda ids: F.normalize(torch.stack([bag[i].sum(0) for i in ids]), dim=1)  # noqa: E731
        note(options, {"bag": measure(data, mean_of)})
        model.begin_with(bag)
        average.load_state_dict(model.state_dict())

    steps = -(-len(data.train) // BATCH)
    total = steps * options.epochs
    for epoch in range(start, options.epochs):
        began, losses = time.time(), []
        model.train()
        for step, group in enumerate(data.batches(epoch)):
            now = epoch * steps + step
            rate = options.rate * min(1.0, (now + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, now / total))) + 1e-5
            for parameters in optimiser.param_groups:
                parameters["lr"] = rate
            ids, lengths = batch([ids for _, ids in group])
            target = data.rows[[i for i, _ in group]].to(device)
            with autocast(device):
                student = model(ids.to(device), lengths.to(device))
            student = student.float()
            cosine = (student * target).sum(1)
            wanted = F.softmax(target @ target.T / TEMPERATURE, dim=1)
            relation = F.cross_entropy(student @ target.T / TEMPERATURE, wanted)
            loss = (1 - cosine).mean() + RELATION * relation
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            keep = min(0.998, (now + 1) / (now + 20))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)
            losses.append(cosine.mean().item())
            if step % 100 == 0:
                print(f"epoch {epoch + 1} step {step}/{steps} cosine {np.mean(losses[-100:]):.4f} {time.time() - began:.0f} s", flush=True)
        average.eval()
        with torch.no_grad():
            report = measure(data, lambda ids: average(*(x.to(device) for x in batch(ids, full=True))).cpu())
        report = {"epoch": epoch + 1, "train cosine": round(float(np.mean(losses)), 4), **report, "seconds": round(time.time() - began)}
        note(options, report)
        state = {"model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1}
        save_atomically(checkpoint, lambda file: torch.save(state, file))


if __name__ == "__main__":
    main()
