"""A verilated accelerator as a program without Python, on one machine or many. Door: driver.py, farm.py."""
