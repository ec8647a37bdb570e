"""Trains the student on the photos, with the dense teachers' answers.

    python -m tarsier_recipe pool --pictures 20000  # first, on a CPU: drawn pictures and the answers
    # run again to go on after an interruption
    torchrun --nproc-per-node 2 -m tarsier_recipe.detector.train --threads 1 --hours 1.5
    python -m tarsier_recipe train --device cuda --hours 0.4  # a GPU draws and asks the teachers itself

A student with a trained trunk (MODEL=lite) starts from `transplant`: first the trunk stands still (--frozen 16), then
it is trained from the top down (--frozen 3), at --trunk of the learning rate.

The schedule runs on training time, not on steps, because the budget is time: warm-up, a constant phase on small
pictures (--sizes), then a linear decay to zero on pictures of nearly the final size (--last-sizes) from --decay on. The
learning rate grows with the root of the batch unless --lr says it.

Labels of the teachers' names are learnt in a share of the pictures (--labelled), and some pictures are two photos
blended (on a CPU `pool` says how many, on a GPU --blend): few photos are otherwise learnt by heart. --results: boxes of
other teachers, as labels. --hint: what a teacher's neck sees is a target for the student's.

Besides names, synonyms and definitions, sentences about them are asked for, and in every step a bank of other names and
of captions (`bank`), for which `sentences` has to have run.

Writes build/detector/checkpoint.pt (to go on from), stable.pt (the checkpoint before the decay: put it in the place
of checkpoint.pt and raise --hours to train on), latest.pt and at the end final.pt (averaged weights), log.csv and
its plot log.png.
"""

import os
import random
import shutil
import time
from pathlib import Path

import torch
import torch.distributed as dist

from tarsier_recipe import options
from tarsier_recipe.coco import COCO80
from tarsier_recipe.detector.bank import EmbeddingBank
from tarsier_recipe.detector.cuda_graph import Graphed
from tarsier_recipe.detector.data import PhotoStore, Split, training
from tarsier_recipe.detector.drawing import Album, Plans
from tarsier_recipe.detector.hints import Hints
from tarsier_recipe.detector.loss import asked_names, detection_loss
from tarsier_recipe.detector.mixing import blended, kept, mix
from tarsier_recipe.detector.optimiser import Muon
from tarsier_recipe.detector.pool import Pool
from tarsier_recipe.detector.prompts import PromptBank
from tarsier_recipe.detector.student import STRIDES, Student
from tarsier_recipe.detector.teacher import SIZE, both, neck, together
from tarsier_recipe.precision import autocast, whole
from tarsier_recipe.training import Average, Trainer, constant_then_linear, save

LOSSES = ("score", "bank", "object", "giou", "l1", "hint")


