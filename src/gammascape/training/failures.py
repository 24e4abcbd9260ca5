"""Errors of training in words, and which of them a smaller pack may avoid."""


def attempt_reason(first_step: int, after: str | None) -> str:
    """Why work on a cell began: `fresh`, `resumed from step n`, `retried after` an error."""
    reasons = [f"retried after {after}"] if after else []
    reasons += [f"resumed from step {first_step}"] if first_step else []
    return ", ".join(reasons) or "fresh"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the host or of a GPU did not suffice."""
    # torch has a class of its own for a GPU's memory and a plain RuntimeError for the host's.
    name = type(error).__name__
    return (
        isinstance(error, MemoryError)
        or name == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def one_line(error: BaseException) -> str:
    """Class and first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
