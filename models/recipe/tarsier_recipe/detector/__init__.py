"""The student and its teachers, its branches, their training and export."""
