"""What a GPU does differently must come out the same: pictures drawn there, the loss as one kernel, a step that never waits.

    python -m pytest detector
"""

import json
import random
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).resolve().parent))
import loss  # noqa: E402
from data import Pictures, PhotoStore, Split  # noqa: E402
from drawing import MOST_LABELS, Album, Plans  # noqa: E402
from optimiser import Muon  # noqa: E402
from prompts import PromptBank  # noqa: E402
from student import STRIDES, Student  # noqa: E402

NAMES = [f"name {n}" for n in range(80)]


@pytest.fixture
def photos(tmp_path):
    """A split of twelve smooth photos with a box for each name, and its store."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(12):
        h, w = (int(v) for v in rng.integers(120, 420, 2))
        smooth = cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (w, h), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{i}.png"), smooth)
        images.append({"id": i, "file_name": f"{i}.png", "width": w, "height": h, "source": "coco", "exhaustive_categories": NAMES[: i + 1]})
        annotations += [{"image_id": i, "category_id": k, "bbox": [k, k, w / 2, h / 3], "isthing": True} for k in range(i + 1)]
    categories = [{"id": n, "name": name, "isthing": True, "coco80": True} for n, name in enumerate(NAMES)]
    (tmp_path / "split.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    split = Split(tmp_path / "split.json", NAMES)
    return split, PhotoStore(split, tmp_path, tmp_path / "photos")


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_a_plan_is_drawn_as_opencv_draws_it(photos, mosaic):
    split, store = photos
    album = Album(store).load("cpu")
    size, *plan, boxes, source = next(iter(Plans(album, split, 8, [256], mosaic, 0)))
    seams = plan[3]
    rgb, same_boxes, same_source, same_seams = next(iter(Pictures(split, store, 8, [256], mosaic, 0)))
    assert torch.equal(source, same_source) and torch.equal(seams, same_seams)
    count = same_boxes.shape[1]
    assert 0 < count <= MOST_LABELS and torch.equal(boxes[:, :count], same_boxes) and not boxes[:, count:].any()
    off = (album.draw(size, *plan).int() - rgb.int()).abs().float()
    assert off.mean() < 1 and (off > 8).float().mean() < 0.02  # edges of photos fall on one side or the other


def test_a_name_of_the_bank_is_absent_but_where_a_near_name_is():
    student, embedding = Student(), torch.ones(1, 3, 128, requires_grad=True)
    rows, near = torch.eye(2, 128), torch.tensor([[True, False], [False, False]])
    target = torch.tensor([[[0.9, 0.1], [0.1, 0.9], [0.05, 0.01]]])  # the first name, the second, nothing
    loss.absent(embedding, student, rows, near, target, target.max(-1).values).backward()
    pulled = embedding.grad[..., :2] > 0  # away from which of the two rows each location is pushed
    assert pulled.tolist() == [[[False, True], [True, True], [True, True]]]


def test_the_bank_has_only_names_that_the_data_lacks(tmp_path):
    rows = np.eye(6, 128, dtype=np.float16)
    rows[3, 0] = rows[4, 1] = 1  # a synonym of the stranger is like the first name, and like the second
    np.savez(tmp_path / "prompts.npz", texts=np.array(["cat", "dog", "hound", "stranger", "alien", "a phrase"]), embedding=rows,
             kind=np.array(["name", "name", "synonym", "name", "synonym", "phrase"]), owner=np.array([0, 1, 1, 2, 2, -1]))
    bank = PromptBank(tmp_path / "prompts.npz", ["cat", "dog"])
    assert [bank.texts[i] for i in bank.others] == ["stranger", "alien"]
    given, near = bank.negatives(2, random.Random(0))
    assert near.tolist() == [[bool(r[0] > 0) for r in given], [bool(r[1] > 0) for r in given]] and near.any(0).all()


def test_the_fused_focal_loss_is_the_plain_one():
    torch.manual_seed(0)
    logit, target = 3 * torch.randn(2, 70, 90), torch.rand(2, 70, 90)
    for weight in (torch.rand(2, 70, 90) > 0.3, None):
        value, slope = loss.focal_terms(logit.clone(), target, weight)
        fused_value, fused_slope = loss.fused_focal_terms()(logit, target, weight)
        torch.testing.assert_close(fused_value, value)
        torch.testing.assert_close(fused_slope, slope, atol=1e-6, rtol=1e-5)
        x = logit.double().requires_grad_()
        p = x.sigmoid()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(x, target.double(), reduction="none")
        ((p - target) ** 2 * entropy * (1 if weight is None else weight)).sum().backward()
        torch.testing.assert_close(slope.double(), x.grad, atol=1e-5, rtol=1e-4)


def test_a_step_never_waits_for_its_own_results():
    """Tensors without values: whatever asks for one, raises."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        student, batch = Student(), 2
        cells = sum((256 // s) ** 2 for s in STRIDES)
        answers = torch.rand(batch, cells, 80), torch.rand(batch, cells, 4)
        listed = torch.zeros(batch, 4, 90, dtype=torch.bool)
        outputs = student(torch.rand(batch, 3, 256, 256))
        losses = loss.detection_loss(outputs, torch.rand(90, 128), student, STRIDES, 256, answers, torch.rand(batch, 7, 6), listed, torch.full((batch, 2), 256))
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 10.0)
        Muon([p for p in student.parameters() if p.ndim == 4], lr=torch.tensor(1e-3), weight_decay=0.05).step()


def test_a_label_beyond_the_teachers_names_counts_only_where_it_is_known():
    student = Student().eval()
    with torch.no_grad():
        outputs = student(torch.rand(1, 3, 256, 256))
    cells = sum((256 // s) ** 2 for s in STRIDES)
    answers = torch.zeros(1, cells, 80), torch.rand(1, cells, 4)
    rows = torch.nn.functional.normalize(torch.randn(90, 128), dim=1)
    labels = torch.tensor([[[60.0, 60.0, 180.0, 180.0, 85.0, 1.0]]])
    exhaustive = torch.zeros(3, 90, dtype=torch.bool)
    exhaustive[1, 88] = True
    asked, mine, listed = loss.asked_names(labels, torch.tensor([[1, 1, 1, 1]]), exhaustive)
    assert asked.tolist() == [*range(80), 85, 88] and mine[0, 0, 4] == 80 and listed[0, 0].nonzero().tolist() == [[81]]
    few = loss.detection_loss(outputs, rows[asked], student, STRIDES, 256, answers, mine, listed, torch.tensor([[256, 256]]))
    all_names = loss.detection_loss(outputs, rows, student, STRIDES, 256, answers, labels, exhaustive[torch.tensor([[1, 1, 1, 1]])], torch.tensor([[256, 256]]))
    for name in few:
        torch.testing.assert_close(few[name], all_names[name])
