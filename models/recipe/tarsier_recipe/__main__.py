"""`python -m tarsier_recipe STAGE [options]`: runs a stage; without one, or with --help, lists them all."""

import importlib
import sys

STAGES = {  # in the order of the recipe: stage -> (module, what it does)
    "embed": ("text.embed", "names, synonyms, definitions and phrases -> the space of prompts"),
    "tokenizer": ("text.tokenizer", "subwords from these and from captions"),
    "compose": ("text.compose", "sentences to learn from, through the text teacher"),
    "text-train": ("text.train", "trains the sentence encoder"),
    "text-export": ("text.export", "the sentence encoder as ONNX, its calibration"),
    "text-report": ("text.report", "the text stages' measurements as a page"),
    "sentences": ("detector.sentences", "names in sentences, and captions, as prompts for training"),
    "pool": ("detector.pool", "drawn pictures with the dense teachers' answers, for a CPU"),
    "shrink": ("detector.shrink", "first weights of a smaller network from those of a larger one"),
    "widen": ("detector.widen", "first weights of a network with a wider neck, which computes the same"),
    "transplant": ("detector.transplant", "first weights of a student with a trained trunk"),
    "train": ("detector.train", "trains the detector"),
    "renormalise": ("detector.renormalise", "statistics of whole photos for a network's normalisations"),
    "int8": ("detector.train_int8", "fine-tunes the detector for int8"),
    "masks": ("detector.train_masks", "trains the mask branch"),
    "presence": ("detector.train_presence", "trains the presence head"),
    "stuff": ("detector.train_stuff", "trains the stuff network"),
    "ground": ("detector.train_ground", "trains grounding"),
    "export": ("detector.export", "detector and branches as ONNX, calibration photos"),
    "quantise": ("quantise", "ONNX fp32 -> QDQ, per-channel weights, measured ranges"),
    "pack": ("packs.build", "everything -> one pack"),
    "calibrate": ("packs.calibrate", "what a score of each name is worth"),
    "floor": ("packs.floor", "how object-like a thing is that scores so high"),
    "calibrate-presence": ("packs.calibrate_presence", "when a thing is in a picture at all"),
    "background": ("packs.background", "what objects look like on the whole, into the pack"),
    "golden": ("packs.golden", "golden tensors of the self-test"),
    "checkpoints": ("packs.checkpoints", "trained weights into the repository and back"),
    "recover": ("packs.recover", "weights in floats from a pack"),
    "bundle": ("detector.bundle", "all that training needs, in pieces for another machine"),
    "evaluate": ("evaluation.boxes", "AP of boxes and masks, presence, calibration, synonyms"),
    "evaluate-names": ("evaluation.names", "the right name among the whole vocabulary"),
    "validate": ("evaluation.validate", "AP and losses of a training's weights in floats"),
    "evaluate-errors": ("evaluation.errors", "AP if one kind of mistake did not happen"),
    "evaluate-federated": ("evaluation.federated", "AP where not every name is annotated in every photo"),
    "evaluate-scene": ("evaluation.scene", "mIoU and panoptic quality of every pixel"),
    "evaluate-semantic": ("evaluation.semantic", "mIoU of stuff"),
    "evaluate-grounding": ("evaluation.grounding", "sentences about one thing of a photo"),
    "evaluate-d3": ("evaluation.d3", "AP of described objects"),
    "evaluate-exemplars": ("evaluation.exemplars", "prompts that are shown instead of named"),
    "curve": ("evaluation.curve", "the model card's learning curve, from the tables of results"),
    "check-split": ("evaluation.check_split", "no photo is both learnt from and measured on"),
    "import": ("foreign.importer", "another detector's ONNX file -> a pack"),
    "foreign-networks": ("foreign.networks", "ONNX files of other families, to prove the importer on"),
    "foreign-fixtures": ("foreign.fixtures", "what tests/foreign.rs compares"),
}


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("python -m tarsier_recipe STAGE [options]; STAGE --help says what each takes\n")
        print("\n".join(f"  {name:<20}{what}" for name, (_, what) in STAGES.items()))
        sys.exit(0 if len(sys.argv) > 1 else 64)
    name = sys.argv.pop(1)
    if name not in STAGES:
        sys.exit(f"no stage {name}; stages: {', '.join(STAGES)}")
    sys.argv[0] = f"python -m tarsier_recipe {name}"
    importlib.import_module(f"tarsier_recipe.{STAGES[name][0]}").main()


if __name__ == "__main__":
    main()
