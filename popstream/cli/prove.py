"""The verb that proves the blocks."""

from typing import Annotated

from popstream.cli.app import DESIGN, app
from popstream.cli.checks import positive
from popstream.cli.options import BUILD, Failed, Processes, Root, UsageError, option

SECONDS = 900  # of one run: four times what the longest takes


@app.command(group=DESIGN)
def prove(
    *blocks: Annotated[str, option("blocks to prove (all): see --list", metavar="BLOCK")],
    quick: Annotated[bool, option("only those that take a few seconds")] = False,
    list: Annotated[bool, option("list the proofs, with what each claims and how deep")] = False,
    timeout: Annotated[float, option("most seconds of a run", positive, metavar="SECONDS")] = SECONDS,
    processes: Processes = None,
    root: Root = BUILD,
) -> None:
    """Prove that every block with streams keeps the stream contract.

    Properties, method and depth are in docs/proofs.md. Writes build/prove.json, and waves of what does not hold
    below build/prove; status 1 if something is not proven.

    Example: popstream prove Skid LastStage
    Takes ten seconds; all blocks some minutes.
    """
    import resource
    import time

    from popstream.boards.proof.proving import LEFT_OUT, chosen, figures, names, prove_all, table
    from popstream.cli.checks import guess
    from popstream.model.console import table_console
    from popstream.model.files import write_json

    known = names()
    for name in blocks:
        if name in LEFT_OUT:
            raise UsageError(f"nothing is proven of {name}: {LEFT_OUT[name]}")
        if name not in known:
            raise UsageError(f"there is no block {name!r}; {guess(name, known, ' ')}known are {', '.join(known)}")
    proofs = chosen(blocks, quick)
    if not proofs:
        raise UsageError(f"no proof of {', '.join(blocks)} is a quick one; leave --quick away")
    if list:
        for proof in proofs:
            print(f"{proof.name}: {proof.properties}; {proof.method}, {proof.depth} cycles: {proof.why}")
        return
    console, began, done = table_console(140), time.monotonic(), 0
    with console.status(f"0 of {len(proofs)} proofs") as status:

        def told(outcome) -> None:
            nonlocal done
            done += 1
            console.print(
                f"{done} of {len(proofs)}: {outcome.proof.name}: {outcome.status}, {outcome.seconds:.1f} s",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip
            status.update(f"{done} of {len(proofs)} proofs")

        outcomes = prove_all(proofs, root / "prove", timeout, processes, told)
    console.print(table(outcomes))
    path = root / "prove.json"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = " ".join(("popstream prove", *blocks, *["--quick"] * quick)) if blocks or quick else "make prove"
    write_json(path, figures(outcomes, command, time.monotonic() - began, used.ru_utime + used.ru_stime))
    wrong = [outcome for outcome in outcomes if not outcome.proven]
    for outcome in wrong[1:]:
        print(outcome.sentence())
    if wrong:
        raise Failed(f"{len(wrong)} of {len(outcomes)} not proven: {wrong[0].sentence()}; {path}")
    print(f"all {len(outcomes)} proofs hold -> {path}")