def average_over_processes(tensors):
    """Replaces every process's tensors by their mean, in one message."""
    flat = torch.cat([g.flatten() for g in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, part in zip(tensors, flat.split([g.numel() for g in tensors])):
        g.copy_(part.view_as(g))


def parameters(student, only):
    """What is learnt: matrices (for Muon), other convolutions, vectors, and a trained trunk; with `only`, of modules
    whose names begin so."""
    for name, q in student.named_parameters():
        q.requires_grad_(q.requires_grad and ("." not in name or name.startswith(tuple(only))))
    trunk = [q for n, q in student.named_parameters() if q.requires_grad and n.startswith("backbone.lite.")]
    ids = set(map(id, trunk))
    learnt = [(n, q) for n, q in student.named_parameters() if q.requires_grad and id(q) not in ids]
    matrices = [q for n, q in learnt if q.ndim == 4 and "where.1" not in n and "what.2" not in n]
    ids = set(map(id, matrices))
    decayed = [q for _, q in learnt if id(q) not in ids and q.ndim == 4]
    plain = [q for _, q in learnt if id(q) not in ids and q.ndim < 4]
    return matrices, decayed, plain, trunk


def parsed():
    p = options.parser(__doc__, "device", "steps", "seed", "weights", "batch", "lr", hours=1.5)
    p.add_argument("--decay", type=float, default=0.7, help="fraction of the time after which the learning rate falls")
    p.add_argument("--sizes", type=int, nargs="+", default=[224, 256], help="picture sizes before that")
    p.add_argument("--last-sizes", type=int, nargs="+", default=[288, 320], help="picture sizes from then on")
    p.add_argument(
        "--mosaic",
        type=float,
        nargs=2,
        default=[0.25, 0.15],
        help="share of mosaics before that and from then on, on a GPU",
    )
    p.add_argument(
        "--blend", type=float, nargs=2, default=[0.5, 0.25], help="share of blended pictures, likewise, on a GPU"
    )
    p.add_argument(
        "--frozen",
        type=int,
        default=0,
        help="blocks of a trained trunk, from the picture on, that stay as they are (16: all)",
    )
    p.add_argument("--trunk", type=float, default=0.1, help="learning rate of a trained trunk, of the others'")
    p.add_argument(
        "--labelled",
        type=float,
        nargs=2,
        help="share of the other ones whose labels of the teacher's names are learnt: by default 0, with --results 1",
    )
    p.add_argument(
        "--bank",
        type=int,
        nargs=2,
        default=[256, 32],
        help="names of the vocabulary that nothing labels, and captions, asked for in each step",
    )
    p.add_argument(
        "--hint",
        type=float,
        default=0.0,
        help="weight of the teacher's features as a target for the student's (`hints`); 0: they are no target",
    )
    p.add_argument(
        "--only",
        nargs="+",
        default=[""],
        help="train these modules only (head.what), with the scale and bias of alignment",
    )
    p.add_argument(
        "--workers", type=int, help="processes that make pictures: by default 1 for a CPU, all cores but two for GPUs"
    )
    p.add_argument(
        "--stuff-regions", action="store_true", help="learn each isolated region of a stuff mask as an object"
    )
    p.add_argument(
        "--results",
        type=Path,
        nargs="*",
        default=[],
        help="COCO-results JSON of other teachers on the photos of the split",
    )
    return options.parse(p)


def main():
    a = parsed()
    processes, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    device, gpu = torch.device(a.device), torch.device(a.device).type == "cuda"
    if gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 5  # few picture sizes
        torch.set_float32_matmul_precision("high")
    if processes > 1:
        dist.init_process_group("nccl" if gpu else "gloo")
    a.labelled = a.labelled or [1.0 if a.results else 0.0] * 2
    a.batch = a.batch or (128 if gpu else 8)
    a.lr = a.lr or min(4e-3, 1.5e-3 * max(1.0, a.batch * processes / 16) ** 0.5)
    own_cores = (len(os.sched_getaffinity(0)) - 2) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = a.workers or (max(1, own_cores) if gpu else 1)
    torch.manual_seed(a.seed)
    out = a.build.detector

    split = Split(training(a.shared), COCO80, a.results, a.stuff_regions)
    sentences = a.build.sentences
    if not sentences.exists():
        rank or print(f"no {sentences}: neither sentences nor captions are asked for", flush=True)
        sentences = None
    prompts = PromptBank(a.build.prompts, split.names, sentences)
    bank = EmbeddingBank(prompts, split.images, sentences)
    student = Student().to(device, memory_format=torch.channels_last)
    if a.weights:
        student.load_state_dict(whole(torch.load(a.weights, weights_only=True, map_location=device)))
    # the mean of some 32,000 pictures; of fewer where there have been fewer
    average = Average(student, longest=0.998 ** (a.batch * processes / 64), start=10)
    matrices, decayed, plain, trunk = parameters(student, a.only)
    hints, hinting = Hints().to(device), neck(a.shared / "teachers", device) if a.hint else None
    adapting = list(hints.parameters()) if a.hint else []
    reduced = True  # whether the network is computed in bfloat16, where the device has it
    if trunk:
        student.backbone.lite.frozen = average.network.backbone.lite.frozen = a.frozen
        reduced = gpu or student.backbone.lite.choose()
    recorded = gpu and processes == 1
    clock = torch.zeros(1, device=device)
    rate, trunk_rate = (
        torch.tensor(a.lr, device=device),
        torch.tensor(a.lr * a.trunk, device=device),
    )  # where a recorded step finds them
    groups = [
        {"params": decayed, "weight_decay": 0.05, "lr": rate},
        {"params": plain, "weight_decay": 0.0, "lr": rate},
        {"params": adapting, "weight_decay": 0.0, "lr": rate},
        {"params": trunk, "weight_decay": 0.0, "lr": trunk_rate},
    ]
    optimisers = [
        Muon(matrices, lr=rate, weight_decay=0.05),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=gpu, capturable=recorded),
    ]
    trainer = Trainer(
        {"student": student, "average": average.network, "hints": hints, "optimisers": optimisers},
        a.build.checkpoint,
        schedule=constant_then_linear(a.decay),
        rate=a.lr,
        budget=a.hours * 3600,
        by="spent",
        every=30,
        limit=a.steps,
        table=out / "log.csv",
        keep=True,
        quiet=rank > 0,
    )
    trainer.resume()
    for o in optimisers:
        for group, lr in zip(o.param_groups, (rate, rate, rate, trunk_rate)):
            group["lr"] = lr
    rng = random.Random(a.seed + trainer.step + 7919 * rank)  # of the prompts asked for
    mixing = torch.Generator().manual_seed(a.seed + 7919 * trainer.step + rank)
    if gpu:
        album = Album(PhotoStore(split, a.shared / "data/images", a.build.photos)).load(device)
        teachers = both(a.shared / "teachers", device)
    sums = torch.zeros(len(LOSSES), device=device)
    trainer.say(
        f"{processes} x {device}, {a.batch} pictures a step each, lr {a.lr:.2e}, {workers} workers, "
        f"{len(split.names)} names"
    )

    def learn(rgb, answers, asked, labels, listed, rows, near, told, weight, labelled, seams):
        """One step on a batch; its losses are added to `sums`."""
        labels, listed = kept(labels, listed, weight, labelled)
        x = rgb.float().div(255).contiguous(memory_format=torch.channels_last)
        with autocast(device, reduced):
            features = student.backbone(x)
            outputs = student.head(features)
        losses = detection_loss(
            outputs, asked, student, STRIDES, rgb.shape[-1], answers, labels, listed, seams, (rows, near, told)
        )
        losses["hint"] = a.hint * hints(features, hinting(rgb)) if a.hint else sums.new_zeros(())
        for o in optimisers:
            o.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        if processes > 1:
            clock.fill_(trainer.elapsed())  # the schedule must be the same everywhere
            learnt = matrices + decayed + plain + adapting + trunk
            average_over_processes([q.grad for q in learnt if q.grad is not None] + [clock])
        torch.nn.utils.clip_grad_norm_(plain + decayed, 10.0)
        if trunk:
            torch.nn.utils.clip_grad_norm_(trunk, 10.0)
        for o in optimisers:
            o.step()
        sums.add_(torch.stack([losses[k].detach() for k in LOSSES]))

    def draw_and_learn(
        size, source, sampling, colour, seams, asked, labels, listed, rows, near, told, weight, labelled
    ):
        """The same on a GPU, which draws the pictures as the teachers see them first."""
        large = blended(album.draw(SIZE, source, sampling, colour, seams), weight)
        small = torch.nn.functional.interpolate(large.float(), size=(size, size), mode="bilinear", antialias=True)
        labels = torch.cat([labels[..., :4] * (size / SIZE), labels[..., 4:]], -1)
        answers = together(teachers, large, size)
        learn(
            small.round().to(torch.uint8),
            answers,
            asked,
            labels,
            listed,
            rows,
            near,
            told,
            weight,
            labelled,
            seams * (size / SIZE),
        )

    def on_device(size, *rest):
        draw_and_learn(size, *(t.to(device, non_blocking=True) for t in rest))

    play = Graphed(draw_and_learn) if recorded else on_device

    def totals():
        values = dict(zip(LOSSES, sums.tolist()))
        sums.zero_()
        return values

    def keep(file="latest.pt"):
        if rank == 0:
            trainer.save()
            save(out / file, {k: v.cpu() for k, v in average.network.state_dict().items()})

    drawn = batches = None
    trainer.start()
    while not trainer.over_budget():
        last = trainer.spent / trainer.budget >= a.decay
        if last and drawn is False:
            keep()
            rank or shutil.copy(a.build.checkpoint, out / "stable.pt")
        if last is not drawn:
            drawn, seed = last, a.seed + trainer.step
            more = a.last_sizes if last else a.sizes
            if gpu:
                sizes = random.Random(seed)
                pictures = Plans(album, split, a.batch, (SIZE,), a.mosaic[last], seed + 1, rank)
            else:
                pictures = Pool(a.build.pool, a.batch, more, seed + 1, rank)
            batches = iter(
                torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=workers, prefetch_factor=4)
            )
        rate.fill_(trainer.rate_now())
        trunk_rate.copy_(rate * a.trunk)
        if gpu:
            _, source, sampling, colour, seams, labels, photos = next(batches)
            mixed = mix(a.batch, a.blend[last], a.labelled[last], mixing)
            beside = bank.draw(*a.bank, photos, seams, SIZE, mixed[0], rng)
            asked, listed = prompts.sample(rng), split.exhaustive[photos]
            play(sizes.choice(more), source, sampling, colour, seams, asked, labels, listed, *beside, *mixed)
        else:
            rgb, scores, boxes, labels, photos, seams, weight = next(batches)
            labelled = (torch.rand(a.batch, generator=mixing) < a.labelled[last]) & (weight == 1)
            asked, labels, listed = asked_names(labels, photos, split.exhaustive)
            rows, near, told = bank.draw(*a.bank, photos, seams, rgb.shape[-1], weight, rng)
            learn(
                rgb,
                (scores, boxes),
                prompts.sample(rng)[asked],
                labels,
                listed,
                rows,
                near[asked],
                told,
                weight,
                labelled,
                seams,
            )
        average.update(trainer.step)
        trainer.done(a.batch * processes, clock.item() if processes > 1 else None, totals)
        if time.time() - trainer.saved_at > (120 if gpu else 300):
            keep()
    keep("final.pt")
    trainer.finish()
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
