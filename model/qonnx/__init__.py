"""Networks as QONNX files, the interchange format of FINN, hls4ml and Brevitas, and such files as networks.

    from model.qonnx.write import write
    write(network, Path("net.onnx"))        # an integer graph; qonnx's executor gives golden's value at every node

Doors: write.py (a network out), back.py (a file that popstream wrote, in). None of it needs torch.
"""
