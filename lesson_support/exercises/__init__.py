"""The exercises, one module a lesson: judges, hints, solutions and typical wrong answers, as data."""
