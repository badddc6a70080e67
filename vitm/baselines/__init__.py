"""Networks and analytic operators that the papers compare with."""
