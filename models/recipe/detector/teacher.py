"""The dense teacher: NanoDet-Plus-m on the very picture the student sees (function matching).

Labels on 6,609 photos alone teach slowly; the teacher answers at every location of every augmented picture, also of photos that
nobody labelled. It is read from its ncnn files by `ncnn_torch.py` beside them; none of its weights enter the student.
"""

import sys
import warnings

import torch

from precision import autocast, has_bfloat16

try:
    import openvino
except ImportError:
    openvino = None

COCO80 = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,bench,bird,cat,dog,"
    "horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
    "baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,"
    "orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
    "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
).split(",")
MEAN = torch.tensor([103.53, 116.28, 123.675]).view(1, 3, 1, 1)
STD = torch.tensor([57.375, 57.12, 58.395]).view(1, 3, 1, 1)


class Heads(torch.nn.Module):
    """The teacher's four head maps as a tuple, which is what a tracer takes."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return tuple(self.net(x)[0])


class Teacher:
    """`__call__(rgb uint8 [B,3,S,S]) -> scores [B,L,80], boxes [B,L,4] in pixels`, L over strides 8, 16, 32, 64, row-major.

    On a CPU with OpenVINO installed, through it, in less than half of the time that PyTorch takes (fused activations).
    """

    def __init__(self, folder, device="cpu"):
        sys.path.insert(0, str(folder))
        from ncnn_torch import NcnnDetector

        self.net = Heads(NcnnDetector(f"{folder}/nanodet-plus-m_416.param", f"{folder}/nanodet-plus-m_416.bin")).eval()
        self.device, self.compiled = torch.device(device), {}
        self.mean, self.std, self.bins = MEAN.to(device), STD.to(device), torch.arange(8.0, device=device)
        self.torch = openvino is None or self.device.type != "cpu"
        if self.torch:
            self.net = self.net.to(device, memory_format=torch.channels_last)

    def heads(self, x):
        if self.torch:
            with autocast(self.device):
                return self.net(x.contiguous(memory_format=torch.channels_last))
        if x.shape not in self.compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", torch.jit.TracerWarning)  # shapes are fixed here
                model = openvino.convert_model(self.net, example_input=torch.zeros_like(x))
            model.reshape(list(x.shape))
            options = {"INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16() else "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
            self.compiled[x.shape] = openvino.Core().compile_model(model, "CPU", options)
        answers = self.compiled[x.shape](x.contiguous().numpy())
        return [torch.from_numpy(answers[i]) for i in range(len(answers))]

    @torch.no_grad()
    def __call__(self, rgb):
        heads = self.heads((rgb.flip(1).float() - self.mean) / self.std)
        scores, boxes = [], []
        for stride, y in zip((8, 16, 32, 64), heads):
            b, _, h, w = y.shape
            y = y.float().permute(0, 2, 3, 1).reshape(b, h * w, 112)
            scores.append(y[..., :80].sigmoid())
            d = (y[..., 80:].reshape(b, h * w, 4, 8).softmax(-1) * self.bins).sum(-1) * stride
            gy, gx = torch.meshgrid(torch.arange(h, device=self.device), torch.arange(w, device=self.device), indexing="ij")
            g = torch.stack([gx, gy], -1).reshape(1, -1, 2) * float(stride)
            boxes.append(torch.cat([g - d[..., :2], g + d[..., 2:]], -1))
        return torch.cat(scores, 1), torch.cat(boxes, 1)
