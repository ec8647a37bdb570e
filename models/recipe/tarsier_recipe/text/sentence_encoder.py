"""The trained sentence encoder (text.train), for the stages that ask the detector for sentences."""

import torch

from tarsier_recipe.text.encoder import Encoder, batch
from tarsier_recipe.text.tokenizer import Tokenizer


class SentenceEncoder:
    """Texts -> unit vectors [N,128] in order; each text is encoded once."""

    def __init__(self, build):
        state = torch.load(build.encoder, weights_only=True)
        state = state.get("model", state)
        self.tokenizer = Tokenizer.read(build.tokenizer)
        self.net = Encoder(len(state["table"]))
        self.net.load_state_dict(state)
        self.net.eval()
        self.known = {}

    @torch.no_grad()
    def __call__(self, texts):
        new = sorted({t for t in texts if t not in self.known}, key=len)
        for n in range(0, len(new), 512):
            rows = self.net(*batch([self.tokenizer.encode(t) for t in new[n : n + 512]]))
            self.known.update(zip(new[n : n + 512], rows.half()))
        return torch.stack([self.known[t] for t in texts]).float()
