"""A smaller network's first weights, cut out of tarsier-s."""

import os
import subprocess
import sys
from pathlib import Path

import torch

RECIPE = Path(__file__).resolve().parents[1]

# MODEL is of the whole process: the smaller network lives in one of its own
CUT = """
import sys, torch
from tarsier_recipe.detector.shrink import shrink
from tarsier_recipe.detector.student import Student
state = torch.load(sys.argv[1], weights_only=True)
student = Student()
student.load_state_dict(shrink(state))
picture = torch.load(sys.argv[2], weights_only=True)
torch.save([[m.detach() for m in pair] for pair in student.eval()(picture)], sys.argv[3])
"""


def test_what_is_not_read_can_go(tmp_path):
    """With zeros for the channels and the pair that go, the smaller network answers as the larger one."""
    from tarsier_recipe.detector.student import Student

    torch.manual_seed(0)
    student = Student().eval()
    gone = slice(48, None)
    with torch.no_grad():
        for name, m in student.named_modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.running_mean.uniform_(-0.1, 0.1), m.running_var.uniform_(0.5, 1.5), m.bias.uniform_(-0.1, 0.1)
                if (
                    m.num_features == 64
                    and ("mix" in name or "step" in name or "lateral" in name or "what" in name)
                    and "stage" not in name
                ):
                    m.weight[gone], m.bias[gone], m.running_mean[gone] = 0, 0, 0
        mix = student.backbone.stage3[1].mix[0]
        mix.weight[:, 3 * mix.weight.shape[1] // 4 :] = 0
    picture = torch.rand(1, 3, 256, 256)
    torch.save(student.state_dict(), tmp_path / "s.pt")
    torch.save(picture, tmp_path / "picture.pt")
    files = [str(tmp_path / n) for n in ("s.pt", "picture.pt", "n.pt")]
    subprocess.run(
        [sys.executable, "-c", CUT, *files], cwd=RECIPE, env={**os.environ, "MODEL": "tarsier-n"}, check=True
    )
    with torch.no_grad():
        expected = student(picture)
    for one, other in zip(expected, torch.load(tmp_path / "n.pt", weights_only=True)):
        for a, b in zip(one, other):
            torch.testing.assert_close(b, a, atol=1e-4, rtol=1e-4)
