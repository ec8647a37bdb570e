"""What is learnt from: prompts, the bank, blended pictures, labels. What a GPU does differently must come out the
same: pictures drawn there, the loss as one kernel, a step that never waits.
"""

import json
import random

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tarsier_recipe.detector import loss
from tarsier_recipe.detector.bank import ABSENT, SOMEWHERE, UNKNOWN, EmbeddingBank
from tarsier_recipe.detector.data import PhotoStore, Pictures, Split
from tarsier_recipe.detector.drawing import MOST_LABELS, Album, Plans
from tarsier_recipe.detector.mixing import blended, kept, mix
from tarsier_recipe.detector.optimiser import Muon
from tarsier_recipe.detector.prompts import PromptBank
from tarsier_recipe.detector.student import STRIDES, Student

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
        images.append(
            {
                "id": i,
                "file_name": f"{i}.png",
                "width": w,
                "height": h,
                "source": "coco",
                "exhaustive_categories": NAMES[: i + 1],
            }
        )
        annotations += [
            {"image_id": i, "category_id": k, "bbox": [k, k, w / 2, h / 3], "isthing": True} for k in range(i + 1)
        ]
    categories = [{"id": n, "name": name, "isthing": True, "coco80": True} for n, name in enumerate(NAMES)]
    (tmp_path / "split.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
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


def test_a_row_of_the_bank_is_absent_or_somewhere_or_nobody_knows():
    student, embedding = Student(), torch.zeros(1, 3, 128)
    embedding[0, 1, 2] = 0.1
    embedding.requires_grad_()
    rows, near = torch.eye(4, 128), torch.tensor([[True, False, False, False], [False] * 4])
    target = torch.tensor([[[0.9, 0.1], [0.1, 0.9], [0.05, 0.01]]])  # the first name, the second, nothing
    told = torch.tensor([[ABSENT, ABSENT, SOMEWHERE, UNKNOWN]])
    loss.bank_loss(embedding, student, rows, near, told, target, target.max(-1).values).backward()
    pulled = embedding.grad[0, :, :4].sign()  # 1: away from the row, -1: towards it
    assert pulled.tolist() == [[0, 1, 0, 0], [1, 1, -1, 0], [1, 1, 0, 0]]
    embedding.grad = None
    loss.bank_loss(
        embedding, student, rows, near, told, target / 4, target.max(-1).values / 4
    ).backward()  # no object: nobody knows where
    assert not embedding.grad[..., 2].any()


@pytest.fixture
def bank(tmp_path):
    """Two names of the data, a stranger with a synonym, a sentence about each name, captions of the first and last
    of three photos."""
    rows = np.eye(6, 128, dtype=np.float16)
    rows[3, 0] = rows[4, 1] = 1  # the stranger is like the first name, its synonym like the second
    np.savez(
        tmp_path / "prompts.npz",
        texts=np.array(["cat", "dog", "hound", "stranger", "alien", "a phrase"]),
        embedding=rows,
        kind=np.array(["name", "name", "synonym", "name", "synonym", "phrase"]),
        owner=np.array([0, 1, 1, 2, 2, -1]),
    )
    captions = ["An alien at the window", "A stranger", "Nobody"]
    np.savez(
        tmp_path / "sentences.npz",
        texts=np.array(["the cat", "the dog", *captions]),
        owner=np.array([0, 1, -1, -1, -1]),
        photo=np.array([-1, -1, 0, 2, 2]),
        embedding=np.eye(5, 128, 100, dtype=np.float16),
        things=np.array(["alien", "cat"]),
        names=np.array(["cat", "dog"]),
        files=np.array(["0", "1", "2"]),
    )
    prompts = PromptBank(tmp_path / "prompts.npz", ["cat", "dog"], tmp_path / "sentences.npz")
    return prompts, EmbeddingBank(
        prompts,
        [{"file_name": str(n), "captions": c} for n, c in enumerate((captions[:1], None, captions[1:]))],
        tmp_path / "sentences.npz",
    )


def test_prompts_are_names_synonyms_definitions_and_sentences(bank):
    prompts, _ = bank
    rng = random.Random(0)
    asked = torch.stack([prompts.sample(rng) for _ in range(400)])
    assert set(asked[:, 0].argmax(1).tolist()) == {0, 100} and set(asked[:, 1].argmax(1).tolist()) == {1, 2, 101}


def test_what_captions_of_the_batch_mention_is_asked_for_first(bank, monkeypatch):
    _, bank = bank
    monkeypatch.setattr("tarsier_recipe.detector.bank.MENTIONED", 1.0)
    for seed in range(8):
        rows, _, told = bank.draw(
            1, 0, torch.tensor([[0] * 4]), torch.tensor([[320, 320]]), 320, torch.ones(1), random.Random(seed)
        )
        assert rows[0, 4] and told.tolist() == [[SOMEWHERE]]


def test_words_of_the_datas_names_are_not_taught_to_be_absent(tmp_path):
    texts = ["dog", "puppy", "puppy", "terrier", "a small dog", "racket", "hot dog"]
    kinds, owners = ["name", "synonym", "name", "name", "definition", "name", "name"], [0, 0, 1, 2, 2, 3, 4]
    np.savez(
        tmp_path / "prompts.npz",
        texts=np.array(texts),
        embedding=np.eye(7, 128, dtype=np.float16),
        kind=np.array(kinds),
        owner=np.array(owners),
    )
    prompts = PromptBank(tmp_path / "prompts.npz", ["dog", "hot dog"])
    assert [prompts.texts[i] for i in prompts.others] == ["terrier", "racket"]  # not the other "puppy"
    bank = EmbeddingBank(prompts, [{"captions": ["a hot dog and a racket"]}])
    assert bank.kin.tolist() == [[True, False], [False, False]]  # a terrier is defined as a dog
    assert bank.said.tolist() == [[False, True]]


def test_sentences_of_other_names_or_photos_are_refused(bank, tmp_path):
    prompts, _ = bank
    with pytest.raises(ValueError, match="other names"):
        PromptBank(tmp_path / "prompts.npz", ["dog", "cat"], tmp_path / "sentences.npz")
    with pytest.raises(ValueError, match="other photos"):
        EmbeddingBank(prompts, [{"file_name": "0"}], tmp_path / "sentences.npz")


def test_the_bank_has_only_names_that_the_data_lacks_and_captions_of_the_photos(bank):
    prompts, bank = bank
    assert [prompts.texts[i] for i in prompts.others] == ["stranger", "alien"]
    photos, seams, alone = (
        torch.tensor([[0] * 4, [1] * 4, [2] * 4, [0, 1, 2, 1]]),
        torch.tensor([[320, 320]] * 3 + [[100, 200]]),
        torch.ones(4),
    )
    rows, near, told = bank.draw(2, 1, photos, seams, 320, alone, random.Random(0))
    order = [3, 4] if rows[0, 3] else [4, 3]  # which row is the stranger, which the alien
    assert near[:, :2].tolist() == [[order[0] == 3, order[1] == 3], [order[0] == 4, order[1] == 4]]
    stranger, alien, caption = told[:, order.index(3)].tolist(), told[:, order.index(4)].tolist(), told[:, 2].tolist()
    assert stranger == [ABSENT, ABSENT, UNKNOWN, UNKNOWN]  # not known to be a thing
    assert alien == [SOMEWHERE, ABSENT, ABSENT, UNKNOWN]  # the mosaic may have cut it off
    assert caption == ([SOMEWHERE, ABSENT, ABSENT, UNKNOWN] if rows[2, 102] else [ABSENT, ABSENT, SOMEWHERE, UNKNOWN])
    weight = torch.tensor([1.0, 0.7, 0.7, 1.0])  # the second shows the first too, the third the second
    rows, _, told = bank.draw(2, 0, photos, seams, 320, weight, random.Random(0))
    assert told[:, int(rows[1, 4])].tolist() == [SOMEWHERE, UNKNOWN, ABSENT, UNKNOWN]


def test_blended_pictures_have_no_labels_and_the_others_only_those_that_are_learnt():
    weight, labelled = mix(4000, 0.5, 0.25, torch.Generator().manual_seed(0))
    assert 0.47 < (weight < 1).float().mean() < 0.53 and 0.5 <= weight.min() and not labelled[weight < 1].any()
    assert 0.22 < labelled[weight == 1].float().mean() < 0.28
    rgb = torch.tensor([0, 100, 200], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    weight = torch.tensor([1.0, 0.75, 1.0])
    assert blended(rgb, weight)[:, 0, 0, 0].tolist() == [0, 75, 200]
    labels = torch.tensor([[[0.0, 0, 9, 9, 3, 1], [0, 0, 9, 9, 90, 0.5]]] * 3)
    labels, listed = kept(labels, torch.ones(3, 4, 90, dtype=torch.bool), weight, torch.tensor([True, False, False]))
    assert labels[..., 5].tolist() == [
        [1, 0.5],
        [0, 0],
        [0, 0.5],
    ]  # the third has its label of a name that is not the teacher's
    assert listed.flatten(1).all(1).tolist() == [True, False, True]


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
        bank = torch.rand(9, 128), torch.zeros(90, 9, dtype=torch.bool), torch.zeros(batch, 9, dtype=torch.uint8)
        labels, listed = kept(torch.rand(batch, 7, 6), listed, torch.ones(batch), torch.ones(batch, dtype=torch.bool))
        outputs = student(torch.rand(batch, 3, 256, 256))
        losses = loss.detection_loss(
            outputs,
            torch.rand(90, 128),
            student,
            STRIDES,
            256,
            answers,
            labels,
            listed,
            torch.full((batch, 2), 256),
            bank,
        )
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
    few = loss.detection_loss(
        outputs, rows[asked], student, STRIDES, 256, answers, mine, listed, torch.tensor([[256, 256]])
    )
    all_names = loss.detection_loss(
        outputs,
        rows,
        student,
        STRIDES,
        256,
        answers,
        labels,
        exhaustive[torch.tensor([[1, 1, 1, 1]])],
        torch.tensor([[256, 256]]),
    )
    for name in few:
        torch.testing.assert_close(few[name], all_names[name])


def test_each_isolated_region_of_stuff_is_an_object(tmp_path):
    """Two patches of grass of a fitting size, a crumb, and a thing whose mask is one box."""
    grass = [[5, 5, 45, 5, 45, 45, 5, 45], [60, 60, 95, 60, 95, 95, 60, 95], [50, 2, 52, 2, 52, 4, 50, 4]]
    annotations = [
        {"image_id": 7, "category_id": 81, "bbox": [5, 5, 90, 90], "segmentation": grass},
        {"image_id": 7, "category_id": 0, "bbox": [10, 10, 20, 30], "segmentation": [[10, 10, 30, 10, 30, 40, 10, 40]]},
    ]
    categories = [{"id": n, "name": name, "isthing": True, "coco80": True} for n, name in enumerate(NAMES)]
    categories.append({"id": 81, "name": "grass", "isthing": False})
    images = [{"id": 7, "file_name": "7.png", "width": 100, "height": 100, "source": "coco"}]
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    things, regions = Split(path, NAMES), Split(path, NAMES, stuff=True)
    assert things.boxes[0].tolist() == [[10, 10, 30, 40, 0, 1]] and "grass" not in things.names
    found = sorted(regions.boxes[0].tolist())
    assert [row[4] for row in found] == [80, 0, 80] and regions.names[80] == "grass"
    assert np.abs(np.array(found[0][:4]) - [5, 5, 45, 45]).max() <= 1
    assert np.abs(np.array(found[2][:4]) - [60, 60, 95, 95]).max() <= 1
    # a mask belongs to the box at its place: regions have none, the thing has its own
    own = [m is not None for m in regions.masks[0]]
    assert own == [row[4] == 0 for row in regions.boxes[0].tolist()]
