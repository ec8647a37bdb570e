"""A pack from what the stages made, its calibration and golden tensors; weights kept and recovered."""
