"""Whether a notebook shows the library's own frames of an error."""

_SHOWN = [False]


def show_library_frames(show: bool = True) -> None:
    """Show the library's frames in the traceback of its errors, in IPython and notebooks, or leave them out again.

    An error of this library says what was given and what to do, so a notebook shows it with the user's own lines alone.
    To look into the library, call this, and then run `%tb` to see the last error again. `%debug` enters all frames
    either way. Python outside of IPython always shows all frames.

    Args:
        show: False leaves them out, as at first.

    >>> import neuron_explainer as ne
    >>> ne.errors.show_library_frames()
    >>> ne.errors.show_library_frames(False)
    """
    _SHOWN[0] = bool(show)


def are_library_frames_shown() -> bool:
    """What `show_library_frames` has set last."""
    return _SHOWN[0]
