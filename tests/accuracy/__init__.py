"""How well bodies are found where the truth is known: joints, what each term of the fit is worth, frame rates."""
