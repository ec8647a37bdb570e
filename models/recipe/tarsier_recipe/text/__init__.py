"""The space of prompts, the tokenizer, the sentence encoder."""
