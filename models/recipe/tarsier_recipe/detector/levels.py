"""Which level of the head answers for a box: a matter of how large it is in the student's own picture.

The teachers see a picture at 512 pixels, and the student the same one, or a window of it, at 192 to 320. Were their
answers kept on the level that gave them, a thing of 60 pixels would belong to stride 8 in one picture and to stride 16
in the next, by a zoom that the student cannot know: it could only learn to say half of it on each.

Each level has boxes whose side, the root of their area, is between SMALLEST and LARGEST of its strides: where the
teachers have them in a picture of their own size (their levels change over at 8 strides of the finer one). Both of two
neighbours answer where they overlap.
"""

SMALLEST, LARGEST = 3.5, 9.0


def responsible(side, stride, finest, coarsest):
    """Whether the level of `stride` has boxes of `side` pixels; what is smaller than all is the finest's, what is
    larger the coarsest's. Numbers or tensors that broadcast."""
    return ((side < LARGEST * stride) | (stride == coarsest)) & ((side >= SMALLEST * stride) | (stride == finest))
