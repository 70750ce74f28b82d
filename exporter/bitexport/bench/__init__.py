"""What the kernels cost, counted, and compared with the bars of the house and with others."""
