"""Trains the student on the photos, with the dense teachers' answers.

    python pool.py --pictures 20000                                            # first, on a CPU: drawn pictures and the answers, kept on disk
    torchrun --nproc-per-node 2 train.py --threads 1 --hours 1.5               # run again to continue after an interruption
    python train.py --device cuda --hours 0.4 --compile ...                    # a GPU draws and asks the teachers itself

A student with a trained trunk (MODEL=lite) starts from `transplant.py`; first the trunk stands still (--frozen 16: no gradient is needed there, a third of the
time), then it is trained from the top down (--frozen 3), at --trunk of the learning rate.

The schedule runs on training time, not on steps, because the budget is time: warm-up, a constant phase on small pictures (--sizes), then
a linear decay to zero on pictures of nearly the final size (--last-sizes) from --decay on. Small steps learn more per picture: 16 pictures at a learning rate of
1.5e-3 brought the validation score loss from 0.1239 to 0.1116 in 16,000 pictures, 64 at 3e-3 to 0.1137. A GPU needs large ones; there the learning rate grows with
the root of the batch unless --lr says it.

With few photos the labels of the teachers' names are not learnt (--labelled), and some pictures are two photos blended (on a CPU pool.py says how many, on a GPU
--blend): these labels made a student learn 6,600 photos by heart. With photos by the hundred thousand, labels know more than the teachers: --labelled 1 1; so do
boxes of a better one (--results).

A GPU is kept busy by drawing the pictures on it (drawing.py) and a single one by recording the step (graph.py).

Besides names, synonyms and definitions, sentences about them are asked for, and in every step a bank of other names and of captions (bank.py), for
which sentences.py has to have run.

Writes build/detector/checkpoint.pt (resumable), stable.pt (the checkpoint before the decay: put it in the place of checkpoint.pt and raise
--hours to train on), latest.pt and at the end final.pt (averaged weights), log.csv and its plot log.png.
"""

import argparse
import copy
import math
import os
import random
import shutil
import time
from pathlib import Path

import torch
import torch.distributed as dist

from bank import EmbeddingBank
from data import PhotoStore, Split, training
from drawing import Album, Plans
from graph import Graphed
from loss import asked_names, detection_loss
from mixing import blended, kept, mix
from optimiser import Muon
from pool import Pool
from precision import autocast, whole
from prompts import PromptBank
from runlog import RunLog
from student import STRIDES, Student
from teacher import COCO80, SIZE, both, together

HERE = Path(__file__).resolve().parent
LOSSES = ("score", "bank", "object", "giou", "l1")


def schedule(progress, decay):
    """Learning-rate factor at a fraction of the budget; `decay` is the fraction at which it starts to fall."""
    return min(1.0, progress / 0.01 + 0.02) * min(1.0, (1 - progress) / (1 - decay) + 1e-3)


