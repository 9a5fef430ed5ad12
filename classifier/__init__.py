"""Text to tokens, tokens to vectors, vectors to label, confidence and reasons; and the artifact that holds it all."""
