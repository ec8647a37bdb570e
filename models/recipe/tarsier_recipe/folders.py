"""Where things are: the repository, and the names of the files that stages write for each other."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
MODELS = REPOSITORY / "models"
CHECKPOINTS = MODELS / "checkpoints"
GOLDEN = MODELS / "golden"
TARSIER = REPOSITORY / "target/release/tarsier"
BRANCHES = ("masks", "presence", "stuff", "ground")  # networks beside the detector, each with weights of its own
PARTS = ("backbone", "head", *BRANCHES)  # graphs of a pack, without the sentence encoder


class BuildFolder:
    """The folder that stages write to and read from. `MODEL` is one network: another one has a folder of its own,
    whose `text` may be a link."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.text, self.detector = self.folder / "text", self.folder / "detector"
        self.pool = self.folder / "pool"  # drawn pictures with the teachers' answers
        self.pack = self.folder / "pack"  # what `tarsier pack build` reads
        self.bundle, self.foreign = self.folder / "bundle", self.folder / "foreign"
        # text: embed, tokenizer, compose, text-train, text-export, sentences
        self.prompts = self.text / "prompts.npz"
        self.categories = self.text / "categories.json"
        self.tokenizer = self.text / "tokenizer.txt"
        self.composed = self.text / "composed.npz"
        self.encoder = self.text / "encoder.pt"
        self.encoder_fp32, self.encoder_qdq = self.text / "encoder_fp32.onnx", self.text / "encoder_qdq.onnx"
        self.token_table = self.text / "token_table.npy"
        self.text_calibration = self.text / "calibration.npz"
        self.sentences = self.text / "sentences.npz"
        # detector: train and int8, then its branches
        self.photos = self.detector / "photos"  # of training, decoded (.rgb, .index.json)
        self.checkpoint = self.detector / "checkpoint.pt"
        self.weights = self.detector / "final.pt"
        self.int8_weights = self.detector / "final.int8.pt"
        # exports and what belongs to them
        self.detector_fp32, self.detector_qdq = (
            self.detector / "detector_fp32.onnx",
            self.detector / "detector_qdq.onnx",
        )
        self.detector_tuned = self.detector / "detector_tuned.onnx"
        self.ground_fp32, self.ground_qdq = self.detector / "ground_fp32.onnx", self.detector / "ground_qdq.onnx"
        self.calibration_photos = self.detector / "calibration.npz"
        self.ground_calibration = self.detector / "ground_calibration.npz"
        self.alignment = self.detector / "alignment.json"
        self.expressions = self.detector / "expressions_val.json"
        # numbers that go into the pack
        self.calibration, self.floor = self.detector / "calibration.json", self.detector / "floor.json"
        self.uncalibrated = self.detector / "uncalibrated.tarsier"

    def __str__(self):
        return str(self.folder)

    def branch(self, name):
        """Weights of one of BRANCHES."""
        return self.detector / f"{name}.pt"

    def branch_checkpoint(self, name):
        """What a branch's training, or that for int8, goes on from."""
        return self.detector / f"{name}.checkpoint.pt"

    def table(self, name):
        """A training's losses (CSV; its plot lies beside it)."""
        return self.detector / f"{name}.csv"

    def numbers(self, name):
        """Thresholds, gates, calibration: a JSON object."""
        return self.detector / f"{name}.json"

    def qdq(self, part):
        """The quantised graph of one of PARTS."""
        return self.detector / f"{part}_qdq.onnx"

    def photos_of(self, split):
        """Where a split's decoded photos are kept; `split` is its JSON's name without the ending."""
        return self.photos if split == "train" else self.detector / f"{split}_photos"


def save_atomically(path, write):
    """Calls `write(file)` on a temporary file, then renames it: an interrupted run leaves no half file. Makes the
    folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        write(file)
    temporary.replace(path)