def average_over_processes(tensors):
    """Replaces every process's tensors by their mean, in one message."""
    flat = torch.cat([g.flatten() for g in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, part in zip(tensors, flat.split([g.numel() for g in tensors])):
        g.copy_(part.view_as(g))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shared", default=HERE.parents[3] / "shared", type=Path, help="folder with data/ and teachers/")
    p.add_argument("--build", default=HERE.parents[1] / "build", type=Path)
    p.add_argument("--hours", type=float, default=1.5, help="training time in all, over interruptions")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--batch", type=int, help="pictures per step and process: by default 8 on a CPU, 128 on a GPU")
    p.add_argument("--lr", type=float, help="by default 1.5e-3, times the root of what a step has in pictures beyond 16, at most 4e-3")
    p.add_argument("--decay", type=float, default=0.7, help="fraction of the time after which the learning rate falls")
    p.add_argument("--sizes", type=int, nargs="+", default=[224, 256], help="picture sizes before that")
    p.add_argument("--last-sizes", type=int, nargs="+", default=[288, 320], help="picture sizes from then on")
    p.add_argument("--mosaic", type=float, nargs=2, default=[0.25, 0.15], help="share of mosaics before that and from then on")
    p.add_argument("--blend", type=float, nargs=2, default=[0.5, 0.25], help="on a GPU: share of pictures that are two blended, before that and from then on")
    p.add_argument("--frozen", type=int, default=0, help="blocks of a trained trunk, from the picture on, that stay as they are (16: all)")
    p.add_argument("--trunk", type=float, default=0.1, help="learning rate of a trained trunk, of the others'")
    p.add_argument("--labelled", type=float, nargs=2, help="share of the other ones whose labels of the teacher's names are learnt: by default 0, with --results 1")
    p.add_argument("--steps", type=int, default=10**9, help="stop after so many steps, for trials")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--weights", type=Path, help="start from these weights (any precision) instead of random ones")
    p.add_argument("--bank", type=int, nargs=2, default=[256, 32], help="names of the vocabulary that nothing labels, and captions, asked for in each step")
    p.add_argument("--only", nargs="+", default=[""], help="train these modules only (head.what), with the scale and bias of alignment")
    p.add_argument("--threads", type=int, default=2, help="of PyTorch on the CPU")
    p.add_argument("--workers", type=int, help="processes that make pictures: by default 1 for a CPU, all cores but two for GPUs")
    p.add_argument("--compile", action="store_true", help="torch.compile the student")
    p.add_argument("--eager", action="store_true", help="on one GPU, too, launch every kernel by itself")
    p.add_argument("--stuff-regions", action="store_true", help="learn each isolated region of a stuff mask as an object")
    p.add_argument("--results", type=Path, nargs="*", default=[], help="COCO-results JSON of other teachers on the photos of the split")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
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
    workers = a.workers or (max(1, (len(os.sched_getaffinity(0)) - 2) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))) if gpu else 1)
    torch.manual_seed(a.seed)
    out = a.build / "detector"
    out.mkdir(parents=True, exist_ok=True)

    split = Split(training(a.shared), COCO80, a.results, a.stuff_regions)
    sentences = a.build / "text/sentences.npz"
    if not sentences.exists():
        rank or print(f"no {sentences}: neither sentences nor captions are asked for", flush=True)
        sentences = None
    prompts = PromptBank(a.build / "text/prompts.npz", split.names, sentences)
    bank = EmbeddingBank(prompts, split.images, sentences)
    student = Student().to(device, memory_format=torch.channels_last)
    if a.weights:
        student.load_state_dict(whole(torch.load(a.weights, weights_only=True, map_location=device)))
    average = copy.deepcopy(student)
    longest = 0.998 ** (a.batch * processes / 64)  # the mean of some 32,000 pictures; of fewer where there have been fewer
    tensors = [[t for t in m.state_dict().values() if t.is_floating_point()] for m in (average, student)]
    for name, q in student.named_parameters():
        q.requires_grad_(q.requires_grad and ("." not in name or name.startswith(tuple(a.only))))
    trunk = [q for n, q in student.named_parameters() if q.requires_grad and n.startswith("backbone.lite.")]
    ids = set(map(id, trunk))
    learnt = [(n, q) for n, q in student.named_parameters() if q.requires_grad and id(q) not in ids]
    matrices = [q for n, q in learnt if q.ndim == 4 and "where.1" not in n and "what.2" not in n]
    ids = set(map(id, matrices))
    decay = [q for _, q in learnt if id(q) not in ids and q.ndim == 4]
    plain = [q for _, q in learnt if id(q) not in ids and q.ndim < 4]
    if trunk:
        student.backbone.lite.frozen = average.backbone.lite.frozen = a.frozen
        if not gpu:
            student.backbone.lite.write_out()
    recorded = gpu and processes == 1 and not a.eager
    clock = torch.zeros(1, device=device)
    rate, trunk_rate = torch.tensor(a.lr, device=device), torch.tensor(a.lr * a.trunk, device=device)  # where a recorded step finds them
    groups = [{"params": decay, "weight_decay": 0.05, "lr": rate}, {"params": plain, "weight_decay": 0.0, "lr": rate}, {"params": trunk, "weight_decay": 0.0, "lr": trunk_rate}]
    optimisers = [Muon(matrices, lr=rate, weight_decay=0.05), torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=gpu, capturable=recorded)]
    spent, step, seen = 0.0, 0, 0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        c = torch.load(checkpoint, weights_only=True, map_location=device)
        student.load_state_dict(c["student"])
        average.load_state_dict(c["average"])
        for o, s in zip(optimisers, c["optimisers"]):
            o.load_state_dict(s)
            for g, lr in zip(o.param_groups, (rate, rate, trunk_rate)):
                g["lr"] = lr
        spent, step, seen = c["spent"], c["step"], c["seen"]
        rank or print(f"continuing at step {step}, {seen} pictures, {spent / 3600:.2f} h", flush=True)
    rng = random.Random(a.seed + step + 7919 * rank)  # of the prompts asked for
    mixing = torch.Generator().manual_seed(a.seed + 7919 * step + rank)
    budget, drawn, batches = a.hours * 3600, None, None
    log = None if rank else RunLog(out / "log.csv", LOSSES)
    forward = torch.compile(student, dynamic=False) if a.compile else student
    if gpu:
        album = Album(PhotoStore(split, a.shared / "data/images", out / "photos")).load(device)
        teachers = both(a.shared / "teachers", device)
    sums, steps, last_print, last_save = torch.zeros(len(LOSSES), device=device), 0, time.time(), time.time()
    rank or print(f"{processes} x {device}, {a.batch} pictures a step each, lr {a.lr:.2e}, {workers} workers, {len(split.names)} names", flush=True)

    def learn(rgb, answers, asked, labels, listed, rows, near, told, weight, labelled, seams):
        """One step on a batch; its losses are added to `sums`."""
        labels, listed = kept(labels, listed, weight, labelled)
        x = rgb.float().div(255).contiguous(memory_format=torch.channels_last)
        with autocast(device, gpu or not trunk):  # a trunk that is written out is faster in fp32
            outputs = forward(x)
        losses = detection_loss(outputs, asked, student, STRIDES, rgb.shape[-1], answers, labels, listed, seams, (rows, near, told))
        for o in optimisers:
            o.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        if processes > 1:
            clock.fill_(elapsed())  # the schedule must be the same everywhere
            average_over_processes([q.grad for q in matrices + decay + plain + trunk if q.grad is not None] + [clock])
        torch.nn.utils.clip_grad_norm_(plain + decay, 10.0)
        if trunk:
            torch.nn.utils.clip_grad_norm_(trunk, 10.0)
        for o in optimisers:
            o.step()
        torch._foreach_lerp_(*tensors, 1 - min(longest, (1 + step) / (10 + step)))
        sums.add_(torch.stack([losses[k].detach() for k in LOSSES]))

    def draw_and_learn(size, source, sampling, colour, seams, asked, labels, listed, rows, near, told, weight, labelled):
        """The same on a GPU, which draws the pictures as the teachers see them first."""
        large = blended(album.draw(SIZE, source, sampling, colour, seams), weight)
        small = torch.nn.functional.interpolate(large.float(), size=(size, size), mode="bilinear", antialias=True).round().to(torch.uint8)
        labels = torch.cat([labels[..., :4] * (size / SIZE), labels[..., 4:]], -1)
        learn(small, together(teachers, large, size), asked, labels, listed, rows, near, told, weight, labelled, seams * (size / SIZE))

    play = Graphed(draw_and_learn) if recorded else lambda size, *rest: draw_and_learn(size, *(t.to(device, non_blocking=True) for t in rest))

    def elapsed():
        """Training time until now; a process that was stopped for a while has not trained meanwhile."""
        return spent + min(time.time() - began, 20.0)

    def save(final=False):
        if rank:
            return
        torch.save({"student": student.state_dict(), "average": average.state_dict(), "optimisers": [o.state_dict() for o in optimisers],
                    "spent": spent, "step": step, "seen": seen}, out / "checkpoint.tmp")
        (out / "checkpoint.tmp").replace(checkpoint)
        torch.save({k: v.cpu() for k, v in average.state_dict().items()}, out / ("final.pt" if final else "latest.pt"))
        log.plot()

    began = time.time()
    while spent < budget and step < a.steps:
        progress = spent / budget
        last = progress >= a.decay
        if last and drawn is False:
            save()
            rank or shutil.copy(checkpoint, out / "stable.pt")
        if last is not drawn:
            drawn = last
            more = a.last_sizes if last else a.sizes
            if gpu:
                sizes = random.Random(a.seed + step)
                pictures = Plans(album, split, a.batch, (SIZE,), a.mosaic[last], a.seed + step + 1, rank)
            else:
                pictures = Pool(a.build / "pool", a.batch, more, a.seed + step + 1, rank)
            batches = iter(torch.utils.data.DataLoader(pictures, batch_size=None, num_workers=workers, prefetch_factor=4))
        rate.fill_(a.lr * schedule(progress, a.decay))
        trunk_rate.copy_(rate * a.trunk)
        if gpu:
            _, source, sampling, colour, seams, labels, photos = next(batches)
            mixed = mix(a.batch, a.blend[last], a.labelled[last], mixing)
            beside = bank.draw(*a.bank, photos, seams, SIZE, mixed[0], rng)
            play(sizes.choice(more), source, sampling, colour, seams, prompts.sample(rng), labels, split.exhaustive[photos], *beside, *mixed)
        else:
            rgb, scores, boxes, labels, photos, seams, weight = next(batches)
            labelled = (torch.rand(a.batch, generator=mixing) < a.labelled[last]) & (weight == 1)
            asked, labels, listed = asked_names(labels, photos, split.exhaustive)
            rows, near, told = bank.draw(*a.bank, photos, seams, rgb.shape[-1], weight, rng)
            learn(rgb, (scores, boxes), prompts.sample(rng)[asked], labels, listed, rows, near[asked], told, weight, labelled, seams)
        spent, began = clock.item() if processes > 1 else elapsed(), time.time()
        step, seen = step + 1, seen + a.batch * processes
        steps += 1
        if rank == 0 and time.time() - last_print > 30:
            mean = dict(zip(LOSSES, (sums / steps).tolist()))
            pace = steps * a.batch * processes / (time.time() - last_print)
            print(f"{spent / 3600:.3f}/{a.hours} h  step {step}  {seen} pictures  {pace:.0f}/s  " + "  ".join(f"{k} {v:.3f}" for k, v in mean.items()), flush=True)
            log.add(spent, step, seen, mean)
            if not all(map(math.isfinite, mean.values())):
                raise SystemExit("the losses are no longer numbers: a lower --lr may help; the last checkpoint is from before")
            steps, last_print = 0, time.time()
            sums.zero_()
        if time.time() - last_save > (120 if gpu else 300):
            save()
            last_save = time.time()
    save(final=True)
    rank or print(f"done: {step} steps, {seen} pictures", flush=True)
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
