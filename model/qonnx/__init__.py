"""Networks as QONNX files, the interchange format of FINN, hls4ml and Brevitas, and such files as networks.

    from model.qonnx.write import write
    write(network, Path("net.onnx"))        # an integer graph; qonnx's executor gives golden's value at every node

    take(load_model(Path("net.onnx")), "net") # another's file: exactly, or an error that names node and reason

Doors: write.py (a network out), back.py (a file that popstream wrote, in), take.py (another's, in). For the last a file
is checked (load.py), cleaned up by qonnx (clean.py), read node by node as functions of whole numbers (read.py and what
it imports; signals.py, monotone.py), and built as nodes of the manifest (build.py). None of it needs torch.
"""
