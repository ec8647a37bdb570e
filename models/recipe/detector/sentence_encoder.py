"""The trained sentence encoder (text/train.py), for the stages that ask the detector for sentences."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "text"))
import encoder  # noqa: E402
import tokenizer  # noqa: E402


class SentenceEncoder:
    """Texts -> unit vectors [N,128] in order; each text is encoded once."""

    def __init__(self, build):
        state = torch.load(build / "text/encoder.pt", weights_only=True)
        state = state.get("model", state)
        self.tokenizer = tokenizer.Tokenizer.read(build / "text/tokenizer.txt")
        self.net, self.batch = encoder.Encoder(len(state["table"])), encoder.batch
        self.net.load_state_dict(state)
        self.net.eval()
        self.known = {}

    @torch.no_grad()
    def __call__(self, texts):
        new = sorted({t for t in texts if t not in self.known}, key=len)
        for n in range(0, len(new), 512):
            rows = self.net(*self.batch([self.tokenizer.encode(t) for t in new[n : n + 512]]))
            self.known.update(zip(new[n : n + 512], rows.half()))
        return torch.stack([self.known[t] for t in texts]).float()
