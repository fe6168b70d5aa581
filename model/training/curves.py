"""Training curves: loss and top-1 over epochs, one colour a phase, as a PNG beside the checkpoints."""

from pathlib import Path

from popstream.model.files import write_figure


def plot_curves(log: list[dict], path: Path) -> None:
    """Draw the rows of a training log (phase, epoch, loss, top1_train, top1_test) to `path`, replaced whole."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for index, phase in enumerate(dict.fromkeys(row["phase"] for row in log)):
        rows = [(x, row) for x, row in enumerate(log, 1) if row["phase"] == phase]
        epochs = [x for x, _ in rows]
        colour = f"C{index}"
        left.plot(epochs, [row["loss"] for _, row in rows], color=colour, label=phase)
        right.plot(epochs, [row["top1_train"] for _, row in rows], "--", color=colour, label=f"{phase}, training")
        right.plot(epochs, [row["top1_test"] for _, row in rows], color=colour, label=f"{phase}, test")
    left.set(xlabel="epoch", ylabel="loss (mean over the epoch)")
    right.set(xlabel="epoch", ylabel="top-1 (%)")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    write_figure(figure, path, 120)
