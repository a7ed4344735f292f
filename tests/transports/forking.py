"""A function of a test, run in a forked process."""

import multiprocessing


def in_child(function):
    """Run the function in a forked process and return the number it returns."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        process = multiprocessing.get_context("fork").Process(target=lambda: sender.send(function()))
        process.start()
        process.join(20)
        assert process.exitcode == 0
        return receiver.recv()
