"""What goes with a module's Verilog into other people's tools: a checked name, a FuseSoC core, Verilator's waivers."""

from pathlib import Path

import popstream

__all__ = ["SUBJECT", "TOP", "check_module", "files", "fusesoc_core", "waivers"]

TOP = "top"
MOST_NAME = 64  # characters
SUBJECT = "A module's name"
OWNER = "popstream:accelerator"


def check_module(name: str) -> str:
    """`name`, if it can name a module, a file and a core: a Verilog identifier of letters, digits and _, no keyword."""
    from pygments.lexers.hdl import SystemVerilogLexer
    from pygments.token import Name

    shown = repr(name if len(name) <= MOST_NAME else name[:MOST_NAME] + "...")
    rule = f"1 to {MOST_NAME} letters, digits and _, the first no digit"
    if not (name.isascii() and name.isidentifier() and len(name) <= MOST_NAME):
        raise ValueError(f"{SUBJECT} must be {rule}, not {shown}")
    if [kind for kind, text in SystemVerilogLexer().get_tokens(name) if text.strip()] != [Name]:
        raise ValueError(f"{SUBJECT} must not be a keyword of Verilog or SystemVerilog, as {shown} is")
    return name


def files(name: str = TOP) -> tuple[str, ...]:
    """What popstream.hw.verilog.write writes for a module of that name."""
    return (f"{name}.v", "ports.json", "folding.json", f"{name}.core", f"{name}.vlt")


def waivers(name: str = TOP) -> str:
    """Verilator's configuration for NAME.v: the warnings of generated Verilog that are no faults, a reason each."""
    return Path(__file__).with_name("waivers.vlt").read_text().replace("*top.v", f"*{name}.v")


def fusesoc_core(name: str, description: str) -> str:
    """NAME.core for FuseSoC (CAPI 2), beside NAME.v and NAME.vlt: target `default` for dependents, and `lint`."""
    return f"""CAPI=2:
name: {OWNER}:{name}:{popstream.__version__}
description: {description}

filesets:
  rtl:
    files: [{name}.v]
    file_type: verilogSource
  waivers:
    files: [{name}.vlt]
    file_type: vlt

targets:
  default:
    filesets: [rtl]
  lint:
    description: Verilator's checks
    flow: lint
    flow_options:
      tool: verilator
    filesets: [waivers, rtl]
    toplevel: {name}
"""
