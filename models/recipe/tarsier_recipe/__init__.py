"""The recipe: from photos and names to a pack that the runtime reads. `python -m tarsier_recipe` lists its stages.

| package | what |
|---|---|
| this one | what all stages share: options, names of files, precision, training, quantisation, reading packs |
| `text` | the space of prompts, the tokenizer, the sentence encoder |
| `detector` | the student and its teachers, its branches, their training and export |
| `evaluation` | numbers, through the binary or in floats |
| `packs` | a pack from what the stages made, its calibration and golden tensors; weights kept and recovered |
| `foreign` | other detectors as packs |

A package imports only from those above it in this table (tests/test_package.py).
"""
